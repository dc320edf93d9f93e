"""What the programs read, as Salt writes it on a host."""

import configparser
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import crossplane  # type: ignore[import-untyped]
import pytest
import yaml

from tests.render.compiler import Data
from tests.render.matrix import EVERYTHING, OTHER, PLACES, Matrix

each_place = pytest.mark.parametrize(
    ("organization", "host"), [pytest.param(*place, id="-".join(place)) for place in PLACES]
)
UNITS = "/usr/local/lib/systemd/system/"


def _instances(matrix: Matrix, organization: str, host: str) -> list[tuple[str, Data]]:
    roles = matrix.host(organization, host).view["roles"]
    return [(role, instance) for role, seen in roles.items() for instance in seen["instances"]]


@each_place
def test_a_configuration_is_read_as_what_the_view_says(
    matrix: Matrix, organization: str, host: str
) -> None:
    files = matrix.files(organization, host)
    for _, instance in _instances(matrix, organization, host):
        if "config_file" in instance:
            text = files[instance["config_file"]][1].read_text()
            read = json.loads if instance["config_file"].endswith(".json") else yaml.safe_load
            assert read(text) == instance["config"]


@each_place
def test_the_properties_of_ice_are_read_as_what_the_view_says(
    matrix: Matrix, organization: str, host: str
) -> None:
    files = matrix.files(organization, host)
    for role, instance in _instances(matrix, organization, host):
        for program in ("icegrid", "glacier2") if role == "ice_via" else ():
            configuration = matrix.host(organization, host).view["roles"][role]["configuration"]
            text = files[f"{configuration}/{program}.properties"][1].read_text()
            lines = [line for line in text.splitlines() if line and not line.startswith("#")]
            said = dict(line.split("=", 1) for line in lines)
            assert said == {name: str(value) for name, value in instance[program].items()}


@each_place
def test_files_are_written_with_the_mode_that_they_should_have(
    matrix: Matrix, organization: str, host: str
) -> None:
    for chunk, file in matrix.files(organization, host).values():
        assert file.stat().st_mode & 0o7777 == int(chunk["mode"], 8)
        text = file.read_text()
        assert not re.search(r"\{[{%]|%\}|None|Undefined", text.replace("{{ no }}", "")), file
        assert text.endswith("\n") or chunk["fun"] == "serialize" or "contents" in chunk


@each_place
def test_programs_find_every_file_that_they_read(
    matrix: Matrix, organization: str, host: str
) -> None:
    chunks = matrix.chunks(organization, host, "running")
    made = {chunk["name"] for chunk in chunks if chunk["state"] in ("file", "metis_p2p_key")}
    made |= {
        f"{chunk['directory']}/{artifact['file']}"
        for chunk in chunks
        if (chunk["state"], chunk["fun"]) == ("metis_artifact", "present")
        for artifact in chunk["artifacts"].values()
    }
    # What tells that an archive was unpacked to its end.
    made |= {
        "/.".join(chunk["archive"].rsplit("/", 1)) + ".unpacked"
        for chunk in chunks
        if chunk["fun"] == "unpacked"
    }
    # The last thing that the command makes which builds the fighters' environment.
    made |= {c["name"].split()[-1] for c in chunks if "env/complete" in c.get("name", "")}
    for _, instance in _instances(matrix, organization, host):
        assert {file for files in instance["files"].values() for file in files} <= made
        assert list(instance["files"]) == instance["units"]


def _admin(matrix: Matrix) -> list[tuple[Data, dict[str, tuple[Data, Path]]]]:
    return [
        (matrix.host(*place).view["roles"]["admin"], matrix.files(*place))
        for place in PLACES
        if "admin" in matrix.host(*place).roles
    ]


def _directives(block: list[Data], name: str) -> list[list[str]]:
    found = [item["args"] for item in block if item["directive"] == name]
    for item in block:
        found += _directives(item.get("block", []), name)
    return found


def test_nginx_can_read_its_site_and_finds_admin_behind_it(matrix: Matrix, tmp_path: Path) -> None:
    for admin, files in _admin(matrix):
        instance = admin["instances"][0]
        settings = instance["settings"]
        # As Debian's nginx.conf has it.
        whole = tmp_path / "nginx.conf"
        site = files[instance["nginx_file"]][1]
        whole.write_text(f"events {{}}\nhttp {{\n    include {site};\n}}\n")
        parsed: Data = crossplane.parse(str(whole), strict=True, combine=True)
        assert not parsed["errors"], parsed["errors"]
        http: list[Data] = parsed["config"][0]["parsed"]
        plain = [str(settings["http_port"]), "default_server"]
        secured = [str(settings["https_port"]), "ssl", "default_server"]
        tls = settings["enable_tls"]
        assert _directives(http, "listen") == ([plain, secured] if tls else [plain])
        assert _directives(http, "server_name") == [[settings["server_name"]]] * (1 + tls)
        # What is not secured leads to where it is.
        address = f"https://$host:{settings['https_port']}$request_uri"
        assert _directives(http, "return") == [["301", address]] * tls
        assert _directives(http, "ssl_protocols") == [settings["ssl_protocols"]] * tls
        assert _directives(http, "ssl_ciphers") == [[settings["ssl_ciphers"]]] * tls
        for directive in ("ssl_certificate", "ssl_certificate_key"):
            for (name,) in _directives(http, directive):
                assert name in files
        path = _of(admin)["facts"]["context_path"]
        assert _directives(http, "location") == [[path], ["/"]]
        behind = f"http://127.0.0.1:{settings['web_port']}{path}"
        assert _directives(http, "proxy_pass") == [[behind]]
        assert instance["config"]["server"] | {"tomcat": None} == {
            "port": settings["web_port"],
            "servlet": {"context-path": path},
            "tomcat": None,
        }
        assert _directives(http, "root") == [[f"{instance['link']}/network"]]


def _of(role: Data) -> Data:
    """The release that the instances of a role have."""
    (name,) = {instance["release"] for instance in role["instances"]}
    found: Data = role["releases"][name]
    return found


def test_mariadb_has_the_settings_that_the_schema_needs(matrix: Matrix) -> None:
    for admin, files in _admin(matrix):
        instance = admin["instances"][0]
        read = configparser.ConfigParser()
        read.read(files[instance["mariadb_file"]][1])
        said = read["mysqld"]
        assert said["default_time_zone"] == "+00:00"
        assert said["event_scheduler"] == "ON"
        assert said["bind-address"] == "127.0.0.1"
        assert f":{said['port']}/" in instance["config"]["spring"]["datasource"]["druid"]["url"]


class Unit:
    """A unit file: what systemd would make of it."""

    def __init__(self, text: str) -> None:
        read = configparser.RawConfigParser(strict=True, interpolation=None)
        read.optionxform = str  # type: ignore[assignment,method-assign]
        read.read_string(text)
        self.unit, self.service = read["Unit"], read["Service"]
        self.install = read["Install"]


def _units(matrix: Matrix, organization: str, host: str) -> dict[str, Unit]:
    return {
        name.removeprefix(UNITS): Unit(file.read_text())
        for name, (_, file) in matrix.files(organization, host).items()
        if name.startswith(UNITS) and name.endswith(".service")
    }


# Seconds that each program needs to end (service-contract 2, 5, 6, 7).
STOP_TIME = {"carrier": 30, "data": 15, "compute": 15}


@each_place
def test_units_stop_their_program_gently_and_start_it_again(
    matrix: Matrix, organization: str, host: str
) -> None:
    users = {
        chunk["name"]
        for chunk in matrix.chunks(organization, host, "running")
        if (chunk["state"], chunk["fun"]) == ("user", "present")
    }
    folders = {
        chunk["name"]: chunk.get("user")
        for chunk in matrix.chunks(organization, host, "running")
        if (chunk["state"], chunk["fun"]) in (("file", "directory"), ("file", "symlink"))
    }
    for name, unit in _units(matrix, organization, host).items():
        service = unit.service
        # The main process only: a fighter's tasks are its children and would hear a signal too.
        assert service["KillMode"] == "mixed", name
        assert service["KillSignal"] == "SIGTERM", name
        assert "ExecStop" not in service, name
        assert service["Restart"] == "always", name
        assert unit.unit["StartLimitIntervalSec"] == "0", name
        least = STOP_TIME.get(name.removeprefix("metis-").partition("@")[0].split(".")[0], 10)
        assert int(service["TimeoutStopSec"]) >= least, name
        assert service["User"] == service["Group"]
        assert service["User"] in users, name
        # Of a template, the link is each instance's.
        working = re.escape(service["WorkingDirectory"]).replace("%i", "[0-9]+")
        assert any(re.fullmatch(working, folder) for folder in folders), name
        for folder in service["ReadWritePaths"].split():
            assert folders[folder] == service["User"], name
        assert unit.install["WantedBy"] == "multi-user.target", name
        assert f" of {organization}" in unit.unit["Description"]
        # systemd's own variables, and no shell's.
        assert not re.search(r"nohup|[;&|`<>]|\bsh\b|\$\(", service["ExecStart"]), name


@each_place
def test_units_start_a_program_that_is_there(matrix: Matrix, organization: str, host: str) -> None:
    view = matrix.host(organization, host).view
    for name, unit in _units(matrix, organization, host).items():
        program = unit.service["ExecStart"].split()[0]
        assert program.startswith("/"), name
        if not program.startswith(view["paths"]["programs"]):
            # Of a package of the distribution.
            assert program.startswith("/usr/bin/"), name
            continue
        role = name.removeprefix("metis-").split(".")[0].rstrip("@")
        seen = view["roles"][role]
        link = f"{seen['links']}/%i" if "@" in name else seen["instances"][0]["link"]
        inside = program.removeprefix(f"{link}/")
        artifacts = _of(seen)["artifacts"].values()
        known = {a["file"] for a in artifacts} | {a["unpacks"] for a in artifacts}
        assert inside in known | {"env/bin/python"}, name
        if "-jar" in unit.service["ExecStart"]:
            assert f"{link}/{_of(seen)['artifacts']['admin_jar']['file']}" in (
                unit.service["ExecStart"].split()
            )


@each_place
def test_units_remove_a_stale_registration_first(
    matrix: Matrix, organization: str, host: str
) -> None:
    view = matrix.host(organization, host).view
    agent = f"http://{view['agent']['address']}:{view['agent']['port']}"
    units = _units(matrix, organization, host)
    for role in view["roles"].values():
        for instance in role["instances"]:
            for name in instance["units"]:
                template, at, port = name.removesuffix(".service").partition("@")
                unit = units.get(f"{template}{at}.service")
                if unit is None:
                    continue
                before = unit.service.get("ExecStartPre", "").replace("%i", port)
                service = instance["service"] or {"id": None}
                url = f"{agent}/v1/agent/service/deregister/{service['id']}"
                assert before.split(" ")[-1] == (url if instance["service"] else ""), name


@pytest.fixture
def systemd(tmp_path: Path) -> Path:
    """A root folder with what units of ours refer to, and programs for them to start."""
    folder = tmp_path / "root"
    units = folder / UNITS.lstrip("/")
    units.mkdir(parents=True)
    targets = ("sysinit", "basic", "shutdown", "network-online", "multi-user")
    for name in [f"{target}.target" for target in targets] + ["system.slice", "-.slice"]:
        (units / name).write_text("[Unit]\nDescription=here\n")
    return folder


@each_place
def test_systemd_accepts_the_units(
    matrix: Matrix, systemd: Path, organization: str, host: str
) -> None:
    files = matrix.files(organization, host)
    started = []
    for name, (_, file) in files.items():
        if not name.startswith(UNITS):
            continue
        text = file.read_text()
        there = systemd / name.lstrip("/")
        there.parent.mkdir(exist_ok=True)
        there.write_text(text)
        if name.endswith(".service"):
            started.append(name.replace("@.", "@8700."))
        for program in re.findall(r"^Exec\w+=-?(\S+)", text, re.MULTILINE):
            place = systemd / program.lstrip("/").replace("%i", "8700")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch(0o755)
    if not started:
        return
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", f"--root={systemd}", *started],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")


@each_place
def test_a_fighter_may_write_where_its_data_is(
    matrix: Matrix, organization: str, host: str
) -> None:
    files = {name: file.read_text() for name, (_, file) in matrix.files(organization, host).items()}
    for kind in ("data", "compute"):
        seen = matrix.host(organization, host).view["roles"].get(kind, {"instances": []})
        for instance in seen["instances"]:
            said = files[f"{UNITS}metis-{kind}@.service"] + files.get(instance["drop_in"], "")
            paths = " ".join(re.findall(r"^ReadWritePaths=(.*)$", said, re.MULTILINE)).split()
            assert any(Path(instance["directory"]).is_relative_to(path) for path in paths)


def test_no_default_shows_through_other_values(matrix: Matrix) -> None:
    plain = _said(matrix, *EVERYTHING)
    defaults = {
        *(str(port) for port in plain["ports"]),
        *matrix.host(*EVERYTHING).view["paths"].values(),
        *("metis_admin", "/metis-admin", "metis/", "metis_dcv", "metis.data_svc", "sandbox"),
    }
    assert len(plain["ports"]) > 15
    for organization, host in PLACES:
        if organization == OTHER:
            text = _said(matrix, organization, host)["text"]
            found = [word for word in defaults if re.search(rf"(?<![\w.-]){word}(?![\w-])", text)]
            assert not found, host


def _said(matrix: Matrix, organization: str, host: str) -> Data:
    """Everything that the states and files of a host say, and the ports of its instances."""
    texts = [file.read_text() for _, file in matrix.files(organization, host).values()]
    texts += [
        json.dumps({key: value for key, value in chunk.items() if key != "order"})
        for target in ("running", "stopped")
        for chunk in matrix.chunks(organization, host, target)
    ]
    ports = {
        value
        for _, instance in _instances(matrix, organization, host)
        for key, value in instance["settings"].items()
        if key.endswith("port") and value > 1024
    }
    return {"text": "\n".join(texts), "ports": ports}


def test_the_other_values_are_all_other_than_the_defaults(matrix: Matrix) -> None:
    """A new setting fails here until it has another value there too."""

    def settings(*place: str) -> dict[tuple[str, str], Any]:
        return {
            (role, key): value
            for role, instance in _instances(matrix, *place)
            for key, value in instance["settings"].items()
            # Files of the operator's own are on no master here: tests/unit reads some.
            if key not in ("enabled", "certificate", "certificate_key")
        }

    defaults = settings(*EVERYTHING)
    other = {
        key: value
        for organization, host in PLACES
        if organization == OTHER
        for key, value in settings(organization, host).items()
    }
    same = [key for key in defaults if other[key] == defaults[key]]
    assert not same
    paths = matrix.host(*EVERYTHING).view["paths"]
    assert not set(paths.values()) & set(matrix.host(OTHER, "first").view["paths"].values())


@pytest.mark.parametrize("built_for", ["avx2", "no_avx2", None])
def test_an_environment_of_another_processor_s_builds_is_made_anew(
    matrix: Matrix, tmp_path: Path, built_for: str | None
) -> None:
    place = next(p for p in PLACES if "data" in matrix.host(*p).roles)
    (built,) = [c for c in matrix.chunks(*place, "running") if "env/complete" in c.get("name", "")]
    assert built["fun"] == "run"
    path = built["name"].split()[-1]
    mark = tmp_path / "mark"
    if built_for:
        # The end of the command, as it is on a host with that processor.
        written = re.sub(r"echo \w+ > ", f"echo {built_for} > ", built["name"]).split(" && ")[-1]
        subprocess.run(["sh", "-c", written.replace(path, str(mark))], check=True, timeout=20)
    asked = built["unless"].replace(path, str(mark))
    done = subprocess.run(["sh", "-c", asked], capture_output=True, timeout=20)
    own = built["name"].split()[-3]
    assert own in ("avx2", "no_avx2")
    assert (done.returncode == 0) == (built_for == own)


def test_fighters_of_0_4_0_have_what_their_wheels_need(matrix: Matrix) -> None:
    place = next(p for p in PLACES if p[0] == "release-0-4-0" and "data" in matrix.host(*p).roles)
    (packages,) = [
        chunk["pkgs"]
        for chunk in matrix.chunks(*place, "running")
        if chunk["__id__"] == "The packages that fighter 0.4.0 needs are installed"
    ]
    assert packages == ["libgmpxx4ldbl"]
    for kind in ("data", "compute"):
        (instance, *_) = matrix.host(*place).view["roles"][kind]["instances"]
        _, file = matrix.files(*place)[instance["environment_file"]]
        assert file.read_text().splitlines() == [
            f"MODULE=fighter_project.{kind}_svc.main",
            "LD_LIBRARY_PATH=/opt/metis/fighter/releases/0.4.0/env/lib/python3.7/site-packages"
            "/latticex/psi_c",
        ]
        assert instance["config"]["register_ip"] == instance["config"]["bind_ip"]
