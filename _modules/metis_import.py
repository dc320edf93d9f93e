"""
The files of an import, on the master: the inventory that is read, the organization file written.

What becomes of what is in them is said in ``metis_inventory``.
"""

import codecs
import os
import stat
import tempfile
from pathlib import Path

from salt.exceptions import CommandExecutionError

__virtualname__ = "metis_import"

# Of an inventory, in bytes.
_LARGEST = 1_000_000


def _failed(what: str, err: OSError, closed: str) -> CommandExecutionError:
    return CommandExecutionError(f"{what}: {__salt__['metis_access.cause'](err, closed)}")


def _mode(path: Path) -> int:
    """What is at a path, 0 for nothing. Where nobody may look is an error, not nothing."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


def read(path: str) -> tuple[str, str]:
    """
    The text of an inventory, and how it was encoded.

    path
        The file.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_import.read /srv/inventory.ini
    """
    try:
        file = Path(path)
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):
            raise CommandExecutionError(f"{path} is no file")
        if found.st_size > _LARGEST:
            raise CommandExecutionError(f"{path} is too large to be an inventory")
        data = file.read_bytes()
    except OSError as err:
        closed = "read it: chown it, or copy it to where that user may"
        raise _failed(f"{path} cannot be read", err, closed) from err
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

        salt-run salt.cmd metis_import.write acme 'metis: {}' to=/srv/acme.sls
    """
    try:
        target = _target(org, to)
    except OSError as err:
        closed = "look there: chown the folder, or name another file, to=..."
        raise _failed(f"{err.filename} cannot be looked for", err, closed) from err
    try:
        _put(target, text)
    except OSError as err:
        closed = f"write there: make it the owner of {target.parent}, or name another file, to=..."
        raise _failed(f"{target} cannot be written", err, closed) from err
    return str(target)


def _target(org: str, to: str | None) -> Path:
    if to is not None:
        target = Path(to, f"{org}.sls") if stat.S_ISDIR(_mode(Path(to))) else Path(to)
        if _mode(target):
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
        if _mode(known):
            # One in an earlier root would hide ours.
            raise CommandExecutionError(
                f"{known} is there already and is left as it is: name another organization, "
                f"org=..., or another file, to=/.../{org}.sls"
            )
    return Path(roots[-1], "orgs", f"{org}.sls")


def _put(target: Path, text: str) -> None:
    folder = target.parent
    if folder.name == "orgs" and stat.S_ISDIR(_mode(folder.parent)) and not _mode(folder):
        folder.mkdir(exist_ok=True)
    if not stat.S_ISDIR(_mode(folder)):
        raise CommandExecutionError(f"{target} cannot be written: {folder} is no folder")
    # Not named .sls, so that it is no organization before it is whole.
    handle, draft = tempfile.mkstemp(prefix=f".{target.stem}.", dir=folder)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as opened:
            opened.write(text)
            os.fchmod(opened.fileno(), 0o640)
            if os.geteuid() == 0:
                # salt-run is root only where the master's `user` is, as it goes over to that one
                # (check_user in salt/cli/run.py). A program with Salt's Python interface does not.
                owner = Path(__opts__["pki_dir"]).stat()
                os.fchown(opened.fileno(), owner.st_uid, owner.st_gid)
            opened.flush()
            os.fsync(opened.fileno())
        # Unlike a renaming, this never takes the place of what was written meanwhile.
        os.link(draft, target)
    finally:
        os.unlink(draft)
