"""Verbs that stop before any host is touched."""

from collections.abc import Iterator

import pytest

from tests.integration.site import Site

BROKEN = """\
metis:
  release: sandbox
  hosts:
    five: {address: 192.0.2.5, roles: [consul, carrier, data, {data: {port: 8700}}]}
    six: {address: 192.0.2.5, roles: [consul, carrier, admin, ice_via]}
  admin: {mysql_password: tooshort, hepa: 1g}
"""
FAULTS = (
    "admin.mysql_password",
    "admin.hepa is not a setting known here: did you mean heap?",
    "has 2 consul servers",
    "has 2 instances of carrier",
    "carrier.external_address is missing",
    "ice_via.external_address is missing",
    "data_center is missing",
    "hosts.six.address is the address of hosts.five too",
    "tcp port 8700 on five",
)


@pytest.fixture
def broken(site: Site) -> Iterator[str]:
    # The keys of its hosts are accepted: they could be asked.
    file = site.organization("broken", BROKEN)
    yield str(file)
    file.unlink()


@pytest.mark.parametrize("verb", ["deploy", "start", "stop"])
def test_all_faults_of_the_file_are_listed(site: Site, broken: str, verb: str) -> None:
    done = site.verb(verb, {"org": "broken"})
    assert done.code == 1
    assert f"{broken} has 10 faults; no host was touched" in done.text
    for fault in FAULTS:
        assert fault in done.text
    assert "tooshort" not in done.text
    # The verb ended there.
    assert "metis.reached" not in done.out
    assert site.asked() & {"five", "six"} == set()


def test_the_status_of_a_faulty_file_is_its_faults(site: Site, broken: str) -> None:
    done = site.salt_run("metis.status", "org=broken")
    assert done.code == 1
    for fault in (broken, *FAULTS):
        assert fault in done.text


def test_a_dry_run_ends_at_the_faults_too(site: Site, broken: str) -> None:
    done = site.verb("deploy", {"org": "broken"}, test=True)
    assert done.code == 1
    assert done.out.count("has 2 consul servers") == done.err.count("has 2 consul servers") == 1
    assert "not tried, as an earlier step failed" in done.text


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "name an organization"),
        ({"org": "smal"}, "there is no organization smal"),
        ({"org": "small", "hosts": "one,tow"}, "the organization small has no host tow"),
    ],
)
def test_what_is_unknown_is_named_beside_what_is_known(
    site: Site, asked: dict[str, str], said: str
) -> None:
    done = site.verb("deploy", asked)
    assert done.code == 1
    assert said in done.text
    if "org" not in asked or asked["org"] == "smal":
        assert "known are demo, small" in done.text


def test_status_asks_for_an_organization_where_there_are_several(site: Site) -> None:
    done = site.salt_run("metis.status")
    assert done.code == 1
    assert "known are demo, small" in done.text
