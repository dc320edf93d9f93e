"""
carrier's identity in the p2p network: a secp256k1 key, made on its host and never copied off.
"""

import os
import pwd
from pathlib import Path

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
    part = Path(f"{path}.new")
    part.unlink(missing_ok=True)
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(f"{number:064x}".encode())
        os.fchown(file.fileno(), account.pw_uid, account.pw_gid)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(part, path)
    finally:
        part.unlink()
