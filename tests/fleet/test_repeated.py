"""What is as it should be stays as it is."""

import pytest

from tests.fleet.organization import UNITS, Organization


def _files(org: Organization) -> dict[str, str]:
    """Every file that Salt writes, with its time and its owner."""
    places = ["/etc/metis", "/opt/metis", "/usr/local/lib/systemd", "/etc/systemd/system"]
    more = ["/etc/mysql", "/etc/nginx"]
    script = 'find "$@" -not -name "*.pyc" -not -name __pycache__ -printf "%p %T@ %u %m\\n" | sort'
    found = org.everywhere(["sh", "-c", f"{script} 2>/dev/null", "sh", *places, *more])
    assert all("/etc/metis/" in out for out in found.values())
    return found


def test_a_second_deploy_changes_nothing(org: Organization) -> None:
    files, starts = _files(org), org.starts()
    assert org.changes("deploy") == {}
    assert _files(org) == files
    assert org.starts() == starts


@pytest.mark.parametrize("host", list(UNITS))
def test_a_highstate_after_a_deploy_changes_nothing(org: Organization, host: str) -> None:
    starts = org.starts()[host]
    assert org.highstate(host) == {}
    assert org.starts()[host] == starts


def test_a_dry_run_predicts_a_restart_and_changes_nothing(org: Organization) -> None:
    host = org.lab.host("fleet1")
    config = "/etc/metis/carrier/carrier.yml"
    right = host.run(["cat", config]).stdout
    host.run(["sh", "-c", f"sed -i s/10034/10099/ {config}"])
    files, starts = _files(org), org.starts()
    predicted = org.highstate("fleet1", "test=True")
    assert set(predicted) == {"The configuration of carrier is written", "carrier runs"}
    assert all(state["result"] is None for state in predicted.values())
    assert _files(org) == files
    assert org.starts() == starts
    assert set(org.highstate("fleet1")) == set(predicted)
    assert host.run(["cat", config]).stdout == right
    assert (
        org.starts()["fleet1"]["metis-carrier.service"] != starts["fleet1"]["metis-carrier.service"]
    )
