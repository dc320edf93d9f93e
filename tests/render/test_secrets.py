"""The password of the database account: who may read it, and what may show it."""

import json
from typing import Any

import pytest

from tests.render.compiler import Data
from tests.render.matrix import FILES, OTHER, PLACES, TARGETS, Matrix


def _password(matrix: Matrix, organization: str) -> str | None:
    for pillar in matrix.pillars(organization).values():
        if admin := pillar["metis"].get("roles", {}).get("admin"):
            druid: Data = admin["instances"][0]["config"]["spring"]["datasource"]["druid"]
            return str(druid["password"])
    return None


def _holds(thing: Any, text: str) -> bool:
    if isinstance(thing, dict):
        return any(_holds(item, text) for pair in thing.items() for item in pair)
    if isinstance(thing, list | tuple):
        return any(_holds(item, text) for item in thing)
    return text in str(thing)


WITH_PASSWORD = [name for name in FILES if name not in ("many-fighters", "without-admin")]
each_organization = pytest.mark.parametrize("organization", WITH_PASSWORD)


@each_organization
def test_only_the_host_of_admin_knows_the_password(matrix: Matrix, organization: str) -> None:
    password = _password(matrix, organization)
    assert password
    assert len(password) >= 12
    for host, pillar in matrix.pillars(organization).items():
        # The master's topology has it where the operator wrote it into the organization file.
        if host != "metis_master" and "admin" not in pillar["metis"]["roles"]:
            assert not _holds(pillar, password), host


@each_organization
def test_no_state_names_the_password(matrix: Matrix, organization: str) -> None:
    password = _password(matrix, organization) or ""
    named = {
        f"{chunk['state']}.{chunk['fun']} of {chunk['__sls__']}"
        for name, host in PLACES
        if name == organization
        for target in TARGETS
        for chunk in matrix.chunks(name, host, target)
        if _holds(chunk, password)
    }
    # Salt keeps what stands in an SLS in the minion's cache.
    assert named == set()


@each_organization
def test_only_a_file_for_admin_alone_holds_the_password(matrix: Matrix, organization: str) -> None:
    password = _password(matrix, organization) or ""
    # As it stands in YAML too.
    forms = {password, json.dumps(password)[1:-1], password.replace("'", "''")}
    holding = [
        (chunk, file)
        for name, host in PLACES
        if name == organization
        for chunk, file in matrix.files(name, host).values()
        if any(form in file.read_text() for form in forms)
    ]
    assert [chunk["__id__"] for chunk, _ in holding] == ["The configuration of admin is written"]
    for chunk, file in holding:
        assert file.stat().st_mode & 0o7777 == 0o640
        assert (chunk["user"], chunk["group"]) == ("root", "metis-admin")
        # Salt prints the difference of a file that it changes, and keeps it in the job cache.
        assert chunk["show_changes"] is False


def test_an_awkward_account_arrives_as_it_is(matrix: Matrix) -> None:
    password = 'it\'s "quoted": {{ no }} #\\ %i $x'
    assert _password(matrix, OTHER) == password
    states = matrix.chunks(OTHER, "second", "running")
    # Salt compiles a state that has a `prereq` twice: once to see whether it would change anything.
    assert {c["name"] for c in states if c["fun"] == "account"} == {"10086"}
    [rights] = [chunk for chunk in states if chunk["state"] == "mysql_grants"]
    assert (rights["user"], rights["database"]) == ("10086", "other_admin.*")


def test_passwords_are_made_once_and_differ_between_organizations(matrix: Matrix) -> None:
    made = {name: _password(matrix, name) for name in WITH_PASSWORD}
    assert len(set(made.values())) == len(made)


def test_a_key_of_a_certificate_is_for_its_program_alone(matrix: Matrix) -> None:
    keys = []
    for place in PLACES:
        for name, (chunk, _) in matrix.files(*place).items():
            if name.endswith(("server.crt", "server.key")):
                assert chunk["show_changes"] is False, name
            if name.endswith("server.key"):
                keys.append(name)
                role = name.split("/")[-2]
                user = matrix.host(*place).view["roles"][role]["user"]
                assert (chunk["user"], chunk["group"], chunk["mode"]) == ("root", user, "0640")
    assert len(keys) >= 2
