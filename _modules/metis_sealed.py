"""
What the master and a host send each other through Salt, sealed for its receiver: whoever reads the
event bus, the job cache or a served file finds ciphertext.

Sealed data are lines of text: first a key of their own, encrypted with RSA (OAEP) for the receiver;
then pieces that are encrypted with that key, each authenticated (Fernet). The order of the pieces
and their number are not: whoever opens them compares the checksum of the whole.
"""

import base64
from collections.abc import Iterable, Iterator
from typing import Any

import salt.exceptions
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

__virtualname__ = "metis_sealed"

# Bytes of a piece. Sealed, it has to be below a million: that much of a return is what Salt's bus
# carries (max_event_size).
PIECE = 600_000
_OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)


def pair() -> tuple[Any, str]:
    """
    A key for one run, which is written nowhere.

    Returns the private key as an object, and the public one, PEM.
    """
    private = rsa.generate_private_key(65537, 3072)
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    return private, private.public_key().public_bytes(serialization.Encoding.PEM, kind).decode()


def private(file: str) -> Any:
    """
    The private key of a file, as an object.

    file
        Its absolute path; PEM, without a passphrase.

    Raises ``CommandExecutionError`` where it cannot be read.
    """
    try:
        with open(file, "rb") as opened:
            return serialization.load_pem_private_key(opened.read(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as err:
        raise salt.exceptions.CommandExecutionError(
            f"the key {file} cannot be read: {err}"
        ) from err


def lines(public: str, chunks: Iterable[bytes]) -> Iterator[str]:
    """
    Seal data.

    public
        The receiver's public key, PEM.
    chunks
        The data, in chunks of any size.

    Returns the lines, one after the other, as the chunks come.
    """
    receiver = serialization.load_pem_public_key(public.encode())
    if not isinstance(receiver, rsa.RSAPublicKey):
        raise salt.exceptions.CommandExecutionError("the receiver's key is no RSA key")
    key = Fernet.generate_key()
    yield base64.b64encode(receiver.encrypt(key, _OAEP)).decode()
    seal = Fernet(key)
    waiting = bytearray()
    for chunk in chunks:
        waiting += chunk
        while len(waiting) >= PIECE:
            yield seal.encrypt(bytes(waiting[:PIECE])).decode()
            del waiting[:PIECE]
    if waiting:
        yield seal.encrypt(bytes(waiting)).decode()


def opened(key: Any, sealed: Iterable[str]) -> Iterator[bytes]:
    """
    Open what ``lines`` sealed.

    key
        The receiver's private key, an object.
    sealed
        The lines.

    Returns the chunks, one after the other.

    Raises ``CommandExecutionError`` where a line is sealed for another, or was changed.
    """
    seal = None
    try:
        for line in sealed:
            if seal is None:
                seal = Fernet(key.decrypt(base64.b64decode(line), _OAEP))
            else:
                yield seal.decrypt(line.strip())
    except (ValueError, InvalidToken) as err:
        raise salt.exceptions.CommandExecutionError(
            "what was sent is damaged, or sealed for another"
        ) from err
