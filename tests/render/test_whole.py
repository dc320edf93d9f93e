"""That nothing is forgotten between the topology, the release and the states."""

import json

import pytest

from _modules import metis_claims
from tests.render.compiler import ROLES, Data
from tests.render.matrix import ALONE, EVERYTHING, FILES, OTHER, PLACES, Matrix, release
from tests.render.test_files import UNITS, each_place

# Organizations of the releases that somebody else published.
PUBLISHED = ("release-0-3-0", "release-0-4-0")
# What the distribution's packages bring, with units of their own.
FOREIGN = {"mariadb.service", "nginx.service"}


def _units(matrix: Matrix, organization: str, host: str) -> list[str]:
    roles = matrix.host(organization, host).view["roles"].values()
    return [unit for role in roles for instance in role["instances"] for unit in instance["units"]]


def _named(chunks: list[Data], state: str, fun: str) -> list[str]:
    return [chunk["name"] for chunk in chunks if (chunk["state"], chunk["fun"]) == (state, fun)]


@each_place
def test_a_host_has_the_unit_files_of_its_instances_and_no_others(
    matrix: Matrix, organization: str, host: str
) -> None:
    wanted = {
        f"{unit.partition('@')[0]}@.service" if "@" in unit else unit
        for unit in _units(matrix, organization, host)
    } - FOREIGN
    files = matrix.files(organization, host)
    units = {name for name in files if name.startswith(UNITS) and name.endswith(".service")}
    assert {name.removeprefix(UNITS) for name in units} == wanted


@each_place
@pytest.mark.parametrize("target", ["running", "stopped"])
def test_a_verb_starts_or_stops_each_unit_of_a_host_once(
    matrix: Matrix, organization: str, host: str, target: str
) -> None:
    chunks = matrix.chunks(organization, host, target)
    units = _units(matrix, organization, host)
    assert sorted(_named(chunks, "metis_unit", target)) == sorted(units)
    other = "stopped" if target == "running" else "running"
    assert not _named(chunks, "metis_unit", other)


@each_place
def test_units_of_a_role_start_in_their_order_and_stop_in_reverse(
    matrix: Matrix, organization: str, host: str
) -> None:
    started = _named(matrix.chunks(organization, host, "running"), "metis_unit", "running")
    stopped = _named(matrix.chunks(organization, host, "stopped"), "metis_unit", "stopped")
    for role in matrix.host(organization, host).view["roles"].values():
        units = role["instances"][0]["units"]
        assert [unit for unit in started if unit in units] == units
    # MariaDB last, so that admin can end what it does.
    for later, earlier in (
        ("nginx.service", "metis-admin.service"),
        ("metis-admin.service", "mariadb.service"),
        ("metis-glacier2.service", "metis-icegrid.service"),
    ):
        if later in stopped:
            assert stopped.index(later) < stopped.index(earlier)


@each_place
def test_a_program_that_starts_is_then_seen_to_be_well(
    matrix: Matrix, organization: str, host: str
) -> None:
    chunks = matrix.chunks(organization, host, "running")
    gates = [c for c in chunks if c["state"] in ("metis_consul", "metis_health")]
    seen = {chunk["unit"] for chunk in gates if "unit" in chunk}
    assert seen == set(_units(matrix, organization, host)) - FOREIGN
    services = {
        instance["service"]["id"]
        for role in matrix.host(organization, host).view["roles"].values()
        for instance in role["instances"]
        if instance["service"]
    }
    assert {c["service"]["id"] for c in gates if c["fun"] == "service_passing"} == services


@pytest.mark.parametrize("organization", [EVERYTHING[0], OTHER, *PUBLISHED])
def test_every_artifact_of_a_release_is_fetched_and_used(matrix: Matrix, organization: str) -> None:
    pillar = matrix.pillars(organization)
    named = pillar["metis_master"]["metis"]["orgs"][organization]["topology"]["release"]
    places = [place for place in PLACES if place[0] == organization]
    fetched: dict[str, Data] = {}
    used = ""
    for place in places:
        for chunk in matrix.chunks(*place, "running"):
            if (chunk["state"], chunk["fun"]) == ("metis_artifact", "present"):
                assert f"/releases/{named}" in chunk["directory"]
                assert chunk["store"] == {"address": None, "port": 8014} or organization == OTHER
                fetched |= {found["file"]: found for found in chunk["artifacts"].values()}
            elif not chunk["__id__"].endswith("has its release"):
                kept = {k: v for k, v in chunk.items() if k not in ("require", "watch")}
                used += json.dumps(kept)
        used += "".join(file.read_text() for _, file in matrix.files(*place).values())
    artifacts = {
        artifact["file"]: artifact
        for place in places
        for role in matrix.host(*place).view["roles"].values()
        for artifact in role["releases"][named]["artifacts"].values()
    }
    assert set(fetched) == set(artifacts)
    declared = release(named)["artifacts"].values()
    assert set(artifacts) == {artifact["file"] for artifact in declared}
    for file, found in fetched.items():
        for fact in ("sha256", "stored", "builds"):
            assert found[fact] == artifacts[file][fact]
        every = [found] if found["builds"] is None else found["builds"].values()
        assert sorted(build["sha256"] for build in every) == sorted(
            artifact["sha256"] for artifact in declared if artifact["file"] == file
        )
        assert file in used, f"{file} is fetched, and nothing uses it"


@pytest.mark.parametrize("role", [role for role in ROLES if role != "ice_via"])
def test_laying_a_release_down_touches_nothing_that_runs(matrix: Matrix, role: str) -> None:
    places = [place for place in PLACES if place[0] == ALONE]
    (host,) = [h for _, h in places if role in matrix.host(ALONE, h).roles][:1]
    chunks = matrix.chunks(ALONE, host, f"roles.{role}.laid_down")
    kinds = {(chunk["state"], chunk["fun"]) for chunk in chunks}
    assert kinds <= {
        ("file", "directory"),
        ("metis_artifact", "present"),
        ("metis_artifact", "unpacked"),
        ("cmd", "run"),
        ("pkg", "installed"),
        ("metis_ownership", "marked"),
    }
    artifacts = {
        f"{chunk['directory']}/{artifact['file']}"
        for chunk in chunks
        if chunk["fun"] == "present"
        for artifact in chunk["artifacts"].values()
    }
    wanted = matrix.host(ALONE, host).view["release"]
    seen = matrix.host(ALONE, host).view["roles"][role]["releases"][wanted]
    assert artifacts == {f"{seen['directory']}/{a['file']}" for a in seen["artifacts"].values()}


@pytest.mark.parametrize("role", ROLES)
def test_a_check_looks_for_the_packages_that_the_states_install(matrix: Matrix, role: str) -> None:
    places = [place for place in PLACES if place[0] == ALONE]
    (host,) = [h for _, h in places if role in matrix.host(ALONE, h).roles][:1]
    installed = {
        name
        for chunk in matrix.chunks(ALONE, host, "running")
        if (chunk["state"], chunk["fun"]) == ("pkg", "installed")
        for name in chunk.get("pkgs", [chunk["name"]])
    }
    assert set(metis_claims.PACKAGES[role]) == installed


@pytest.mark.parametrize("role", ROLES)
def test_a_role_that_is_switched_off_is_on_no_host(matrix: Matrix, role: str) -> None:
    organization = f"without-{role}"
    assert organization in FILES
    host = matrix.host(organization, "only")
    assert host.roles == [other for other in ROLES if other != role]
    states = {
        chunk["__sls__"]
        for target in ("running", "stopped", "highstate")
        for chunk in matrix.chunks(organization, "only", target)
    }
    assert not [name for name in states if f".{role}." in name]


@each_place
def test_a_highstate_makes_a_host_what_the_verbs_make_it(
    matrix: Matrix, organization: str, host: str
) -> None:
    def tags(target: str) -> set[tuple[str, str, str]]:
        return {
            (chunk["state"], chunk["fun"], chunk["name"])
            for chunk in matrix.chunks(organization, host, target)
            if chunk["state"] != "metis_instance"
        }

    assert tags("highstate") == tags("running")
    # What was stopped stays so, and its files are kept as they should be.
    stopped = tags("highstate when stopped")
    assert tags("stopped") <= stopped
    assert not [tag for tag in stopped if tag[:2] == ("metis_unit", "running")]
    files = {tag for tag in tags("running") if tag[0] == "file"}
    assert files <= stopped


def test_hosts_of_one_role_get_nothing_of_another(matrix: Matrix) -> None:
    for organization, host in PLACES:
        made = matrix.host(organization, host)
        used = {
            chunk["__sls__"].split(".")[1] for chunk in matrix.chunks(organization, host, "running")
        }
        fighter = {"fighter"} if {"data", "compute"} & set(made.roles) else set()
        assert used == {*made.roles, "common", "seen"} | fighter


def test_all_roles_are_somewhere(matrix: Matrix) -> None:
    assert matrix.host(*EVERYTHING).roles == list(ROLES)


@pytest.mark.parametrize("role", ROLES)
def test_a_host_is_made_ready_by_what_installing_does_too(matrix: Matrix, role: str) -> None:
    def tags(target: str) -> set[tuple[str, str, str]]:
        chunks = matrix.chunks(ALONE, host, f"roles.{role}.{target}")
        return {(c["state"], c["fun"], c["name"]) for c in chunks}

    places = [place for place in PLACES if place[0] == ALONE]
    host = next(h for _, h in places if role in matrix.host(ALONE, h).roles)
    ready, installed = tags("ready"), tags("installed")
    # Nothing of a release, which a host that is only made ready need not have.
    assert {tag for tag in installed - ready if tag[0] in ("pkg", "user")} == set()
    assert not [tag for tag in ready if tag[0] == "metis_artifact"]
    beside = {("timezone", "system", "Etc/UTC"), ("pkg", "installed", "curl")}
    beside |= {t for t in ready if t[0] == "pip"} if role == "admin" else set()
    assert ready - installed <= beside


@pytest.mark.parametrize(("kind", "port"), [("data", 8700), ("compute", 8800)])
def test_a_fighter_that_leaves_is_stopped_whatever_the_host_knows_of_it(
    matrix: Matrix, kind: str, port: int
) -> None:
    chunks = matrix.chunks(ALONE, f"{kind}1", f"roles.{kind}.left")
    (registered,) = [c for c in chunks if "agent" in c and c["__id__"].startswith(f"{kind}@")]
    assert registered["outlived"] is True
    # Nothing is marked here: the record on the master is enough.
    assert _named(chunks, "metis_unit", "dead") == [f"metis-{kind}@{port}.service"]
