"""Checksums that are pinned: looked at before, kept, and never another one in silence."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from _modules import metis_pins, metis_store
from tests.unit import loopback
from tests.unit.loopback import Loopback
from tests.unit.store import Store, digest, release, wired

BODY = b"\x7fELF and so on"
SHA256 = digest(BODY)


@pytest.fixture
def configure_loader_modules(store: Store, tmp_path: Path) -> dict[ModuleType, dict[str, Any]]:
    return wired(store, tmp_path / "pillar")


def _sha256(merged: dict[str, Any]) -> str | None:
    found: str | None = merged["artifacts"]["carrier"]["sha256"]
    return found


def test_without_a_pin_a_release_is_as_its_file_says() -> None:
    wanted = release(carrier=None)
    assert metis_pins.merged(wanted) == wanted
    assert metis_pins.of("0.3.0") == {}


def test_a_pin_stands_where_the_release_file_says_nothing(store: Store) -> None:
    metis_pins.put("0.3.0", "carrier", "carrier", SHA256, "an operator")
    assert _sha256(metis_pins.merged(release(carrier=None))) == SHA256
    # Its own word is the release file's.
    assert _sha256(metis_pins.merged(release(carrier=b"other"))) == digest(b"other")
    assert (store.root / "pins.yaml").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("change", [{"release": "0.4.0"}, {"file": "carrier-2"}])
def test_a_pin_is_of_one_file_of_one_release(change: dict[str, str]) -> None:
    metis_pins.put("0.3.0", "carrier", "carrier", SHA256, "an operator")
    wanted = release(carrier=None)
    if "file" in change:
        wanted["artifacts"]["carrier"] |= change
    else:
        wanted |= change
    assert _sha256(metis_pins.merged(wanted)) is None


@pytest.mark.parametrize("broken", [None, [], {"artifacts": []}, {"artifacts": {"carrier": 5}}])
def test_what_is_no_release_is_left_to_who_checks_its_form(broken: Any) -> None:
    assert metis_pins.merged(broken) == broken or broken["artifacts"]


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "5", "0.3.0: []", "0.3.0: {carrier: {file: carrier, sha256: short}}", "a: {b: c}"],
)
def test_damaged_pins_stop_everything(store: Store, text: str) -> None:
    store.root.mkdir()
    (store.root / "pins.yaml").write_text(text)
    with pytest.raises(CommandExecutionError, match=r"pins\.yaml"):
        metis_pins.merged(release(carrier=None))


def test_pins_that_are_no_text_are_damaged_too(store: Store) -> None:
    store.root.mkdir()
    (store.root / "pins.yaml").write_bytes(b"a: \xff")
    with pytest.raises(CommandExecutionError, match=r"pins\.yaml"):
        metis_pins.merged(release(carrier=None))


# By an operator


def test_a_file_is_shown_before_it_is_pinned(server: Loopback, store: Store) -> None:
    wanted = release(carrier=None)
    wanted["artifacts"]["carrier"]["sources"] = [server.url()]
    server.answers = [loopback.serves(BODY, cut=4), loopback.serves(BODY)]
    seen = metis_pins.inspect(wanted, "carrier", store.say)
    assert (seen["size"], seen["sha256"]) == (len(BODY), SHA256)
    assert seen["kind"] == "a Linux program (ELF)"
    assert store.everything() == {"quarantine/0.3.0/carrier": BODY}
    # Nothing is trusted yet.
    assert _sha256(metis_pins.merged(wanted)) is None
    done = metis_pins.accept(wanted, "carrier", SHA256.upper(), store.say)
    assert done == {"inspected": True, "before": None}
    assert _sha256(metis_pins.merged(wanted)) == SHA256
    # What was looked at is what is used.
    asked = len(server.asked)
    assert metis_store.fill(metis_pins.merged(wanted), ["carrier"])["problems"] == []
    assert len(server.asked) == asked


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"PK\x03\x04...", "zip"),
        (b"\x1f\x8b...", "gzip"),
        (b"x" * 257 + b"ustar", "tar"),
        (b"#!/bin/sh\n", "script"),
        (b"\n <!DOCTYPE html><html>gone", "a web page: look whether it is a message"),
        (b"CREATE TABLE", "text"),
        (b"", "empty"),
        (b"\x00\x01", "other data"),
    ],
)
def test_what_a_file_looks_like_is_said(store: Store, body: bytes, kind: str) -> None:
    waiting = store.root / "quarantine/0.3.0/carrier"
    waiting.parent.mkdir(parents=True)
    waiting.write_bytes(body)
    assert kind in metis_pins.inspect(release(carrier=None), "carrier", store.say)["kind"]


def test_another_checksum_than_that_of_the_file_looked_at_is_refused(store: Store) -> None:
    waiting = store.root / "quarantine/0.3.0/carrier"
    waiting.parent.mkdir(parents=True)
    waiting.write_bytes(BODY)
    with pytest.raises(CommandExecutionError, match=f"has sha256 {SHA256}, not abab"):
        metis_pins.accept(release(carrier=None), "carrier", "ab" * 32, store.say)
    assert metis_pins.of("0.3.0") == {}


def test_a_checksum_may_come_from_elsewhere_and_that_is_known(store: Store) -> None:
    done = metis_pins.accept(release(carrier=None), "carrier", SHA256, store.say)
    assert done == {"inspected": False, "before": None}
    pinned = metis_pins.merged(release(carrier=None))
    done = metis_pins.accept(pinned, "carrier", "ab" * 32, store.say)
    assert done == {"inspected": False, "before": SHA256}


@pytest.mark.parametrize("given", ["", "short", "g" * 64, "ab" * 33])
def test_what_is_no_checksum_is_refused(store: Store, given: str) -> None:
    with pytest.raises(CommandExecutionError, match="is no sha256"):
        metis_pins.accept(release(carrier=None), "carrier", given, store.say)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("keytool", "has no artifact keytool; it has carrier, known"),
        ("known", "says the checksum of known itself"),
        ("carrier", "names no source of carrier: put the file at"),
    ],
)
def test_what_cannot_be_looked_at_says_why(store: Store, name: str, said: str) -> None:
    with pytest.raises(CommandExecutionError, match=said):
        metis_pins.inspect(release(carrier=None, known=BODY), name, store.say)


# By its publisher


@pytest.fixture
def publisher(server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loopback:
    """A web server with TLS that we trust."""
    files = [str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        [*made, *names, "-keyout", files[0], "-out", files[1]],
        check=True,
        capture_output=True,
        timeout=60,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files[1], files[0])
    server.secure(context)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", files[1])
    return server


def _published(publisher: Loopback) -> dict[str, Any]:
    wanted = release(carrier=None)
    url = publisher.url("SHA256SUMS").replace("http:", "https:")
    wanted["artifacts"]["carrier"]["checksums"] = {"sources": [url]}
    return wanted


def test_a_published_checksum_is_used_and_kept(publisher: Loopback, store: Store) -> None:
    sums = f"{'ab' * 32}  carrier.sig\n{SHA256}  carrier\n{'cd' * 32}  other\n"
    publisher.answers = [loopback.gives(sums.encode()), loopback.gives(b"")]
    wanted = _published(publisher)
    waiting = store.root / "quarantine/0.3.0/carrier"
    waiting.parent.mkdir(parents=True)
    waiting.write_bytes(BODY)
    assert metis_store.fill(wanted, ["carrier"], store.say)["problems"] == []
    assert "which is pinned now" in "\n".join(store.said)
    assert store.file("0.3.0/carrier").read_bytes() == BODY
    (pinned,) = metis_pins.of("0.3.0").values()
    assert (pinned["sha256"], pinned["from"].startswith("https://")) == (SHA256, True)
    # Nobody is asked a second time.
    assert metis_store.fill(metis_pins.merged(wanted), ["carrier"])["changes"] == {}
    assert len(publisher.asked) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no checksums of carrier"),
        (f"{SHA256}  other\n", "has no checksums of carrier"),
        (f"{SHA256}  carrier\n{'ab' * 32}  carrier\n", "has 2 checksums of carrier"),
        ("x" * (2 << 20), "is too large"),
    ],
)
def test_a_file_of_checksums_that_says_nothing_clear_is_told(
    publisher: Loopback, store: Store, text: str, said: str
) -> None:
    publisher.answers = [loopback.gives(text.encode())]
    (problem,) = metis_store.fill(_published(publisher), ["carrier"])["problems"]
    assert "the checksum of carrier is not to be had" in problem
    assert said in problem
    assert metis_pins.of("0.3.0") == {}


def test_checksums_do_not_come_by_a_way_where_anybody_may_change_them(
    publisher: Loopback, second_server: Loopback, store: Store
) -> None:
    def leads_away(handler: Any) -> None:
        handler.send_response(302)
        handler.send_header("Location", second_server.url())
        handler.end_headers()

    publisher.answers = [leads_away]
    second_server.answers = [loopback.gives(f"{SHA256}  carrier\n".encode())]
    (problem,) = metis_store.fill(_published(publisher), ["carrier"])["problems"]
    assert "leads to what is not https" in problem
