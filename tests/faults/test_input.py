"""What was asked, or stands in the operator's files, is wrong: no host is touched."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from tests.faults.fault import Asked, Ended, newest, refused, tell
from tests.fleet.organization import NAME, Organization

PILLAR = "/srv/metis-local/pillar"
ORG = f"{PILLAR}/orgs/{NAME}.sls"
RELEASE = f"{PILLAR}/releases/sandbox.yaml"


@dataclass(frozen=True)
class Wrong:
    """A line of the matrix."""

    name: str
    # What is asked, beside the organization.
    asked: Asked
    # A file of the master's pillar, and what becomes of it.
    file: str
    breaks: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


ASKED = [
    Wrong(name, asked, "", "", words)
    for name, asked, words in (
        (
            "an unknown organization",
            {"org": "flete"},
            ("there is no organization flete", "known are demo, fleet"),
        ),
        (
            "an unknown host",
            {"hosts": "fleet1,fleet9"},
            ("has no host fleet9", "it has fleet1, fleet2"),
        ),
        ("an unknown role", {"roles": ["carier"]}, ("there is no role carier", "known are consul")),
        (
            "a misspelt filter",
            {"host": "fleet1"},
            ("host in the pillar is not known", "did you mean hosts?"),
        ),
        (
            "filters that leave nothing",
            {"hosts": "fleet1", "roles": "admin"},
            ("nothing of the organization fleet is left",),
        ),
        (
            "a release for a verb that takes none",
            {"release": "sandbox2"},
            ("release in the pillar is for metis.upgrade and metis.rollback alone",),
        ),
    )
]
FILES = [
    Wrong(
        "a file that is no YAML any more",
        {},
        ORG,
        f"sed -i 's/hosts:/hosts: [/' {ORG}",
        (f"{ORG} has 1 fault; no host was touched", f"{ORG} cannot be read: ", "line 8, column 5"),
    ),
    Wrong(
        "a file with faults since the last run",
        {},
        ORG,
        f"sed -i -e 's/address: 10.77.0.22/address: 10.77.0.21/' -e 's/heap/hepa/' {ORG}",
        (
            "has 2 faults; no host was touched",
            "hosts.fleet2.address is the address of hosts.fleet1 too",
            "admin.hepa is not a setting known here: did you mean heap?",
        ),
    ),
    Wrong(
        "a release file that is gone",
        {},
        RELEASE,
        f"rm {RELEASE}",
        (f"{ORG} has 1 fault", "names a release that has no file", "(now: 'sandbox'): known are: "),
    ),
    Wrong(
        "a release file that is broken",
        {},
        RELEASE,
        f"sed -i 's/^artifacts:/artifacts: [/' {RELEASE}",
        (
            f"{ORG} has 1 fault",
            f"release cannot be used: {RELEASE} cannot be read: ",
            ": correct the file",
        ),
    ),
]


@pytest.mark.parametrize("wrong", ASKED, ids=str)
def test_a_request_that_is_wrong_is_refused(org: Organization, wrong: Wrong) -> None:
    if "org" in wrong.asked:
        # There is nobody's journal to write it to.
        ended = tell(org, "prepare", wrong.asked)
        assert (ended.code, ended.reason) == (1, "invalid-input")
    else:
        ended = refused(org, "invalid-input", "prepare", wrong.asked)
    _tells(ended, wrong)


@pytest.mark.parametrize("wrong", FILES, ids=str)
def test_a_file_that_is_wrong_is_refused(org: Organization, wrong: Wrong) -> None:
    master = org.lab.master
    master.run(["cp", "--preserve", wrong.file, "/tmp/right"])
    try:
        master.run(["sh", "-ec", wrong.breaks])
        _tells(refused(org, "invalid-input", "deploy"), wrong)
    finally:
        master.run(["mv", "/tmp/right", wrong.file])
    again = tell(org, "prepare")
    assert again.code == 0, again.out + again.err


def test_an_organization_whose_file_is_gone_is_none(org: Organization) -> None:
    org.lab.master.run(["mv", ORG, "/tmp/right"])
    try:
        ended = tell(org, "deploy")
        assert (ended.code, ended.reason) == (1, "invalid-input")
        assert f"there is no organization {NAME}; known are demo" in ended.told
    finally:
        org.lab.master.run(["mv", "/tmp/right", ORG])
    again = tell(org, "prepare")
    assert again.code == 0, again.out + again.err


def _tells(ended: Ended, wrong: Wrong) -> None:
    for words in wrong.words:
        assert words in ended.told, ended.told
    assert ended.done == []


def test_a_verb_that_does_not_exist_is_told(org: Organization) -> None:
    done = org.lab.salt_run(["state.orchestrate", "metis.nonsense"], check=False)
    assert done.returncode == 1
    assert "No matching sls found for 'metis.nonsense'" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_the_right_request_goes_through_afterwards(org: Organization) -> None:
    asked = {"hosts": ["fleet1"], "roles": "carrier"}
    ended = tell(org, "prepare", asked)
    assert ended.code == 0, ended.out + ended.err
    assert newest(org)["result"] == "done"
    done = org.lab.salt_run(["metis.report", f"org={NAME}", "--out=json"])
    begin = json.loads(done.stdout)["data"][0]
    assert begin["asked"] == {"org": NAME} | asked
