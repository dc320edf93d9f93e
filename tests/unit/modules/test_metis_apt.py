"""What apt would remove."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from _modules import metis_apt


class Apt:
    """Packages, each with what it needs, and who asked for it: a person, or nobody."""

    def __init__(self) -> None:
        self.needs: dict[str, list[str]] = {}
        self.manual: set[str] = set()
        self.fails = ""

    def install(self, name: str, *needs: str, manual: bool = True) -> None:
        """Have a package, and what it needs."""
        self.needs[name] = list(needs)
        for other in needs:
            self.needs.setdefault(other, [])
        self.manual |= {name} if manual else set()

    def _without(self, names: set[str]) -> set[str]:
        """What goes with packages, as it needs one of them."""
        gone = set(names)
        while more := {n for n, needs in self.needs.items() if gone & set(needs)} - gone:
            gone |= more
        return gone

    def _loose(self, without: set[str]) -> set[str]:
        """What nobody needs then."""
        used = self.manual - without
        while more := {n for name in used for n in self.needs[name]} - used:
            used |= more
        return set(self.needs) - used - without

    def run_all(self, argv: list[str], **given: Any) -> dict[str, Any]:
        """Stand in for `cmd.run_all`."""
        assert given["python_shell"] is False
        assert given["timeout"] > 0
        done = {"retcode": 0, "stdout": "", "stderr": ""}
        if argv[0] == self.fails:
            return done | {"retcode": 100, "stderr": "E: no lock"}
        if argv == ["apt-mark", "showmanual"]:
            return done | {"stdout": "\n".join(sorted(self.manual))}
        assert argv[:3] == ["apt-get", "--simulate", "--quiet"]
        # What is read here is in English.
        assert given["env"] == {"LC_ALL": "C"}
        words = argv[3:]
        gone = self._without({word for word in words[1:] if not word.startswith("-")})
        if words[0] == "autoremove":
            gone |= self._loose(gone)
        word = "Purg" if "--purge" in words else "Remv"
        return done | {"stdout": "\n".join(f"{word} {name} [1.0]" for name in sorted(gone))}


@pytest.fixture
def apt() -> Apt:
    return Apt()


@pytest.fixture
def configure_loader_modules(apt: Apt) -> dict[ModuleType, dict[str, Any]]:
    return {metis_apt: {"__salt__": {"cmd.run_all": apt.run_all}}}


def test_what_came_with_a_package_goes_with_it(apt: Apt) -> None:
    apt.install("mariadb-server", "galera", "perl")
    apt.install("shop", "perl")
    found = metis_apt.purgeable(["mariadb-server"])
    assert found == {"packages": ["galera", "mariadb-server"], "needed": []}


def test_what_nobody_needed_before_is_left_to_whom_it_is(apt: Apt) -> None:
    apt.install("old-library", manual=False)
    apt.install("curl", "libcurl")
    assert metis_apt.purgeable(["curl"])["packages"] == ["curl", "libcurl"]


def test_what_somebody_else_needs_stays(apt: Apt) -> None:
    apt.install("curl", "libcurl")
    apt.install("nginx-light", "nginx-common")
    apt.install("shop", "plugin")
    apt.install("plugin", "nginx-light", manual=False)
    found = metis_apt.purgeable(["curl", "nginx-light"])
    assert found["packages"] == ["curl", "libcurl"]
    assert found["needed"] == ["package nginx-light is needed by shop"]


def test_packages_of_the_organization_do_not_keep_each_other(apt: Apt) -> None:
    apt.install("zeroc-glacier2", "libice")
    apt.install("zeroc-icegrid", "libice", "zeroc-glacier2")
    found = metis_apt.purgeable(["zeroc-glacier2", "zeroc-icegrid"])
    assert found["packages"] == ["libice", "zeroc-glacier2", "zeroc-icegrid"]


def test_where_all_are_needed_nothing_goes(apt: Apt) -> None:
    apt.install("curl")
    apt.install("shop", "curl")
    expected = {"packages": [], "needed": ["package curl is needed by shop"]}
    assert metis_apt.purgeable(["curl"]) == expected
    assert metis_apt.purgeable([]) == {"packages": [], "needed": []}


@pytest.mark.parametrize("program", ["apt-get", "apt-mark"])
def test_an_apt_that_fails_is_told(apt: Apt, program: str) -> None:
    apt.install("curl")
    apt.fails = program
    with pytest.raises(CommandExecutionError, match="E: no lock"):
        metis_apt.purgeable(["curl"])
