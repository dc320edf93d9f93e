"""What goes through Salt sealed: only its receiver reads it, and notices what was changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from salt.exceptions import CommandExecutionError

from _modules import metis_sealed


@pytest.mark.parametrize("size", [0, 1, metis_sealed.PIECE, metis_sealed.PIECE * 2 + 1])
def test_the_receiver_gets_what_was_sealed(size: int) -> None:
    private, public = metis_sealed.pair()
    data = os.urandom(size)
    chunks = [data[i : i + 70_000] for i in range(0, size, 70_000)]
    lines = list(metis_sealed.lines(public, chunks))
    assert b"".join(metis_sealed.opened(private, lines)) == data
    # What Salt's bus carries.
    assert all(len(line) < 1_000_000 for line in lines)


def test_nothing_of_it_is_readable() -> None:
    _, public = metis_sealed.pair()
    sealed = "".join(metis_sealed.lines(public, [b"a password" * 100]))
    assert "password" not in sealed
    assert b"a password".hex() not in sealed


def test_nobody_else_opens_it() -> None:
    private, _ = metis_sealed.pair()
    _, public = metis_sealed.pair()
    with pytest.raises(CommandExecutionError, match="damaged, or sealed for another"):
        list(metis_sealed.opened(private, metis_sealed.lines(public, [b"x"])))


def test_a_changed_piece_is_noticed() -> None:
    private, public = metis_sealed.pair()
    key, piece = metis_sealed.lines(public, [b"x" * 50])
    changed = piece[:40] + ("A" if piece[40] != "A" else "B") + piece[41:]
    with pytest.raises(CommandExecutionError, match="damaged"):
        list(metis_sealed.opened(private, [key, changed]))


def test_a_key_may_be_of_a_file(tmp_path: Path) -> None:
    private, public = metis_sealed.pair()
    text = private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    (tmp_path / "minion.pem").write_bytes(text)
    read = metis_sealed.private(str(tmp_path / "minion.pem"))
    assert list(metis_sealed.opened(read, metis_sealed.lines(public, [b"x"]))) == [b"x"]


@pytest.mark.parametrize("content", [None, b"", b"nothing"])
def test_a_file_without_a_key_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "minion.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CommandExecutionError, match=r"minion.pem cannot be read"):
        metis_sealed.private(str(file))


def test_a_key_of_another_kind_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    public = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    with pytest.raises(CommandExecutionError, match="no RSA key"):
        list(metis_sealed.lines(public, [b"x"]))
