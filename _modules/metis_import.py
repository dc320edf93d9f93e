"""
The files of an import, on the master: the inventory that is read, the organization file written.

What becomes of what is in them is said in ``metis_inventory``.
"""

import codecs
import os
import tempfile
from pathlib import Path

from salt.exceptions import CommandExecutionError

__virtualname__ = "metis_import"

# Of an inventory, in bytes.
_LARGEST = 1_000_000


def read(path: str) -> tuple[str, str]:
    """
    The text of an inventory, and how it was encoded.

    path
        The file.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_import.read /root/inventory.ini
    """
    try:
        file = Path(path)
        if file.exists() and not file.is_file():
            raise CommandExecutionError(f"{path} is no file")
        if file.stat().st_size > _LARGEST:
            raise CommandExecutionError(f"{path} is too large to be an inventory")
        data = file.read_bytes()
    except OSError as err:
        raise CommandExecutionError(f"{path} cannot be read: {err.strerror}") from err
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    wrong = []
    # Editors on a Chinese Windows write GB18030.
    for encoding in ["utf-16"] if wide else ["utf-8-sig", "gb18030"]:
        try:
            return data.decode(encoding), encoding.removesuffix("-sig")
        except UnicodeDecodeError as err:
            wrong.append(data.count(b"\n", 0, err.start) + 1)
    raise CommandExecutionError(f"{path}: line {wrong[0]} is neither UTF-8 nor GB18030")


def write(org: str, text: str, to: str | None = None) -> str:
    """
    Write an organization file, for the master's user and group only, as it holds a password.

    org
        The organization.
    text
        What shall stand in it.
    to
        The file, or its folder; ``orgs/<org>.sls`` below the last pillar root where not given.

    Returns the path. What is there already is left as it is, and an error.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_import.write acme 'metis: {}' to=/root/acme.sls
    """
    target = _target(org, to)
    try:
        _put(target, text)
    except OSError as err:
        raise CommandExecutionError(f"{target} cannot be written: {err.strerror}") from err
    return str(target)


def _target(org: str, to: str | None) -> Path:
    if to is not None:
        target = Path(to, f"{org}.sls") if Path(to).is_dir() else Path(to)
        if target.exists():
            raise CommandExecutionError(
                f"{target} is there already and is left as it is: name another file, to=..."
            )
        return target
    roots = __opts__["pillar_roots"].get(__opts__.get("pillarenv") or "base", [])
    if not roots:
        raise CommandExecutionError(
            f"the master has no pillar_roots: name a file, to=/.../{org}.sls"
        )
    for root in roots:
        known = Path(root, "orgs", f"{org}.sls")
        if known.exists():
            # One in an earlier root would hide ours.
            raise CommandExecutionError(
                f"{known} is there already and is left as it is: name another organization, "
                f"org=..., or another file, to=/.../{org}.sls"
            )
    return Path(roots[-1], "orgs", f"{org}.sls")


def _put(target: Path, text: str) -> None:
    folder = target.parent
    if folder.name == "orgs" and folder.parent.is_dir():
        folder.mkdir(exist_ok=True)
    if not folder.is_dir():
        raise CommandExecutionError(f"{target} cannot be written: {folder} is no folder")
    # Not named .sls, so that it is no organization before it is whole.
    handle, draft = tempfile.mkstemp(prefix=f".{target.stem}.", dir=folder)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as opened:
            opened.write(text)
            os.fchmod(opened.fileno(), 0o640)
            if os.geteuid() == 0:
                # salt-run is root, the master may be the user `salt`.
                owner = Path(__opts__["pki_dir"]).stat()
                os.fchown(opened.fileno(), owner.st_uid, owner.st_gid)
            opened.flush()
            os.fsync(opened.fileno())
        # Unlike a renaming, this never takes the place of what was written meanwhile.
        os.link(draft, target)
    finally:
        os.unlink(draft)
