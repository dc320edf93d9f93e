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
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager

import pytest
import yaml

from tests.fleet.organization import NAME, Organization

SERVERS = ("10.77.0.21", "10.77.0.22", "10.77.0.23")
KEY = "v1/kv/metis/dataCenter_ip_port?raw"
DATA_PORTS = (8700, 8711)
# What changes of the schema make: the right one, and the one that fails at its second statement.
_DATABASE = (
    "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = 'metis_admin' "
    "AND (column_name = 'joined_at' OR table_name = 'half_done')"
)


class Watch:
    """Clients that look ten times a second, by the clock, for as long as they are asked to."""

    def __init__(self) -> None:
        # When each client's looks were to be, in seconds from the begin, and which had no answer.
        self.looks: dict[str, int] = {}
        self.failed: dict[str, list[float]] = {}
        # Ports of data that refused a client in the same moment.
        self.down: list[tuple[int, ...]] = []
        self.seconds = 0.0
        self._end = threading.Event()

    def _client(self, name: str, look: Callable[[int], bool], workers: ThreadPoolExecutor) -> None:
        """Look every tenth of a second, whether the looks before have come to their end or not."""
        begun = time.monotonic()
        asked: list[Future[bool]] = []
        while not self._end.wait(max(0.0, begun + len(asked) / 10 - time.monotonic())):
            asked.append(workers.submit(look, len(asked)))
        self.looks[name] = len(asked)
        self.failed[name] = [n / 10 for n, future in enumerate(asked) if not future.result()]

    def _data(self, number: int) -> bool:
        down = tuple(port for port in DATA_PORTS if not _open(port))
        if down:
            self.down.append(down)
        return not down

    @contextmanager
    def watching(self) -> Iterator[Watch]:
        looks = {"stale": _reads("stale"), "default": _reads("default"), "data": self._data}
        begun = time.monotonic()
        # A read may wait for a leader, and is no reason for the next ones to be late.
        with ThreadPoolExecutor(100) as workers, ThreadPoolExecutor(len(looks)) as pool:
            clients = [pool.submit(self._client, *look, workers) for look in looks.items()]
            try:
                yield self
            finally:
                self.seconds = time.monotonic() - begun
                self._end.set()
                for client in clients:
                    client.result()

    def assert_served(self) -> None:
        """Nobody was left without an answer, but for where one leader follows the other."""
        print(f"{self.seconds:.0f} s: {self.looks} looks, failed at {self.failed}")
        assert min(self.looks.values()) >= 9 * self.seconds
        # Who takes what any server knows needs no leader.
        assert self.failed["stale"] == []
        late = self.failed["default"]
        assert not late or late[-1] - late[0] < 10
        assert self.down
        assert set(self.down) <= {(port,) for port in DATA_PORTS}


def _reads(consistency: str) -> Callable[[int], bool]:
    """Read a key; a client that is refused asks the next server."""

    def read(number: int) -> bool:
        servers = SERVERS[number % len(SERVERS) :] + SERVERS
        return any(_value(server, consistency) for server in servers[: len(SERVERS)])

    return read


def _value(server: str, consistency: str) -> str:
    url = f"http://{server}:8500/{KEY}" + ("&stale" if consistency == "stale" else "")
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
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


def test_a_bad_release_ends_where_it_fails_and_everything_serves(org: Organization) -> None:
    with _wanting(org, "sandbox2-jar"):
        done = _verb(org, "upgrade")
        assert done.returncode == 1
        for word in (
            "fleet2: admin is registered and passes",
            "metis.admin.Main",
            "admin@fleet2 was switched back to sandbox, and is healthy",
            "no further instance was switched",
        ):
            assert word in done.stdout, word
        switched = {"consul@fleet1", "consul@fleet2", "consul@fleet3", "carrier@fleet1"}
        for instance, release in _releases(org).items():
            wanted = "sandbox2-jar" if instance in switched else "sandbox"
            assert (instance, release) == (instance, wanted)
        assert not _changed_schema(org)
        back = _verb(org, "rollback")
        assert back.returncode == 0, back.stderr
        assert set(_releases(org).values()) == {"sandbox"}


def _until(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def _cut_off(org: Organization, verb: str, release: str, count: int) -> None:
    """A verb whose salt-run is killed while it works on the instance of that number."""
    master = org.lab.master
    record = master.root / f"etc/salt/pki/master/metis/deployed/{NAME}.yaml"

    def switched() -> int:
        entries = yaml.safe_load(record.read_text()).values()
        return sum(1 for entry in entries if entry.get("release") == release)

    with ThreadPoolExecutor() as pool:
        run = pool.submit(_verb, org, verb)
        _until(lambda: switched() >= count, 300)
        (pid,) = master.run(
            ["pgrep", "--full", f"^[^ ]*python.*salt-run .*metis.{verb}"]
        ).stdout.split()
        master.run(["kill", "-KILL", pid])
        assert run.result().returncode != 0


def _finished(org: Organization, release: str) -> dict[str, str]:
    """Consul's servers that run a release: host to when each started."""
    rows = org.status()
    return {
        host: units["metis-consul.service"]
        for host, units in org.starts().items()
        if "metis-consul.service" in units
        and rows[f"consul@{host}"]["release"].split(" ")[0] == release
    }


def test_a_good_release_comes_without_anybody_noticing_also_when_it_is_cut_off(
    org: Organization,
) -> None:
    with _wanting(org, "sandbox2"):
        with Watch().watching() as watch:
            # The third of consul's servers is at work.
            _cut_off(org, "upgrade", "sandbox2", 3)
            finished = _finished(org, "sandbox2")
            assert len(finished) >= 2
            done = _verb(org, "upgrade")
        assert done.returncode == 0, done.stderr
        assert set(_releases(org).values()) == {"sandbox2"}
        assert _changed_schema(org)
        watch.assert_served()
        after = _finished(org, "sandbox2")
        # The third may have been cut off before it was looked at, and may be started once more.
        assert sum(after[host] == start for host, start in finished.items()) >= 2
        # Of those that were tried before, none is left.
        for host, program in (("fleet1", "carrier"), ("fleet2", "admin"), ("fleet4", "fighter")):
            left = org.lab.host(host).run(["ls", f"/opt/metis/{program}/releases"]).stdout
            assert left.split() == ["sandbox", "sandbox2"]
        left = org.lab.master.run(["ls", "/var/lib/metis-store/artifacts"]).stdout
        assert left.split() == ["sandbox", "sandbox2"]
        starts = org.starts()
        assert org.changes("upgrade") == {}
        assert org.starts() == starts
        # One that fails later does not fail by its upgrade, and is not switched back.
        org.lab.host("fleet2").run(["systemctl", "stop", "metis-admin"])
        refused = _verb(org, "upgrade")
        assert refused.returncode == 1
        assert "nothing was switched; mend this first" in refused.stdout
        assert _changed_schema(org)
        org.verb("deploy")
        assert set(_releases(org).values()) == {"sandbox2"}


def test_a_rollback_goes_back_without_anybody_noticing(org: Organization) -> None:
    with Watch().watching() as watch:
        _cut_off(org, "rollback", "sandbox", 3)
        done = _verb(org, "rollback")
    assert done.returncode == 0, done.stderr
    assert set(_releases(org).values()) == {"sandbox"}
    watch.assert_served()
    # The file wants what runs, so there is nothing more to say.
    assert org.changes("deploy") == {}
