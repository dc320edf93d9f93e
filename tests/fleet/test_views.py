"""What a host may know: its own view, the states, and nothing else, whatever its minion asks."""

import hashlib
import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fleet.organization import NAME, Organization
from tests.lab.host import Host
from tests.lab.venv import REPOSITORY

HERE = Path(__file__).resolve().parent
PROBE = HERE / "as_minion.py"
FILE = yaml.safe_load((HERE / "fleet.sls").read_text(encoding="utf-8"))["metis"]
HOSTS: dict[str, str] = {name: host["address"] for name, host in FILE["hosts"].items()}
OTHER = yaml.safe_load((REPOSITORY / "pillar/orgs/demo.sls").read_text(encoding="utf-8"))["metis"]
MASTER = "10.77.0.10"
KEPT = f"/etc/salt/pki/master/metis/{NAME}.yaml"
AGENT = HOSTS["fleet1"]
SERVERS = {AGENT, HOSTS["fleet2"], HOSTS["fleet3"]}
# Whose addresses a host has to know: where its programs come from, the agent's, and, of a server of
# consul, its peers'. What the agent's host writes into consul is of the data center and of ice_via.
ADDRESSES = {host: {MASTER, *SERVERS} for host in HOSTS} | {
    "fleet4": {MASTER, AGENT, HOSTS["fleet4"]}
}
ROLES = {
    name: {role if isinstance(role, str) else next(iter(role)) for role in host["roles"]}
    for name, host in FILE["hosts"].items()
}
OVERRIDE = {"org": "demo", "host": "demo1", "forged": True}
FORGED: dict[str, dict[str, Any]] = {
    "own": {},
    "environment": {"saltenv": "dev"},
    "environment of a folder": {"saltenv": "/srv/metis"},
    "pillar environment": {"pillarenv": "dev"},
    "pillar environment above": {"pillarenv": ".."},
    "grains": {"grains": {"id": "metis_master", "host": "demo1", "fqdn": "demo1"}},
    "more data": {"extra_minion_data": {"id": "metis_master", "minion_id": "demo1"}},
    "a command": {"ext": {"cmd_json": "cat /etc/salt/pki/master/metis/fleet.yaml"}},
    "override": {"pillar_override": {"metis": OVERRIDE}},
    **{f"as {name}": {"id": name} for name in (*HOSTS, "demo1", "demo2", "metis_master")},
}
PRIVATE = (
    "/etc/salt/master",
    "/etc/salt/master.d/metis.conf",
    "/etc/salt/pki/master/master.pem",
    KEPT,
    "/etc/shadow",
    f"/srv/metis-local/pillar/orgs/{NAME}.sls",
    "/srv/metis/pillar/orgs/demo.sls",
    "/srv/metis/pillar/top.sls",
    "/srv/metis/pillar/releases/0.3.0.yaml",
    "/srv/metis/docs/pillar.md",
)
# What salt-call prints, it would also send to the master, which keeps it among its jobs.
SHOW = ["salt-call", "--no-return-event", "--out=json", "pillar.items", "unmask=True"]
ENVIRONMENTS = (
    *("base", "metis_store", "dev", "__env__", "..", "/"),
    *("/srv/metis", "pillar", "orgs"),
)


def _tracked() -> list[str]:
    listing = subprocess.run(
        ["git", "-c", f"safe.directory={REPOSITORY}", "ls-files", "-z"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return [name for name in listing.stdout.split("\0") if (REPOSITORY / name).is_file()]


TRACKED = _tracked()
# Below salt/, of which _modules and _states are links.
PUBLIC = {
    name.removeprefix("salt/"): hashlib.sha256((REPOSITORY / name).read_bytes()).hexdigest()
    for name in TRACKED
    if name.startswith(("salt/", "_modules/", "_states/"))
}


def _asked() -> list[tuple[str, str]]:
    """Every file of the repository and some of the master's own, in every way to name one."""
    asked = [("base", name) for name in {*TRACKED, *PUBLIC}]
    # What is beside the artifacts in the store.
    asked += [("metis_store", f"{up}index.json") for up in ("", "../", "sandbox/../../", "/")]
    for name in TRACKED:
        asked += [("base", f"../{name}"), ("base", f"_modules/../{name}")]
    for name in PRIVATE:
        up = f"../../..{name}"
        asked += [(environment, name) for environment in ENVIRONMENTS]
        asked += [(environment, name[1:]) for environment in ENVIRONMENTS]
        asked += [
            ("base", form)
            for form in (
                up,
                f"/{name}",
                f"|{name}",
                f"|{up}",
                f"{name}?index=0",
                f"{up}?index=0",
                f"{up}?saltenv=dev",
                f"roles/../{up}",
                f"_modules/../{up}",
                f"_states/..//{up}",
                f"./{up}",
                f"..\\..\\..{name}",
                f"%2e%2e/%2e%2e/%2e%2e{name}",
                f"salt://{up}",
                f"file://{name}",
            )
        ]
    return asked


def _ask(host: Host) -> dict[str, Any]:
    script = "/root/as_minion.py"
    (host.root / script[1:]).write_text(PROBE.read_text(encoding="utf-8"), encoding="utf-8")
    prefixes = ["", "..", "../pillar", "/srv/metis", "_modules/../../pillar"]
    wanted = json.dumps({"paths": _asked(), "forged": FORGED, "prefixes": prefixes})
    done = host.run(["/opt/salt/bin/python3", script], input=wanted, timeout=240)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture(scope="module")
def answers(org: Organization) -> dict[str, dict[str, Any]]:
    """What the master gave to each host."""
    with ThreadPoolExecutor() as pool:
        return dict(zip(HOSTS, pool.map(_ask, org.lab.hosts.values()), strict=True))


@pytest.fixture(scope="module")
def password(org: Organization) -> str:
    """The database's, as the master has made it."""
    kept = org.lab.master.run(["cat", KEPT]).stdout
    found: str = yaml.safe_load(kept)["mysql_password"]
    assert len(found) == 32
    return found


# What makes the certificates of admin and ice_via necessary.
TLS = (
    ("admin: {", "admin: {enable_tls: true, "),
    ("ice_via: {external", "ice_via: {protocol: ssl, external"),
)


def _keys(thing: Any, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Where in a pillar private keys stand."""
    if isinstance(thing, dict):
        return {found for key, value in thing.items() for found in _keys(value, (*path, str(key)))}
    if isinstance(thing, list):
        return {found for value in thing for found in _keys(value, path)}
    return {path} if "PRIVATE KEY" in str(thing) else set()


def test_a_host_sees_its_view_and_nothing_else(org: Organization, password: str) -> None:
    for host, out in org.everywhere(SHOW).items():
        pillar = json.loads(out)["local"]
        text = json.dumps(pillar)
        assert set(pillar) == {"metis"}, host
        assert pillar["metis"]["host"] == host
        assert set(pillar["metis"]["roles"]) == ROLES[host]
        for name, other in OTHER["hosts"].items():
            assert not re.search(rf"\b({name}|{re.escape(other['address'])})\b", text), host
        assert "demo" not in text, host
        assert set(re.findall(r"\b\w+@(\w+)", text)) <= {host, "8700", "8711", "8800"}
        assert set(re.findall(r"10\.77\.0\.\d+", text)) <= ADDRESSES[host], host
        services = set(re.findall(r"\w+Service_([0-9.]+)_", text))
        assert services <= {HOSTS[host]}, host
        assert (password in text) == ("admin" in ROLES[host]), host


def test_a_host_sees_the_keys_of_its_own_roles_only(org: Organization) -> None:
    with org.edited(*TLS):
        pillars = {host: json.loads(out)["local"] for host, out in org.everywhere(SHOW).items()}
    kept = yaml.safe_load(org.lab.master.run(["cat", KEPT]).stdout)["certificates"]
    secured = {"admin", "ice_via"}
    assert {*secured, "authority"} <= set(kept)
    for host, pillar in pillars.items():
        wanted = {("metis", "roles", role) for role in ROLES[host] & secured}
        assert {path[:3] for path in _keys(pillar)} == wanted, host
        # A line of the key, as a key stands in JSON with its ends of lines escaped.
        text = json.dumps(pillar)
        seen = {name for name, made in kept.items() if made["key"].splitlines()[2] in text}
        assert seen == ROLES[host] & secured, host


@pytest.mark.parametrize("function", ["pillar.items", "pillar.raw"])
def test_salt_shows_no_password_unless_it_is_told_to(
    org: Organization, password: str, function: str
) -> None:
    # pillar.raw is masked on the terminal only, and not in what the master would keep of it.
    for host, out in org.everywhere([*SHOW[:3], function]).items():
        assert "metis" in json.loads(out)["local"], host
        assert password not in out, host


@pytest.mark.parametrize("name", list(FORGED))
def test_a_forged_request_for_a_pillar_gives_no_more(
    answers: dict[str, dict[str, Any]], name: str
) -> None:
    for host, answer in answers.items():
        own, got = answer["pillars"]["own"], answer["pillars"][name]
        assert own["metis"]["host"] == host
        if name == "override":
            # What a minion says to itself comes back to it, beside its own view.
            forged = got["metis"].pop("forged")
            assert forged is True
            got["metis"] |= {"org": NAME, "host": host}
        assert got in (own, {}, "") or str(got).startswith("refused"), host


def test_only_the_states_and_modules_are_served(answers: dict[str, dict[str, Any]]) -> None:
    for host, answer in answers.items():
        served = {(saltenv, path): digest for saltenv, path, digest in answer["served"]}
        plain = {path: digest for (saltenv, path), digest in served.items() if path in PUBLIC}
        assert plain == PUBLIC, host
        leaked = {asked for asked, digest in served.items() if digest not in PUBLIC.values()}
        assert leaked == set(), host


def test_only_the_states_and_modules_are_listed(answers: dict[str, dict[str, Any]]) -> None:
    folders = {str(folder) for name in PUBLIC for folder in Path(name).parents}
    for host, answer in answers.items():
        # Python's own cache stands beside the modules.
        names = {name for name in answer["names"] if "__pycache__" not in name}
        assert names <= PUBLIC.keys() | folders, host


def test_salts_own_client_gets_what_is_served(org: Organization) -> None:
    host = org.lab.host("fleet1")

    def call(*argv: str) -> Any:
        return json.loads(host.run(["salt-call", "--out=json", *argv], check=False).stdout)["local"]

    get, keep = "cp.get_file_str", "cp.cache_file"
    above, whole = "salt://../pillar/orgs/demo.sls", "salt:///srv/metis/pillar/orgs/demo.sls"
    refused = [(function, path) for function in (get, keep) for path in (above, whole)]
    with ThreadPoolExecutor() as pool:
        listed = pool.submit(call, "cp.list_master")
        verb = pool.submit(call, get, "salt://metis/deploy.sls")
        assert not any(pool.map(lambda words: call(*words), refused))
        assert {name for name in listed.result() if "__pycache__" not in name} == set(PUBLIC)
        assert "metis.guarded" in verb.result()
