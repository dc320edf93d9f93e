"""Hosts where nothing can be laid down or written: all at once, and each is named."""

from __future__ import annotations

import pytest

from tests.faults.fault import Ended, Fault, met
from tests.fleet.organization import Organization

_CARRIER = "/opt/metis/carrier/releases/sandbox"
_ICE = "/etc/metis/ice_via"

FAULTS = [
    Fault(
        "a host without disk space",
        breaks=(
            "fleet1",
            f"mv {_CARRIER} {_CARRIER}.away; mkdir {_CARRIER}; "
            f"mount -t tmpfs -o size=64k,mode=755 tmpfs {_CARRIER}",
        ),
        mends=(
            "fleet1",
            f"umount {_CARRIER}; rmdir {_CARRIER}; mv {_CARRIER}.away {_CARRIER}",
        ),
        words=("fleet1: The artifacts of carrier sandbox are there: ", "No space left on device"),
    ),
    Fault(
        "a file system that is read-only",
        breaks=(
            "fleet3",
            f"echo '# another' >>{_ICE}/glacier2.properties; mount --bind {_ICE} {_ICE}; "
            f"mount -o remount,bind,ro {_ICE}",
        ),
        mends=("fleet3", f"umount {_ICE}"),
        words=("fleet3: The properties of glacier2 are written: ", "Read-only file system"),
    ),
]


@pytest.fixture(scope="module")
def ended(org: Organization) -> Ended:
    return met(org, FAULTS, "failed", "deploy")


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_each_is_named(ended: Ended, fault: Fault) -> None:
    for words in fault.words:
        assert words in ended.told


def test_nothing_is_started_where_something_is_not_laid_down(ended: Ended) -> None:
    assert ended.done[-1] == "The store is served"
    # Those that are well are told of too.
    assert "  fleet2: 0 of " in ended.err
    assert "  fleet4: 0 of " in ended.err
