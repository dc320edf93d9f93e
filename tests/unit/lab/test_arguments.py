import pytest

from tests.lab import arguments


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


@pytest.mark.parametrize("line", ["--help", "up --help", "salt --help", "test -h"])
def test_help_is_ours(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        arguments.parse(line.split())
    assert ended.value.code == 0
    assert "usage: ./lab" in capsys.readouterr().out
