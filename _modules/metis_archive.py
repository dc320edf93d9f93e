"""
Archives of a release on a host: unpacked to their end, and what came out still as it was.

What an archive was, and each file that came out of it, stands in a list beside it. A file whose
size and times are those of the list is not read again.
"""

import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import salt.exceptions

__virtualname__ = "metis_archive"

Data = dict[str, Any]

UNPACK_TIMEOUT = 300
# An installer links and compiles thousands of files.
INSTALL_TIMEOUT = 900


def _beside(archive: str, end: str) -> Path:
    return Path(archive).with_name(f".{Path(archive).name}.{end}")


def _list(archive: str) -> Data:
    try:
        found = json.loads(_beside(archive, "unpacked").read_text("utf-8"))
    except (OSError, ValueError):
        # Then nothing is known to be unpacked.
        return {}
    return found if isinstance(found, dict) else {}


def _mark(seen: os.stat_result) -> list[int]:
    """What changes when somebody writes to a file, or changes its rights."""
    return [seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns]


def _content(file: Path) -> Data:
    """What a file is, apart from its times."""
    seen = file.lstat()
    if stat.S_ISLNK(seen.st_mode):
        return {"link": os.readlink(file)}
    sha256 = __salt__["metis_artifact.checksum"](str(file))
    return {"sha256": sha256, "mode": stat.S_IMODE(seen.st_mode)}


def _is_right(file: Path, known: Data) -> bool:
    try:
        return _mark(file.lstat()) == known["mark"] or _content(file) == known["content"]
    except OSError:
        return False


def seen(archive: str) -> dict[str, Any]:
    """
    What was unpacked of an archive to its end.

    archive
        Its absolute path.

    Returns ``{"sha256", "damaged"}``: the checksum of the archive, or ``None`` where none was
    unpacked; and the paths of the files that are not what came out of it any more.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_archive.seen /opt/.../consul.zip
    """
    known = _list(archive)
    into = known.get("into", "")
    damaged = [
        path
        for name, content in known.get("files", {}).items()
        if not _is_right(Path(path := os.path.join(into, name)), content)
    ]
    return {"sha256": known.get("sha256"), "damaged": damaged}


def unpack(archive: str, into: str, sha256: str, unpacks: str) -> None:
    """
    Unpack an archive over what an older one left, and write down what came out when it is done.
    What an older one left and this one does not have is removed.

    archive
        Its absolute path; a ``.zip``, a ``.sh`` that installs what it holds (as Miniconda's does,
        asked by ``-b -p``), or anything that ``tar`` reads.
    into
        The absolute path of a directory; an installer's own.
    sha256
        Of the archive.
    unpacks
        The absolute path of a file that comes out of it.

    Raises ``CommandExecutionError`` where it cannot be unpacked, or that file does not come out.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_archive.unpack /opt/.../consul.zip /opt/.../0.3.0 2b2f... /opt/.../consul
    """
    try:
        old = _list(archive)
        _beside(archive, "unpacked").unlink(missing_ok=True)
        if archive.endswith(".sh"):
            files = _installed(archive, into, unpacks)
        else:
            files = _placed(archive, into, unpacks, old.get("files", {}))
        known = {"sha256": sha256, "into": into, "files": files}
        draft = _beside(archive, "unpacked.new")
        draft.write_text(json.dumps(known), "utf-8")
        os.replace(draft, _beside(archive, "unpacked"))
    except OSError as err:
        raise salt.exceptions.CommandExecutionError(
            f"{archive} cannot be unpacked: {err.filename}: {err.strerror}"
        ) from err


def _run(archive: str, argv: list[str], timeout: float) -> None:
    # The programs' users read what comes out.
    how = {"python_shell": False, "umask": "022", "timeout": timeout, "ignore_retcode": True}
    done = __salt__["cmd.run_all"](argv, **how)
    if done["retcode"]:
        said = "\n".join((done["stderr"] or done["stdout"]).splitlines()[-5:])
        raise salt.exceptions.CommandExecutionError(f"{archive} cannot be unpacked: {said}")


def _walk(top: Path) -> list[Path]:
    """Every file and link below a folder, in a stable order."""
    found = []
    for folder, folders, names in os.walk(top):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        found += [Path(folder, name) for name in [*names, *links]]
    return sorted(found)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _placed(archive: str, into: str, unpacks: str, old: Data) -> Data:
    """
    Unpack beside it, and put each file in its place: a program that runs cannot be written over,
    and goes on with what it has.
    """
    scratch = _beside(archive, "unpacking")
    _remove(scratch)
    try:
        scratch.mkdir(mode=0o755)
        if archive.endswith(".zip"):
            try:
                __salt__["archive.unzip"](archive, str(scratch), extract_perms=True)
            except salt.exceptions.CommandExecutionError as err:
                raise salt.exceptions.CommandExecutionError(
                    f"{archive} cannot be unpacked: {err}"
                ) from err
        else:
            tar = ["tar", "--extract", "--no-same-owner", "--file", archive]
            _run(archive, [*tar, "--directory", str(scratch)], UNPACK_TIMEOUT)
        if not (scratch / os.path.relpath(unpacks, into)).is_file():
            raise salt.exceptions.CommandExecutionError(f"{archive} does not hold {unpacks}")
        files = {}
        for file in _walk(scratch):
            name = str(file.relative_to(scratch))
            target = Path(into, name)
            content = _content(file)
            if not os.path.lexists(target) or _content(target) != content:
                if target.is_dir() and not target.is_symlink():
                    _remove(target)
                target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
                os.replace(file, target)
            files[name] = {"content": content, "mark": _mark(target.lstat())}
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    for name in old.keys() - files.keys():
        _remove(Path(into, name))
    return files


def _installed(archive: str, into: str, unpacks: str) -> Data:
    """Run an installer, which wants to make its folder itself and knows its place from then on."""
    _remove(Path(into))
    _run(archive, ["sh", archive, "-b", "-p", into], INSTALL_TIMEOUT)
    if not os.path.isfile(unpacks):
        raise salt.exceptions.CommandExecutionError(f"{archive} does not hold {unpacks}")
    top = Path(into)
    return {
        str(file.relative_to(top)): {"content": _content(file), "mark": _mark(file.lstat())}
        for file in _walk(top)
        # Python writes these anew when it has to.
        if file.suffix != ".pyc"
    }
