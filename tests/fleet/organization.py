"""The organization of the fleet tests, and the verbs that a test asks of it."""

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from tests.lab.fleet import Lab

NAME = "fleet"
CONSUL = "http://10.77.0.21:8500"
# The phase of a deploy that keeps the settings of each instance, for when it is taken out.
RECORD = "The record says what is deployed, and what is not wanted any more"
UNITS = {
    "fleet1": ["metis-consul.service", "metis-carrier.service"],
    "fleet2": ["metis-consul.service", "mariadb.service", "metis-admin.service", "nginx.service"],
    "fleet3": ["metis-consul.service", "metis-icegrid.service", "metis-glacier2.service"],
    "fleet4": [
        "metis-data@8700.service",
        "metis-data@8711.service",
        "metis-compute@8800.service",
    ],
}
SERVICES = {
    "carrierService_10.77.0.21_10033",
    "adminService_10.77.0.22_9090",
    "dataService_10.77.0.24_8700",
    "dataService_10.77.0.24_8711",
    "jobService_10.77.0.24_8800",
}


class Organization:
    """What tests ask of the deployed organization."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def verb(
        self, verb: str, *options: str, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """`salt-run state.orchestrate metis.<verb>`, as an operator types it."""
        return self.lab.salt_run(
            ["state.orchestrate", f"metis.{verb}", f'pillar={{"org": "{NAME}"}}', *options],
            check=check,
            timeout=400,
        )

    def changes(self, verb: str, *options: str) -> dict[str, Any]:
        """What a verb changed: state ID to its changes."""
        done = self.verb(verb, *options, "--out=json")
        (states,) = json.loads(done.stdout)["data"].values()
        return {s["__id__"]: s["changes"] for s in states.values() if s["changes"]}

    @contextmanager
    def edited(self, *replaced: tuple[str, str]) -> Iterator[None]:
        """The organization's file with other text in some places, and then as it was."""
        file = self.lab.master.root / f"srv/metis-local/pillar/orgs/{NAME}.sls"
        right = text = file.read_text(encoding="utf-8")
        for old, new in replaced:
            assert old in text
            text = text.replace(old, new)
        file.write_text(text, encoding="utf-8")
        try:
            yield
        finally:
            file.write_text(right, encoding="utf-8")

    def status(self) -> dict[str, dict[str, str]]:
        """`salt-run metis.status`: instance to its row."""
        done = self.lab.salt_run(["metis.status", f"org={NAME}", "--out=json"], check=False)
        return {row["instance"]: row for row in json.loads(done.stdout)["data"]}

    def highstate(self, host: str, *options: str) -> dict[str, dict[str, Any]]:
        """`salt-call state.highstate` on a host: the states that changed something or failed."""
        done = self.lab.host(host).run(
            ["salt-call", "state.highstate", "--out=json", *options], check=False, timeout=200
        )
        states = json.loads(done.stdout)["local"]
        assert isinstance(states, dict), states
        return {s["__id__"]: s for s in states.values() if s["changes"] or s["result"] is False}

    def everywhere(self, argv: list[str]) -> dict[str, str]:
        """Run a command on every host at once: host to its output."""
        with ThreadPoolExecutor() as pool:
            done = pool.map(
                lambda host: host.run(argv, check=False).stdout, self.lab.hosts.values()
            )
            return dict(zip(self.lab.hosts, done, strict=True))

    def reboot(self) -> None:
        """Reboot every host at once, and wait for their minions."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda host: host.reboot(), self.lab.hosts.values()))
        self.lab.await_minions()

    def starts(self) -> dict[str, dict[str, str]]:
        """When each unit's main process started, in systemd's words; empty for one that is down."""
        return {
            host: {
                unit: self.lab.host(host)
                .run(["systemctl", "show", "--value", "--property=ExecMainStartTimestamp", unit])
                .stdout.strip()
                for unit in units
            }
            for host, units in UNITS.items()
        }

    def active(self) -> set[str]:
        """Every unit of the organization that runs, as ``host unit``."""
        found = set()
        for host, units in UNITS.items():
            out = self.lab.host(host).run(["systemctl", "is-active", *units], check=False).stdout
            states = out.split()
            found |= {f"{host} {u}" for u, s in zip(units, states, strict=True) if s == "active"}
        return found
