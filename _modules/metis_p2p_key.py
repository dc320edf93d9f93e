"""
carrier's identity in the p2p network: a secp256k1 key, made on its host. It leaves the host in a
backup only.
"""

import contextlib
import os
import pwd
import re
from pathlib import Path

import salt.exceptions
from cryptography.hazmat.primitives.asymmetric import ec

__virtualname__ = "metis_p2p_key"


def generate(path: str, user: str) -> None:
    """
    Make the key: 64 hex digits and no newline, which carrier could not read (service-contract 4).

    path
        Where; must not exist. Mode 0600.
    user
        Who owns it.

    Raises ``FileExistsError``: an identity is never replaced.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_p2p_key.generate /etc/metis/carrier/p2p.key metis-carrier
    """
    number = ec.generate_private_key(ec.SECP256K1()).private_numbers().private_value
    account = pwd.getpwnam(user)
    # Written whole under another name and linked: a run cut off leaves no half key behind.
    part = _written(path, f"{number:064x}", (account.pw_uid, account.pw_gid))
    try:
        os.link(part, path)
    finally:
        part.unlink()


def _written(path: str, key: str, owner: tuple[int, int]) -> Path:
    """The key in a file beside where it belongs."""
    part = Path(f"{path}.new")
    part.unlink(missing_ok=True)
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key.encode())
        os.fchown(file.fileno(), *owner)
        file.flush()
        os.fsync(file.fileno())
    return part


def put_back(path: str, user: str, file: str) -> None:
    """
    Put a key from a backup in its place, whatever is there. carrier must not run meanwhile.

    path
        Where. Mode 0600.
    user
        Who owns it; root where there is no such user yet, until the states of carrier see to it.
    file
        The absolute path of a file with the key.

    Raises ``CommandExecutionError`` where that file holds no key, or nothing can be written.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_p2p_key.put_back /etc/metis/carrier/p2p.key metis-carrier /root/p2p.key
    """
    owner = (0, 0)
    with contextlib.suppress(KeyError):
        account = pwd.getpwnam(user)
        owner = (account.pw_uid, account.pw_gid)
    try:
        key = Path(file).read_bytes().decode("ascii", "replace")
        if not re.fullmatch("[0-9a-f]{64}", key):
            raise salt.exceptions.CommandExecutionError(f"{file} holds no key of carrier's")
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.replace(_written(path, key, owner), path)
    except OSError as err:
        raise salt.exceptions.CommandExecutionError(f"{err.filename}: {err.strerror}") from err
