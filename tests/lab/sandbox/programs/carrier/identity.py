"""The node's p2p key and the peer id that follows from it (libp2p, secp256k1)."""

import binascii
import os
import secrets
from pathlib import Path

from .settings import ConfigError

_FIELD = 2**256 - 2**32 - 977
_ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
_BASE = (
    0x79BE667E_F9DCBBAC_55A06295_CE870B07_029BFCDB_2DCE28D9_59F2815B_16F81798,
    0x483ADA77_26A3C465_5DA4FBFC_0E1108A8_FD17B448_A6855419_9C47D08F_FB10D4B8,
)
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
# An identity multihash of 37 bytes: protobuf of key type secp256k1 and a 33 byte compressed point.
_PEER_PREFIX = bytes.fromhex("002508021221")

_Point = tuple[int, int]


def _add(left: _Point | None, right: _Point | None) -> _Point | None:
    if left is None or right is None:
        return left or right
    (x1, y1), (x2, y2) = left, right
    if x1 == x2 and (y1 + y2) % _FIELD == 0:
        return None
    if left == right:
        slope = 3 * x1 * x1 * pow(2 * y1, -1, _FIELD)
    else:
        slope = (y2 - y1) * pow(x2 - x1, -1, _FIELD)
    x = (slope * slope - x1 - x2) % _FIELD
    return x, (slope * (x1 - x) - y1) % _FIELD


def peer_id(secret: int) -> str:
    """Name a node as libp2p does.

    Args:
        secret: the private key, in the curve's range.

    Returns:
        The peer id (base58, ``16Uiu2HA...``).
    """
    point: _Point | None = None
    addend: _Point | None = _BASE
    while secret:
        if secret & 1:
            point = _add(point, addend)
        addend = _add(addend, addend)
        secret >>= 1
    assert point is not None  # nosec: only a multiple of the order gives none
    compressed = bytes([2 + point[1] % 2]) + point[0].to_bytes(32, "big")
    encoded = _PEER_PREFIX + compressed
    number, text = int.from_bytes(encoded, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = _BASE58[digit] + text
    return "1" + text  # the one leading zero byte


def read_key(path: Path) -> int:
    """Read a p2p key file: hexadecimal digits and nothing else, not even a newline.

    Args:
        path: the file.

    Returns:
        The private key.

    Raises:
        ConfigError: the file cannot be read or holds no key of the curve.
    """
    try:
        # unhexlify and not bytes.fromhex, which takes white space.
        decoded = binascii.unhexlify(path.read_bytes())
    except (OSError, binascii.Error) as error:
        raise ConfigError(f"could not read private key from {path}: {error}") from error
    secret = int.from_bytes(decoded, "big")
    if len(decoded) != 32 or not 0 < secret < _ORDER:
        raise ConfigError(f"could not read private key from {path}: not a secp256k1 private key")
    return secret


def node_key(key_file: str, datadir: Path) -> int:
    """Find the node's key, or make one.

    Args:
        key_file: the flag ``p2p-priv-key``; empty for a key of the node's own in its data.
        datadir: where such a key is kept, as ``network-keys``.

    Returns:
        The private key.

    Raises:
        ConfigError: the key cannot be used.
    """
    if key_file:
        return read_key(Path(key_file))
    own = datadir / "network-keys"
    if not own.exists():
        descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(f"{secrets.randbelow(_ORDER - 1) + 1:064x}")
    return read_key(own)
