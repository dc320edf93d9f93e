"""Zip and tar archives that come out the same from the same input."""

import io
import tarfile
import time
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.lab.sandbox.piece import EPOCH

_MOMENT = time.gmtime(EPOCH)[:6]


def write_zip(target: Path | io.BytesIO, members: Mapping[str, bytes], mode: int = 0o644) -> None:
    """Write a zip archive.

    Args:
        target: the archive, or where its content is to go.
        members: content by name, in this order.
        mode: the permissions of every member.
    """
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, _MOMENT)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (0o100000 | mode) << 16
            archive.writestr(info, content)


def write_tar(target: Path, members: Iterable[tuple[str, bytes]]) -> None:
    """Write a tar archive, not compressed.

    Args:
        target: the archive.
        members: names and contents, in this order.
    """
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = len(content), EPOCH, 0o644
            archive.addfile(info, io.BytesIO(content))
