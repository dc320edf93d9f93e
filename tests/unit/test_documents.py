"""The documents say what the code is, and both READMEs say the same."""

import importlib
import re
import shlex
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from docs import pillar
from tests.lab import arguments

REPOSITORY = Path(__file__).resolve().parents[2]
READMES = (REPOSITORY / "README.md", REPOSITORY / "README_ZH.md")
DOCUMENTS = (*READMES, REPOSITORY / "CHANGELOG.md", *sorted((REPOSITORY / "docs").glob("*.md")))
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PIN = re.compile(r"\b([A-Za-z-]+)==([0-9.]+)")

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


def _prose(text: str) -> str:
    return _FENCED.sub("", text)


def _fenced(text: str) -> list[tuple[str, str]]:
    """Each block's language and what has to be the same in every language of people."""
    blocks = []
    for language, body in _FENCED.findall(text):
        if language == "mermaid":
            body = re.sub(r'"[^"]*"', '""', body)
        elif language in ("sh", "yaml"):
            body = re.sub(r"\s*(^|\s)# .*$", "", body, flags=re.MULTILINE)
        blocks.append((language, body.strip()))
    return blocks


def _tables(text: str) -> list[list[int]]:
    """The number of cells in each row of each table."""
    found = re.findall(r"(?:^\|.*\|\n)+", _prose(text), re.MULTILINE)
    return [[row.count("|") for row in table.splitlines()] for table in found]


def _spans(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", _prose(text))


def _targets(text: str) -> list[str]:
    # A pattern in a code span may look like a link.
    return re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]+`", "", _prose(text)))


def _anchors(text: str) -> set[str]:
    """What GitHub calls the headings."""
    headings = re.findall(r"^#+ (.+)$", _prose(text), re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in kept}


def _commands(text: str) -> Iterator[list[str]]:
    blocks = (body for language, body in _FENCED.findall(text) if language == "sh")
    lines = (line for body in blocks for line in body.splitlines())
    for line in chain(lines, _spans(text)):
        if re.match(r"(\w+=\S+ )?(\./lab|salt|salt-run|salt-call) ", line):
            words = shlex.split(line, comments=True)
            yield words[1:] if "=" in words[0] else words


def _has(package: str, name: str) -> bool:
    module, _, function = name.partition(".")
    return hasattr(importlib.import_module(f"{package}.{module}"), function)


def _is_known(words: list[str]) -> bool:
    """Whether a command is one of ours or of Salt's."""
    if words[0] == "./lab":
        found = arguments.parse(words[1:])
        return found.command not in ("salt", "salt-run") or _is_known([found.command, *found.words])
    if words[:2] == ["salt-run", "state.orchestrate"] and words[2:]:
        return (REPOSITORY / "salt" / f"{words[2].replace('.', '/')}.sls").is_file()
    if words[0] == "salt-run":
        package = "_runners" if words[1].startswith("metis.") else "salt.runners"
        return _has(package, words[1])
    function = words[1] if words[0] == "salt-call" else words[2]
    return _has("_modules" if function.startswith("metis") else "salt.modules", function)


def test_the_reference_is_what_the_schema_says() -> None:
    written = pillar.PAGE.read_text("utf-8")
    assert written == pillar.page(written), "docs/pillar.md is old: run python -m docs.pillar"


def test_the_schema_for_editors_is_what_the_form_says() -> None:
    written = pillar.SCHEMA.read_text("utf-8")
    assert written == pillar.schema_text(), (
        f"{pillar.SCHEMA.name} is old: run python -m docs.pillar"
    )


def test_both_readmes_have_the_same_parts() -> None:
    english, chinese = (path.read_text("utf-8") for path in READMES)
    levels = [re.findall(r"^#+(?= )", _prose(text), re.MULTILINE) for text in (english, chinese)]
    assert levels[0] == levels[1]
    assert _tables(english) == _tables(chinese)
    assert sorted(_spans(english)) == sorted(_spans(chinese))
    links = [
        [target for target in _targets(text) if not target.startswith(("#", "README"))]
        for text in (english, chinese)
    ]
    assert links[0] == links[1]


def test_both_readmes_have_the_same_commands_and_outputs() -> None:
    english, chinese = (_fenced(path.read_text("utf-8")) for path in READMES)
    assert english == chinese


@each_document
def test_every_link_leads_somewhere(document: Path) -> None:
    for target in _targets(document.read_text("utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (document.parent / name).resolve() if name else document
        assert file.exists(), target
        if anchor:
            assert anchor in _anchors(file.read_text("utf-8")), target


@each_document
def test_every_command_exists(document: Path) -> None:
    unknown = [words for words in _commands(document.read_text("utf-8")) if not _is_known(words)]
    assert not unknown


@each_document
def test_python_packages_have_the_version_of_the_lock_file(document: Path) -> None:
    locked = dict(_PIN.findall((REPOSITORY / "requirements/salt.txt").read_text("utf-8")))
    for name, version in _PIN.findall(document.read_text("utf-8")):
        assert locked[name.lower()] == version


def test_the_readme_shows_the_demo_as_it_is() -> None:
    shown = [
        body
        for language, body in _fenced(READMES[0].read_text("utf-8"))
        if body.startswith("metis:\n  cluster")
    ]
    demo = (REPOSITORY / "pillar/orgs/demo.sls").read_text("utf-8")
    assert [re.sub(r"\s*(^|\s)# .*$", "", demo, flags=re.MULTILINE).strip()] == shown
