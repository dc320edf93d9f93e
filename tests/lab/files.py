"""What is written into a host before it boots."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from pathlib import Path

from tests.lab import keys, topology
from tests.lab.host import Host
from tests.lab.nodes import MASTER, NETWORK
from tests.lab.processes import run
from tests.lab.systems import SYSTEMS

_NETWORK = """\
[Match]
Name=host0

[Network]
Address={address}/{prefix}
LinkLocalAddressing=no
IPv6AcceptRA=no
ConfigureWithoutCarrier=yes
"""

_MINION = """\
id: {name}
master: {master}
# The hosts have no name server, no card and no hypervisor to look for: each look costs time.
enable_fqdns_grains: False
enable_gpu_grains: False
log_level: warning
log_level_logfile: warning
# A broken connection is tried again soon, and not by all minions in the same moment.
recon_default: 200
recon_max: 2000
recon_randomize: True
random_reauth_delay: 2
acceptance_wait_time: 2
"""

_MASTER = """\
interface: {address}
log_level: warning
log_level_logfile: warning
# Two cores carry the whole fleet.
worker_threads: 3
# The lab's own organizations and releases stand beside the repository's.
pillar_roots:
  base:
    - /srv/metis/pillar
    - {local}/pillar
"""

LOCAL = "/srv/metis-local"
# The folder of the built sandbox release: see tests/lab/sandbox/build.py.
SANDBOX = "/srv/sandbox"

_SERVICE = """\
[Unit]
Description={description}
Wants=network-online.target
After=network-online.target

[Service]
ExecStart={command}
DynamicUser=yes
Restart=always

[Install]
WantedBy=multi-user.target
"""
# What the master's host offers beside Salt.
_SERVICES = {
    "sandbox-datacenter": (
        "Data center of the sandbox release",
        f"{SANDBOX}/bin/datacenter --port 9090",
    ),
    "sandbox-release": (
        "Artifacts of the sandbox release over HTTP",
        f"/usr/bin/python3 -m http.server 8000 --bind {MASTER.address} --directory {SANDBOX}",
    ),
}


def network(address: str) -> str:
    """The systemd-networkd configuration of a host."""
    return _NETWORK.format(address=address, prefix=NETWORK.prefixlen)


def hosts(fleet: Iterable[Host]) -> str:
    """The /etc/hosts of every host: it names them all, as there is no name server."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    lines += [f"{host.address} {host.name}" for host in fleet]
    return "\n".join(lines) + "\n"


def minion(name: str) -> str:
    """A minion's configuration."""
    return _MINION.format(name=name, master=MASTER.address)


def master() -> str:
    """The master's configuration, as far as it is the lab's."""
    return _MASTER.format(address=MASTER.address, local=LOCAL)


def write_host(host: Host, private: str, public: str) -> None:
    """Make a host's root file system its own.

    Args:
        host: the host; its overlay is mounted.
        private: the private key of its Salt daemon.
        public: the public key to it.
    """
    daemon = "master" if host.name == MASTER.name else "minion"
    etc = host.root / "etc"
    _write(etc / "hostname", f"{host.name}\n")
    _write(etc / "machine-id", f"{uuid.uuid4().hex}\n")
    _write(etc / "systemd/network/10-lab.network", network(host.address))
    if SYSTEMS[host.system].bare:
        # Below its own root, as `ssh-keygen -A -f` sees it.
        run(["ssh-keygen", "-A", "-f", str(host.root)], "making ssh's host keys", timeout=60)
        return
    keys.write(etc / f"salt/pki/{daemon}", daemon, private, public)
    services = [f"salt-{daemon}"]
    if daemon == "minion":
        _write(etc / "salt/minion.d/lab.conf", minion(host.name))
    else:
        # The last file wins, in the order of the alphabet.
        _write(etc / "salt/master.d/zz-lab.conf", master())
        (etc / "salt/master.d/metis.conf").symlink_to("/srv/metis/master.d/metis.conf")
        for name, (description, command) in _SERVICES.items():
            text = _SERVICE.format(description=description, command=command)
            _write(etc / f"systemd/system/{name}.service", text)
            services.append(name)
    wants = etc / "systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    for service in services:
        (wants / f"{service}.service").symlink_to(f"/etc/systemd/system/{service}.service")


def share(master_host: Host, organizations: Iterable[Path], releases: Iterable[Path]) -> None:
    """Give the master organization and release files that are not the repository's.

    Args:
        master_host: the master's host.
        organizations: the organization files.
        releases: the release files.
    """
    pillar = master_host.root / LOCAL.lstrip("/") / "pillar"
    own = [file for file in organizations if file.parent != topology.OWN]
    for folder, given in (("orgs", own), ("releases", releases)):
        for file in given:
            _write(pillar / folder / file.name, file.read_text(encoding="utf-8"))


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
