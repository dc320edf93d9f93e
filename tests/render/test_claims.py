"""That everything that states make on a host is claimed, and marked before it is made."""

import pytest

from tests.render.compiler import Data
from tests.render.matrix import Matrix
from tests.render.test_files import each_place

# What makes a file or a folder.
_FILES = {
    "file": ("managed", "serialize", "directory", "symlink"),
    "metis_artifact": ("present",),
    "metis_p2p_key": ("present",),
}


def _named(claims: list[Data], *kinds: str) -> set[str]:
    return {claim["name"] for claim in claims if claim["kind"] in kinds}


def _made(chunks: list[Data]) -> set[str]:
    own = [chunk for chunk in chunks if chunk["fun"] in _FILES.get(chunk["state"], ())]
    return {str(chunk.get("directory", chunk["name"])) for chunk in own}


@each_place
def test_every_file_and_folder_is_claimed(matrix: Matrix, organization: str, host: str) -> None:
    claims = matrix.host(organization, host).claims()
    folders, trees = _named(claims, "folder"), _named(claims, "tree", "store")
    unclaimed = [
        path
        for path in _made(matrix.chunks(organization, host, "running"))
        if path not in folders and not any(f"{path}/".startswith(f"{tree}/") for tree in trees)
    ]
    assert unclaimed == []


@each_place
@pytest.mark.parametrize(
    ("kind", "state", "fun"),
    [
        ("user", "user", "present"),
        ("package", "pkg", "installed"),
        ("database", "metis_mysql", "schema_present"),
        ("account", "metis_mysql", "account"),
    ],
)
def test_everything_else_is_claimed(
    matrix: Matrix, organization: str, host: str, kind: str, state: str, fun: str
) -> None:
    made = {
        name
        for chunk in matrix.chunks(organization, host, "running")
        if (chunk["state"], chunk["fun"]) == (state, fun)
        for name in chunk.get("pkgs", [chunk["name"]])
    }
    claimed = _named(matrix.host(organization, host).claims(), kind)
    # Those of a release that is not deployed may come too.
    assert made <= claimed if kind == "package" else made == claimed


@each_place
def test_every_unit_is_claimed(matrix: Matrix, organization: str, host: str) -> None:
    running = {
        chunk["name"]
        for chunk in matrix.chunks(organization, host, "running")
        if (chunk["state"], chunk["fun"]) == ("metis_unit", "running")
    }
    assert running == _named(matrix.host(organization, host).claims(), "unit", "service")


@each_place
@pytest.mark.parametrize("target", ["running", "highstate"])
def test_nothing_is_made_before_it_is_marked(
    matrix: Matrix, organization: str, host: str, target: str
) -> None:
    chunks = matrix.chunks(organization, host, target)
    (mark,) = (n for n, chunk in enumerate(chunks) if chunk["fun"] == "marked")
    made = _made(chunks)
    first = min(n for n, chunk in enumerate(chunks) if _made([chunk]) & made)
    assert mark < first
    # Where the mark cannot be set, nothing is made.
    makes = {"file", "user", "pkg", "metis_artifact"}
    acts = [c for c in chunks if c["state"] in makes and c["fun"] != "absent"]
    free = [chunk["__id__"] for chunk in acts if not _waits(chunk, chunks, set())]
    assert free == []


def _waits(chunk: Data, chunks: list[Data], seen: set[str]) -> bool:
    """Whether a state is not tried where the mark could not be set."""
    for needed in chunk.get("require", []) + chunk.get("watch", []) + chunk.get("prereq", []):
        (kind, name), *_ = needed.items()
        if kind == "metis_ownership":
            return True
        if f"{kind} {name}" in seen:
            continue
        seen.add(f"{kind} {name}")
        for other in chunks:
            is_it = (
                other["__sls__"] == name
                if kind == "sls"
                else (other["state"] == kind and name in (other["__id__"], other["name"]))
            )
            if is_it and _waits(other, chunks, seen):
                return True
    return False


@each_place
@pytest.mark.parametrize("target", ["running", "highstate"])
def test_accounts_that_admin_had_go_when_it_runs_with_its_own(
    matrix: Matrix, organization: str, host: str, target: str
) -> None:
    chunks = matrix.chunks(organization, host, target)
    going = [n for n, chunk in enumerate(chunks) if chunk["fun"] == "former_accounts_absent"]
    runs = [n for n, chunk in enumerate(chunks) if chunk["__id__"] == "admin runs"]
    assert len(going) == len(runs)
    assert going >= runs
    for number in going:
        assert {"metis_unit": "admin runs"} in chunks[number]["require"]


@each_place
def test_whatever_is_claimed_goes(matrix: Matrix, organization: str, host: str) -> None:
    claims = matrix.host(organization, host).claims()
    chunks = matrix.chunks(organization, host, "absent")
    gone = {c["name"] for c in chunks if (c["state"], c["fun"]) == ("file", "absent")}
    assert gone == _named(claims, "tree")
    users = {c["name"] for c in chunks if (c["state"], c["fun"]) == ("user", "absent")}
    assert users == _named(claims, "user")
    purged = [c["pkgs"] for c in chunks if (c["state"], c["fun"]) == ("pkg", "purged")]
    assert {name for names in purged for name in names} == _named(claims, "package")
    dropped = {c["name"] for c in chunks if c["state"] in ("mysql_database", "mysql_user")}
    assert dropped == _named(claims, "database", "account")


@each_place
def test_the_mark_goes_last(matrix: Matrix, organization: str, host: str) -> None:
    chunks = matrix.chunks(organization, host, "absent")
    (mark,) = (n for n, chunk in enumerate(chunks) if chunk["fun"] == "released")
    acts = {"absent", "dead", "purged", "symlink", "directory", "reloaded"}
    assert [c["__id__"] for c in chunks[mark:] if c["fun"] in acts] == []
