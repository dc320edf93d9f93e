"""The phases that look before anything is changed: what ends a verb, and what is shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest
import salt.config
import salt.version

from _modules import metis_certificates, metis_findings, metis_network
from _states import metis, metis_check
from tests.unit import facts, orgs
from tests.unit.states.fleet import Answer, Fleet, Modules, State, gone, problems, returned

REPOSITORY = Path(__file__).resolve().parents[3]
Data = dict[str, Any]

NOTHING: Data = {"unreached": [], "taken": []}


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


@pytest.fixture
def opts(tmp_path: Path) -> Data:
    own = {"cachedir": str(tmp_path), "extension_modules": str(tmp_path), "test": False}
    own["outputter_dirs"] = [str(REPOSITORY / "_output")]
    return dict(salt.config.DEFAULT_MINION_OPTS) | own


@pytest.fixture
def store() -> dict[str, str]:
    """Each artifact of the store, and how it is."""
    return dict.fromkeys(orgs.RELEASE["artifacts"], "right")


@pytest.fixture
def incomplete() -> list[str]:
    """What keeps the release from being run."""
    return []


@pytest.fixture
def configure_loader_modules(
    verb: Callable[..., Modules], fleet: Fleet, store: dict[str, str], incomplete: list[str]
) -> Modules:
    functions = {
        "metis_orgs.release": lambda name: orgs.RELEASE,
        "metis_orgs.complete_release": lambda name, topology: incomplete,
        "metis_store.sizes": lambda artifacts: {},
        "metis_store.look": lambda artifacts, remember: store,
    }
    return verb(fleet, metis_check, metis_findings, metis_network, functions=functions)


@pytest.fixture
def seen(fleet: Fleet, acme: Data) -> dict[str, Data]:
    """What each host of the usual organization tells of itself; a test changes it."""
    found = facts.seen(facts.asked(acme["topology"]))
    for host, own in found.items():
        own["salt"] = salt.version.__version__
        # As wide as this, they fit whatever the time is when the test runs.
        own["began"], own["ended"] = 2.0**33, 0.0
        fleet.on(host, "metis_check.facts", returned(own))
        fleet.on(host, "metis_reach.probe", returned(NOTHING))
    return found


def _guard(*takes: str) -> None:
    assert metis.guarded("guard", takes=list(takes))["result"] is True


@pytest.fixture
def check(seen: dict[str, Data]) -> Callable[[], list[State]]:
    """All of the verb, phase by phase."""

    def run() -> list[State]:
        _guard("fix")
        return [
            metis_check.looked("looked"),
            metis_check.mended("mended"),
            metis_check.fit("fit", whole=True),
        ]

    return run


def _fit(check: Callable[[], list[State]]) -> State:
    return check()[-1]


def _asked_of(fleet: Fleet) -> list[str]:
    return [fun for fun, _, _ in fleet.jobs if fun != "metis_host.ready"]


def test_the_verb_shows_everything_also_where_all_is_well(
    check: Callable[[], list[State]], capsys: pytest.CaptureFixture[str]
) -> None:
    done = _fit(check)
    assert (done["result"], done["changes"]) == (True, {})
    lines = done["comment"].splitlines()
    assert lines[0].startswith("all is well with (")
    assert lines[1].split() == ["HOST", "WHAT", "FOUND"]
    hosts = [line.split()[0] for line in lines[2:]]
    assert hosts == sorted(hosts)
    assert set(hosts) == {"h1", "h2", "h3", "h4", "master"}
    assert "4 of 4 artifacts are in the store" in lines[-1]
    assert "findings are well" in capsys.readouterr().err


def test_a_failure_ends_it_and_is_apart_from_warnings_and_what_is_well(
    check: Callable[[], list[State]], seen: dict[str, Data], capsys: pytest.CaptureFixture[str]
) -> None:
    seen["h3"]["cpus"] = 2
    seen["h1"]["ports"][0]["others"] = ["python3 (process 12)"]
    done = _fit(check)
    assert (done["result"], done["reason"]) == (False, "failed")
    failures, warnings, well = "\n".join(problems(done)).split("\n\n")[:3]
    assert failures.splitlines()[0] == "failures (1):"
    assert "python3 (process 12) has it  stop that program" in failures
    assert warnings.splitlines()[0] == "warnings (1):"
    assert "h3    CPU   2 processors  8 are advised for consul, ice_via" in warnings
    assert well.startswith("all is well with (")
    assert "FAILED  h1: port 8200/tcp: server_port of consul@h1" in capsys.readouterr().err


def test_a_warning_ends_nothing(check: Callable[[], list[State]], seen: dict[str, Data]) -> None:
    seen["h3"]["cpus"] = 2
    done = _fit(check)
    assert done["result"] is True
    assert done["comment"].startswith("warnings (1):")


def test_a_release_that_is_not_complete_is_a_failure(
    check: Callable[[], list[State]], incomplete: list[str]
) -> None:
    incomplete.append("release names 0.3.0, whose artifact carrier has no checksum")
    done = _fit(check)
    assert done["result"] is False
    assert "whose artifact carrier has no checksum" in done["comment"]


@pytest.fixture
def own(acme: Data, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Gives admin a certificate of the operator's own, and has it be at its end."""

    def put(ending: str) -> None:
        for instance in acme["topology"]["instances"]:
            if instance["role"] == "admin":
                own = {"certificate": "/a.pem", "certificate_key": "/a.key", "enable_tls": True}
                instance["settings"] |= own
        functions = vars(metis_check)["__salt__"]
        given = {"certificate": "PEM", "key": "PEM"}
        for name, answer in (("given", given), ("ending", ending)):
            function = getattr(metis_certificates, name)
            stand_in = create_autospec(function, return_value=answer)
            monkeypatch.setitem(functions, f"metis_certificates.{name}", stand_in)

    return put


def test_an_own_certificate_that_has_ended_ends_a_deploy_before_hosts_change(
    seen: dict[str, Data], own: Callable[[str], None]
) -> None:
    own("has ended")
    _guard()
    done = metis_check.fit("fit")
    assert done["result"] is False
    assert "master  certificate /a.pem  has ended  replace /a.pem" in done["comment"]


@pytest.mark.parametrize(
    ("ending", "told"),
    [
        ("has ended", "failures (1)"),
        ("ends soon", "certificate /a.pem ends soon"),
        ("", "certificate /a.pem holds"),
    ],
)
def test_an_own_certificate_is_looked_at(
    check: Callable[[], list[State]], own: Callable[[str], None], ending: str, told: str
) -> None:
    own(ending)
    done = _fit(check)
    assert done["result"] is (ending != "has ended")
    # A column is as wide as its widest cell.
    assert told in " ".join(done["comment"].split())


def test_ways_are_tried_by_all_hosts_in_one_job(
    check: Callable[[], list[State]], fleet: Fleet
) -> None:
    blocked = NOTHING | {"unreached": [["tcp", "10.0.0.3", 10032, "no answer"]]}
    check()
    assert _asked_of(fleet) == ["metis_check.facts", "metis_reach.probe"]
    assert fleet.acted("metis_reach.probe") == [["h1", "h2", "h3", "h4"]]
    fleet.on("h4", "metis_reach.probe", returned(blocked))
    done = _fit(check)
    assert done["result"] is False
    assert "h4    way to h3  none on 10032/tcp: no answer" in done["comment"]


@pytest.mark.parametrize(
    ("answer", "reason", "words"),
    [
        (gone("silent"), "hosts-missing", "h2 does not answer"),
        (returned("Passed invalid arguments"), "failed", "h2 failed: Passed invalid"),
    ],
)
@pytest.mark.parametrize("fun", ["metis_check.facts", "metis_reach.probe"])
def test_a_host_that_does_not_answer_well_is_a_failure(
    check: Callable[[], list[State]],
    fleet: Fleet,
    fun: str,
    answer: Answer,
    reason: str,
    words: str,
) -> None:
    fleet.on("h2", fun, answer)
    (failed,) = [done for done in check() if done["result"] is False and "reason" in done]
    assert failed["reason"] == reason
    assert words in failed["comment"]


def test_a_clock_is_compared_with_the_master_s(
    check: Callable[[], list[State]], seen: dict[str, Data]
) -> None:
    seen["h2"]["began"] = 1.0
    done = _fit(check)
    (line,) = [line for line in problems(done) if " clock " in line and "h2" in line]
    assert "behind the master" in line


# A deploy


def test_a_deploy_asks_of_what_runs_one_thing_and_tells_one_line(
    seen: dict[str, Data], fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    for instance in orgs.topology()["instances"]:
        seen[instance["host"]]["up"] += instance["units"]
    for own in seen.values():
        own["cpus"] = 2
        for port in own["ports"]:
            port["own"] = True
    _guard()
    done = metis_check.fit("fit")
    assert done["result"] is True
    assert "4 warnings (metis.check shows them)" in done["comment"]
    assert _asked_of(fleet) == ["metis_check.facts"]
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_a_failure_ends_a_deploy_before_a_host_is_touched(
    seen: dict[str, Data], fleet: Fleet
) -> None:
    seen["h2"]["lacking"] = ["pymysql"]
    seen["h3"]["cpus"] = 2
    _guard()
    done = metis_check.fit("fit")
    assert done["result"] is False
    text = done["comment"]
    assert text.startswith("failures (1):")
    # What is well, and what ends nothing, is the verb's own to show.
    assert "processors" not in text
    assert metis.reached("next", "configured", ["consul"])["comment"].startswith("not tried")
    assert fleet.acted() == []


def test_only_what_is_meant_is_looked_at(seen: dict[str, Data], fleet: Fleet, asked: Data) -> None:
    asked["hosts"] = "h4"
    _guard()
    assert metis_check.fit("fit")["result"] is True
    assert fleet.acted("metis_check.facts") == [["h4"]]
    # No other host is there to be reached.
    assert fleet.acted("metis_reach.probe") == []


# Mending


def _stale(seen: dict[str, Data]) -> None:
    seen["h2"]["packages"] = {"missing": ["nginx-light"], "download": 0, "error": "", "age": None}


def test_nothing_is_mended_unless_it_is_asked_for(
    check: Callable[[], list[State]], seen: dict[str, Data], fleet: Fleet
) -> None:
    _stale(seen)
    _, mended, fit = check()
    assert (mended["result"], mended["changes"]) == (True, {})
    assert fleet.acted("metis_check.mend") == []
    assert "apt's index was never read" in fit["comment"]


def test_what_is_safe_is_mended_and_looked_at_again(
    check: Callable[[], list[State]], seen: dict[str, Data], fleet: Fleet, asked: Data
) -> None:
    asked["fix"] = True
    good = returned(dict(seen["h2"]))
    _stale(seen)
    fleet.on("h2", "metis_check.facts", returned(seen["h2"]), good)
    fleet.on("h2", "metis_check.mend", returned(["packages"]))
    _, mended, fit = check()
    assert (mended["result"], mended["comment"]) == (True, "mended: h2: packages")
    assert list(mended["changes"]) == ["h2"]
    assert fleet.acted("metis_check.mend") == [["h2"]]
    assert fleet.acted("metis_check.facts") == [["h1", "h2", "h3", "h4"], ["h2"]]
    assert fit["comment"].startswith("all is well with")


def test_a_dry_run_says_what_would_be_mended(
    check: Callable[[], list[State]],
    seen: dict[str, Data],
    fleet: Fleet,
    asked: Data,
    opts: Data,
) -> None:
    asked["fix"] = opts["test"] = True
    _stale(seen)
    _, mended, _ = check()
    assert (mended["result"], mended["comment"]) == (None, "would be mended: h2: packages")
    assert list(mended["changes"]) == ["h2"]
    assert fleet.acted("metis_check.mend") == []


def test_what_cannot_be_mended_is_a_failure(
    check: Callable[[], list[State]], seen: dict[str, Data], fleet: Fleet, asked: Data
) -> None:
    asked["fix"] = True
    _stale(seen)
    fleet.on("h2", "metis_check.mend", returned("packages: Error getting repos"))
    _, mended, fit = check()
    assert (mended["result"], mended["changes"]) == (False, {})
    assert "h2 failed: packages: Error getting repos" in mended["comment"]
    assert fit["comment"].startswith("not tried")


def test_fix_is_yes_or_no(check: Callable[[], list[State]], fleet: Fleet, asked: Data) -> None:
    asked["fix"] = "yes"
    _, mended, _ = check()
    assert (mended["result"], mended["reason"]) == (False, "invalid-input")
    assert "write true or false" in mended["comment"]
    assert fleet.acted("metis_check.mend") == []


def test_only_check_takes_fix(seen: dict[str, Data], asked: Data) -> None:
    asked["fix"] = True
    done = metis.guarded("guard")
    assert (done["result"], done["reason"]) == (False, "invalid-input")
    assert "fix in the pillar is for metis.check alone" in done["comment"]
