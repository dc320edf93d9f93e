"""From one release to another and back, under the eyes of clients; and releases that are bad."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from itertools import cycle

import pytest
import yaml

from tests.fleet.organization import NAME, Organization

SERVERS = ("10.77.0.21", "10.77.0.22", "10.77.0.23")
KEY = "v1/kv/metis/dataCenter_ip_port?raw"
DATA_PORTS = (8700, 8711)
_DATABASE = (
    "SELECT COUNT(*) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'metis_admin' "
    "AND TABLE_NAME = 'organization' AND COLUMN_NAME = 'joined_at'"
)


class Watch:
    """Clients that look ten times a second, each in a thread, for as long as it is open."""

    def __init__(self) -> None:
        self.reads = 0
        # When no server had an answer.
        self.failed: list[float] = []
        self.looks = 0
        # Ports of data that refused a client in the same moment.
        self.down: list[tuple[int, ...]] = []
        self._end = threading.Event()

    def _read(self, consistency: str) -> None:
        servers = cycle(SERVERS)
        while not self._end.wait(0.1):
            self.reads += 1
            # A client that is refused asks the next one.
            if not any(_value(next(servers), consistency) for _ in SERVERS):
                self.failed.append(time.monotonic())

    def _look(self) -> None:
        while not self._end.wait(0.1):
            self.looks += 1
            down = tuple(port for port in DATA_PORTS if not _open(port))
            if down:
                self.down.append(down)

    @contextmanager
    def watching(self) -> Iterator[Watch]:
        with ThreadPoolExecutor() as pool:
            looking = [pool.submit(self._read, "stale"), pool.submit(self._read, "default")]
            looking.append(pool.submit(self._look))
            try:
                yield self
            finally:
                self._end.set()
                for future in looking:
                    future.result()


def _value(server: str, consistency: str) -> str:
    url = f"http://{server}:8500/{KEY}" + ("&stale" if consistency == "stale" else "")
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            found: str = answer.read().decode()
            return found
    except OSError:
        return ""


def _open(port: int) -> bool:
    try:
        with socket.create_connection(("10.77.0.24", port), 2):
            return True
    except OSError:
        return False


def _wanting(org: Organization, release: str) -> AbstractContextManager[None]:
    return org.edited(("release: sandbox\n", f"release: {release}\n"))


def _releases(org: Organization) -> dict[str, str]:
    """Instance to the release that it runs; all of them are healthy."""
    rows = org.status()
    assert {row["health"] for row in rows.values()} == {"healthy"}
    return {
        name: row["release"].split(" ")[0] for name, row in rows.items() if row["release"] != "-"
    }


def _verb(org: Organization, verb: str, roles: str = "") -> subprocess.CompletedProcess[str]:
    asked = {"org": NAME} | ({"roles": roles} if roles else {})
    command = ["state.orchestrate", f"metis.{verb}", f"pillar={json.dumps(asked)}"]
    return org.lab.salt_run(command, check=False, timeout=400)


def _changed_schema(org: Organization) -> bool:
    done = org.lab.host("fleet2").run(["mysql", "--skip-column-names", "--execute", _DATABASE])
    return done.stdout.strip() == "1"


@pytest.mark.parametrize(
    ("form", "roles", "words"),
    [
        # It does not even come into the store.
        ("corrupt", "data", ["metis_dcv", "has sha256", "no host was touched"]),
        (
            "carrier",
            "carrier",
            [
                "fleet1: carrier is registered and passes",
                "this release cannot serve",
                "carrier@fleet1 was switched back to sandbox, and is healthy",
            ],
        ),
        (
            "schema",
            "admin",
            [
                "the schema change admin_sql_031_failing",
                "a_table_that_is_not_there",
                "admin@fleet2 was switched back to sandbox, and is healthy",
            ],
        ),
        (
            "jar",
            "admin",
            [
                "fleet2: admin is registered and passes",
                "metis.admin.Main",
                "admin@fleet2 was switched back to sandbox, and is healthy",
            ],
        ),
    ],
)
def test_a_bad_release_ends_with_the_one_before(
    org: Organization, form: str, roles: str, words: list[str]
) -> None:
    starts = org.starts()
    with _wanting(org, f"sandbox2-{form}"):
        done = _verb(org, "upgrade", roles)
        assert done.returncode == 1
        go_on = [] if form == "corrupt" else ["salt-run state.orchestrate metis.upgrade"]
        for word in (*words, *go_on):
            assert word in done.stdout, word
        assert "Traceback" not in done.stdout + done.stderr
        assert set(_releases(org).values()) == {"sandbox"}
    assert not _changed_schema(org)
    touched = {
        unit
        for host, units in org.starts().items()
        for unit, start in units.items()
        if start != starts[host][unit]
    }
    switched = {"carrier": "metis-carrier.service", "admin": "metis-admin.service"}
    assert touched == ({switched[roles]} if roles in switched else set())


def test_a_good_release_comes_without_anybody_noticing(org: Organization) -> None:
    with _wanting(org, "sandbox2"):
        with Watch().watching() as watch:
            done = _verb(org, "upgrade")
        assert done.returncode == 0, done.stderr
        assert set(_releases(org).values()) == {"sandbox2"}
        assert _changed_schema(org)
        print(f"{watch.reads} reads, {len(watch.failed)} failed; {watch.looks} looks at data")
        assert watch.reads > 300
        # At the most while one leader follows the other.
        assert not watch.failed or watch.failed[-1] - watch.failed[0] < 10
        assert watch.down
        assert set(watch.down) <= {(port,) for port in DATA_PORTS}
        # Of those that were tried before, none is left.
        for host, program in (("fleet1", "carrier"), ("fleet2", "admin"), ("fleet4", "fighter")):
            left = org.lab.host(host).run(["ls", f"/opt/metis/{program}/releases"]).stdout
            assert left.split() == ["sandbox", "sandbox2"]
        starts = org.starts()
        assert org.changes("upgrade") == {}
        assert org.starts() == starts


def _until(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_a_rollback_that_is_cut_off_goes_on_where_it_was(org: Organization) -> None:
    master = org.lab.master
    record = master.root / f"etc/salt/pki/master/metis/deployed/{NAME}.yaml"

    def switched() -> int:
        entries = yaml.safe_load(record.read_text()).values()
        return sum(1 for entry in entries if entry["release"] == "sandbox")

    with ThreadPoolExecutor() as pool:
        run = pool.submit(_verb, org, "rollback")
        # The third of consul's servers, or carrier, is at work.
        _until(lambda: switched() >= 3, 120)
        (pid,) = master.run(
            ["pgrep", "--full", "^[^ ]*python.*salt-run .*metis.rollback"]
        ).stdout.split()
        master.run(["kill", "-KILL", pid])
        assert run.result().returncode != 0
    finished = {
        host: units["metis-consul.service"]
        for host, units in org.starts().items()
        if "metis-consul.service" in units
    }
    done = _verb(org, "rollback")
    assert done.returncode == 0, done.stderr
    assert set(_releases(org).values()) == {"sandbox"}
    after = {host: org.starts()[host]["metis-consul.service"] for host in finished}
    assert sum(after[host] == start for host, start in finished.items()) >= 2
    # The file wants what runs, so there is nothing more to say.
    assert org.changes("deploy") == {}
