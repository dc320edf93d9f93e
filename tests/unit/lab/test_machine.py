import pytest

from tests.lab import machine
from tests.lab.errors import LabError

KEY = "/usr/share/keyrings/debian.gpg"


def test_only_debians_own_suites_are_taken() -> None:
    listing = "\n".join(
        [
            f"http://mirror/debian/ bookworm main {KEY}",
            f"http://mirror/debian/ bookworm main {KEY}",
            "http://mirror/debian/ bookworm contrib $(SIGNED_BY)",
            "http://mirror/debian-security/ bookworm-security main $(SIGNED_BY)",
            "http://other/repo/ nodistro main",
            "http://other/apt/ bookworm-pgdg main",
        ]
    )
    assert machine.mirrors_of(listing, "bookworm") == [
        f"deb [signed-by={KEY}] http://mirror/debian/ bookworm main",
        "deb http://mirror/debian-security/ bookworm-security main",
    ]
    # Other Debians stand on the same mirrors.
    assert machine.mirrors_of(listing, "trixie") == [
        f"deb [signed-by={KEY}] http://mirror/debian/ trixie main",
        "deb http://mirror/debian-security/ trixie-security main",
    ]


def test_a_machine_without_the_main_suite_is_refused() -> None:
    with pytest.raises(LabError, match=r"sources\.list"):
        machine.mirrors_of("http://mirror/debian/ trixie main $(SIGNED_BY)", "bookworm")


def test_installed_packages_are_not_missing() -> None:
    assert machine.missing(["dpkg", "no-such-package", "apt"]) == ["no-such-package"]
