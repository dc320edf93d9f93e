import re

import pytest

from tests.render.compiler import STATES, CompileError
from tests.render.matrix import ALONE, CASES, Matrix

each_case = pytest.mark.parametrize(
    ("organization", "host", "target"), [pytest.param(*case, id="-".join(case)) for case in CASES]
)


@each_case
def test_it_compiles_to_states_that_salt_can_run(
    matrix: Matrix, organization: str, host: str, target: str
) -> None:
    made = matrix.host(organization, host)
    chunks = matrix.chunks(organization, host, target)
    faults = [
        f"{chunk['__sls__']}: {chunk['__id__']}: {fault}"
        for chunk in chunks
        for fault in made.faults(chunk)
    ]
    assert not faults
    assert chunks


def test_no_state_is_described_twice(matrix: Matrix) -> None:
    for case in CASES:
        files = [
            chunk["name"]
            for chunk in matrix.chunks(*case)
            if chunk["state"] in ("file", "metis_artifact", "metis_p2p_key")
        ]
        twice = {name for name in files if files.count(name) > 1}
        assert not twice, case


def test_every_file_of_the_file_root_is_reached(matrix: Matrix) -> None:
    """A new SLS or template that no topology uses fails here: put it into one."""
    for case in CASES:
        matrix.chunks(*case)
    fetched = matrix.folder / "cache/files/base"
    for organization, host, target in CASES:
        if target == "running":
            matrix.files(organization, host)
    seen = {str(file.relative_to(fetched)) for file in fetched.rglob("*") if file.is_file()}
    present = {
        str(file.relative_to(STATES))
        for file in STATES.rglob("*")
        # Verbs are compiled in test_verbs; the store's files are the master's, for no host.
        if file.suffix in (".sls", ".jinja") and file.parent.name not in ("metis", "store")
    }
    assert present - seen == set()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param("{{ pillar.metis.nothing }}:\n  test.nop", "nothing", id="undefined value"),
        pytest.param("a:\n  test.nop: [", "did not find expected", id="broken YAML"),
        pytest.param(
            "a:\n  test.nop:\n    - require:\n      - file: b",
            "Referenced state does not exist",
            id="unknown requisite",
        ),
        pytest.param(
            "a:\n  test.nop:\n    - require:\n      - sls: nowhere",
            "Referenced state does not exist",
            id="unknown SLS in a requisite",
        ),
        pytest.param(
            "a:\n  test.nop:\n    - require:\n      - test: b\n"
            "b:\n  test.nop:\n    - require:\n      - test: a",
            "Recursive requisites",
            id="circle of requisites",
        ),
        pytest.param("a:\n  test.nop\na:\n  test.nop", "onflicting ID", id="two with one name"),
        pytest.param("include:\n  - OTHER\na:\n  test.nop", "onflicting ID", id="two in two files"),
        pytest.param("include:\n  - nowhere", "nowhere", id="unknown include"),
        pytest.param("a:\n  test.nothing", "test.nothing", id="unknown function"),
        pytest.param("a:\n  metis_unit.running", "Missing parameter files", id="missing argument"),
        pytest.param(
            "a:\n  metis_unit.stopped:\n    - nmae: b", "takes no nmae", id="unknown argument"
        ),
        pytest.param(
            "/a:\n  file.managed:\n    - user: root\n    - group: root\n    - mode: 0644",
            "four quoted octal digits",
            id="mode without quotes",
        ),
        pytest.param("/a:\n  file.directory:\n    - user: root", "has no group", id="no owner"),
    ],
)
def test_faults_are_found(
    matrix: Matrix, request: pytest.FixtureRequest, text: str, fault: str
) -> None:
    states = matrix.folder / "more_states"
    states.mkdir(exist_ok=True)
    name = re.sub(r"\W", "_", request.node.name)
    (states / f"{name}.sls").write_text(text.replace("OTHER", f"{name}_other") + "\n")
    (states / f"{name}_other.sls").write_text("a:\n  test.nop\n")
    host = matrix.host(ALONE, "consul1")
    try:
        found = [fault for chunk in host.compile([name]) for fault in host.faults(chunk)]
    except CompileError as err:
        found = [str(err)]
    assert fault in "\n".join(found)
