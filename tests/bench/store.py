"""How long hosts take to get a large artifact from the master's store, beside as many curl.

On a lab that has had a deploy::

    ./lab up --name bench --org tests/bench/six.sls
    ./lab salt-run --name bench state.orchestrate metis.prepare pillar='{"org": "six"}'
    ./lab salt --name bench '*' saltutil.sync_modules
    python3 -m tests.bench.store --name bench
    ./lab down --name bench

Both take the same file from the same server to every host of the lab at once, and leave nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.lab import record
from tests.lab.host import Host
from tests.lab.nodes import MASTER

STORE = "/var/lib/metis-store/artifacts"
NAME = "bench/large"
URL = f"http://{MASTER.address}:8014/{NAME}"
TARGET = "/root/large"
# As the minion runs it, without the start of salt-call, which is no part of a transfer.
_FETCH = f"""\
import sys, time
sys.path.insert(0, "/var/cache/salt/minion/extmods/modules")
import metis_artifact
begun = time.monotonic()
metis_artifact.fetch({TARGET!r}, [{URL!r}], sys.argv[1], proxy=False)
print(time.monotonic() - begun)
"""
_CURL = ["curl", "--silent", "--fail", "--output", TARGET, "--write-out", "%{time_total}", URL]


def _busy(master: Host) -> float:
    """Seconds of processor that the store's server has used."""
    script = "cat /proc/[0-9]*/stat 2>/dev/null | grep '(nginx)'"
    lines = master.run(["sh", "-c", script]).stdout.splitlines()
    # In the kernel's ticks, of which a second has 100: in user mode, and in the kernel.
    return sum(int(tick) for line in lines for tick in line.split()[13:15]) / 100


def _all(hosts: list[Host], command: Callable[[Host], list[str]]) -> float:
    """Run a command on all hosts at once; the seconds that the slowest transfer took."""

    def one(host: Host) -> float:
        return float(host.run(command(host), timeout=300).stdout)

    with ThreadPoolExecutor(len(hosts)) as pool:
        taken = list(pool.map(one, hosts))
    for host in hosts:
        host.run(["rm", "-f", TARGET])
    return max(taken)


def main() -> int:
    """Measure and print.

    Returns:
        The exit status: 1 where it took more than twice what curl took.
    """
    parser = argparse.ArgumentParser(description="Measure how hosts get a large artifact.")
    parser.add_argument("--name", default="demo", help="the lab")
    parser.add_argument("--size", type=int, default=200, help="of the file, in MB")
    parser.add_argument("--rounds", type=int, default=3)
    words = parser.parse_args()
    known = record.require(words.name)
    master = known.master
    hosts = [host for host in known.hosts if host.name != MASTER.name]
    file = Path(master.root, STORE.lstrip("/"), NAME)
    file.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with file.open("wb") as opened:
        block = bytes(range(256)) * 3906
        for number in range(words.size):
            part = number.to_bytes(64, "big") + block
            digest.update(part)
            opened.write(part)
    file.chmod(0o644)
    ours: list[float] = []
    theirs: list[float] = []
    try:
        fetch = ["/opt/salt/bin/python3", "-c", _FETCH, digest.hexdigest()]
        for _ in range(words.rounds):
            theirs.append(_all(hosts, lambda host: _CURL))
            before = _busy(master), time.monotonic()
            ours.append(_all(hosts, lambda host: fetch))
            share = (_busy(master) - before[0]) / (time.monotonic() - before[1])
            print(f"curl {theirs[-1]:.2f} s, metis_artifact {ours[-1]:.2f} s, server {share:.0%}")
    finally:
        file.unlink()
        file.parent.rmdir()
    ratio = statistics.median(ours) / statistics.median(theirs)
    rate = words.size * len(hosts) / statistics.median(ours)
    print(f"{words.size} MB to {len(hosts)} hosts: {ratio:.2f} times curl, {rate:.0f} MB/s in all")
    return 0 if ratio <= 2 else 1


if __name__ == "__main__":
    sys.exit(main())
