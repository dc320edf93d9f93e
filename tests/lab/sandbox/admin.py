"""The admin's back end as a jar with everything in it, its web files and its schema."""

import io
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.lab.sandbox.archives import write_tar, write_zip
from tests.lab.sandbox.piece import (
    HERE,
    PROGRAMS,
    SECOND_VERSION,
    VERSION,
    BuildError,
    Piece,
    copy_into,
    run,
)

JAR, WEB, SQL = "admin.jar", "admin.tar", "admin.sql"
CHANGE = f"admin-{SECOND_VERSION}.sql"
_SOURCES = PROGRAMS / "admin"
# Debian's libjakarta-annotation-api-java, libmariadb-java, libyaml-snake-java and
# libtomcat10-embed-java.
_LIBRARIES = (
    Path("/usr/share/java/jakarta-annotation-api.jar"),
    Path("/usr/share/java/mariadb-java-client.jar"),
    Path("/usr/share/java/snakeyaml.jar"),
    Path("/usr/share/java/tomcat10-embed-core.jar"),
)
_MANIFEST_FILE = "META-INF/MANIFEST.MF"
_MANIFEST = """\
Manifest-Version: 1.0
Main-Class: metis.admin.Main
Implementation-Version: {version}

"""


def _of_library(library: Path) -> Iterator[tuple[str, bytes]]:
    if not library.exists():
        raise BuildError(f"{library} is missing; install the packages in APT_PACKAGES with apt-get")
    with zipfile.ZipFile(library) as archive:
        for name in sorted(archive.namelist()):
            wanted = name.startswith("META-INF/services/") or not name.startswith("META-INF/")
            if wanted and not name.endswith(("/", "module-info.class")):
                yield name, archive.read(name)


def _make_jar(folder: Path, needs: Sequence[Path]) -> None:
    members = {_MANIFEST_FILE: _MANIFEST.format(version=VERSION).encode()}
    for library in _LIBRARIES:
        members.update(_of_library(library))
    with tempfile.TemporaryDirectory() as scratch:
        compiler = ["javac", "--release", "11", "-encoding", "UTF-8", "-Xlint:all", "-Werror"]
        paths = ["-cp", ":".join(str(library) for library in _LIBRARIES), "-d", scratch]
        run("compile admin", [*compiler, *paths, *sorted(_SOURCES.rglob("*.java"))])
        for compiled in sorted(Path(scratch).rglob("*.class")):
            members[str(compiled.relative_to(scratch))] = compiled.read_bytes()
    write_zip(folder / JAR, members)


def _members(jar: Path | io.BytesIO) -> dict[str, bytes]:
    with zipfile.ZipFile(jar) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _make_second_jar(folder: Path, needs: Sequence[Path]) -> None:
    manifest = _MANIFEST.format(version=SECOND_VERSION).encode()
    write_zip(folder / JAR, _members(needs[0] / JAR) | {_MANIFEST_FILE: manifest})


def without_main(jar: bytes) -> bytes:
    """Take the program out of a jar: what is left ends as soon as it starts.

    Args:
        jar: the jar's content.

    Returns:
        The content of the other jar.
    """
    members = _members(io.BytesIO(jar))
    left = {name: data for name, data in members.items() if not name.startswith("metis/")}
    made = io.BytesIO()
    write_zip(made, left)
    return made.getvalue()


def _make_second_schema(folder: Path, needs: Sequence[Path]) -> None:
    copy_into(folder, _SOURCES / CHANGE)
    schema = [(_SOURCES / name).read_text(encoding="utf-8") for name in (SQL, CHANGE)]
    (folder / SQL).write_text("\n".join(schema), encoding="utf-8")


def _make_site(folder: Path, needs: Sequence[Path]) -> None:
    web = _SOURCES / "web"
    files = sorted(file for file in web.rglob("*") if file.is_file())
    write_tar(folder / WEB, [(str(file.relative_to(web)), file.read_bytes()) for file in files])
    copy_into(folder, _SOURCES / SQL)


ADMIN_JAR = Piece(
    "admin-jar", (HERE / "admin.py", HERE / "archives.py", _SOURCES / "src"), _make_jar
)
ADMIN_SITE = Piece(
    "admin-site",
    (HERE / "admin.py", HERE / "archives.py", _SOURCES / "web", _SOURCES / SQL),
    _make_site,
)
SECOND_ADMIN_JAR = Piece(
    "admin-jar-second", (HERE / "admin.py",), _make_second_jar, needs=(ADMIN_JAR,)
)
SECOND_ADMIN_SCHEMA = Piece(
    "admin-schema-second", (_SOURCES / SQL, _SOURCES / CHANGE), _make_second_schema
)
