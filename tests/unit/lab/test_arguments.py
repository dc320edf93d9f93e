import pytest

from tests.lab import arguments, systems


@pytest.mark.parametrize(
    ("line", "passed_on"),
    [
        ("salt * test.ping", ["*", "test.ping"]),
        ("salt -L a,b test.ping", ["-L", "a,b", "test.ping"]),
        ("salt --name other -L a,b test.ping", ["-L", "a,b", "test.ping"]),
        ("salt --name=other -L a,b test.ping", ["-L", "a,b", "test.ping"]),
        (
            "salt-run --out=json metis.status --name x",
            ["--out=json", "metis.status", "--name", "x"],
        ),
        ("test -k name --lf", ["-k", "name", "--lf"]),
        ("test -- -k name", ["-k", "name"]),
        ("test", []),
        ("shell demo1 ls -la", ["ls", "-la"]),
        ("shell demo1 -- ls -la", ["ls", "-la"]),
    ],
)
def test_what_belongs_to_others_is_passed_on(line: str, passed_on: list[str]) -> None:
    assert arguments.parse(line.split()).words == passed_on


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("up", "demo"),
        ("up --name other", "other"),
        ("salt --name other test.ping", "other"),
        ("salt --name=other test.ping", "other"),
        ("shell --name other h", "other"),
    ],
)
def test_the_lab_has_a_name(line: str, name: str) -> None:
    assert arguments.parse(line.split()).name == name


@pytest.mark.parametrize(
    ("line", "files"),
    [("up", []), ("demo --org a.sls", ["a.sls"]), ("up --org a --org b/c", ["a", "b/c"])],
)
def test_a_lab_may_have_several_organizations(line: str, files: list[str]) -> None:
    assert list(map(str, arguments.parse(line.split()).org)) == files


def test_a_host_may_have_another_system() -> None:
    words = arguments.parse(["up", "--system", "h1=debian12-bare", "--system", "h2=debian13-bare"])
    assert dict(words.system) == {"h1": systems.BARE, "h2": systems.BARE_13}


@pytest.mark.parametrize("given", ["h1=debian9", "=debian12", "h1"])
def test_an_unknown_system_is_told_with_those_that_are_known(
    given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        arguments.parse(["up", "--system", given])
    assert "systems are debian12, debian12-bare, debian13-bare" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["--help", "up --help", "salt --help", "test -h"])
def test_help_is_ours(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        arguments.parse(line.split())
    assert ended.value.code == 0
    assert "usage: ./lab" in capsys.readouterr().out
