"""Hosts that answer, that are silent, and that nobody knows."""

import json

from tests.integration.site import REPOSITORY, Site


def _fingerprint(site: Site, host: str) -> dict[str, bytes]:
    modules = site.modules[host]
    return {
        f"{form}/{file.name}": file.read_bytes()
        for form in ("modules", "states")
        for file in (modules / form).glob("metis*.py")
    }


def _ours() -> dict[str, bytes]:
    return {
        f"{form}/{file.name}": file.read_bytes()
        for form in ("modules", "states")
        for file in (REPOSITORY / f"_{form}").glob("metis*.py")
    }


def test_a_verb_fails_and_names_each_host_that_did_not_answer(site: Site) -> None:
    done = site.slow("deploy")
    assert done.code == 1
    assert "gone does not answer, and nothing else at 192.0.2.3" in done.out
    assert "stranger is not a minion of this master" in done.out
    # As it happens, too.
    assert "FAILED  gone does not answer" in done.err
    assert "metis.reached" not in done.out


def test_the_status_of_unreachable_hosts_is_unknown_and_no_success(site: Site) -> None:
    done = site.slow("status")
    assert done.code == 1
    head, *rows = [line.split("  ") for line in done.out.strip().splitlines()]
    assert [word.strip() for word in head if word] == [
        *("INSTANCE", "ADDRESS", "STATE", "RELEASE", "UP", "REGISTERED", "HEALTH")
    ]
    state = {row[0].strip(): [word.strip() for word in row[1:] if word] for row in rows}
    assert len(state) == 8
    for instance in ("consul@gone", "data@gone:8700", "compute@gone:8800"):
        assert state[instance] == ["192.0.2.3", "unknown", "-", "-", "unknown", "host silent"]
    assert state["consul@stranger"][-1] == "host missing"


def test_new_minions_got_the_masters_modules_by_the_verb(site: Site) -> None:
    site.slow("deploy")
    assert _fingerprint(site, "one") == _fingerprint(site, "two") == _ours()


def test_a_dry_run_tells_what_it_would_stop_and_stops_nothing(site: Site) -> None:
    site.slow("deploy")
    outdated = site.modules["two"] / "modules/metis_unit.py"
    outdated.write_text("raise RuntimeError('of yesterday')\n")
    site.running_units.write_text("metis-icegrid.service\n")
    done = site.verb("stop", {"org": "small", "hosts": "one,two"}, test=True)
    assert done.code == 0, done.text
    # Of a step, and not of what it would do on a host.
    said = [line[10:] for line in done.err.splitlines() if "stopped" in line and line[10] != " "]
    assert [line.partition(" stopped")[0] for line in said] == [
        *("data and compute are", "ice_via is", "admin is", "carrier is", "consul is")
    ]
    assert "1 states would change" in said[1]
    assert "unchanged" in said[4]
    assert {line.split()[0] for line in site.systemctl_calls.read_text().splitlines()} == {
        *("--version", "show")
    }
    # And its modules were the master's again before that.
    assert _fingerprint(site, "two") == _ours()


def test_the_status_can_be_read_by_a_program(site: Site) -> None:
    done = site.slow("json")
    assert done.code == 1
    rows = json.loads(done.out)["data"]
    assert {row["instance"]: row["state"] for row in rows}["admin@gone"] == "unknown"
