"""
Hosts that become minions: what is seen of them over ssh, and what is done to them.

Runs on the master.
"""

import hashlib
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import salt.cache
import salt.client
import salt.client.ssh.shell
import salt.config
import salt.crypt
import salt.exceptions
import salt.version

__virtualname__ = "metis_bootstrap"

Access = dict[str, dict[str, Any]]
Say = Callable[[str], None]

_SCRIPT = "minion/install.sh"
_BITS = 2048
# Where a minion keeps the key of its master.
_ITS_MASTER = "/etc/salt/pki/minion/minion_master.pub"
_EVERYWHERE = ("", "0.0.0.0", "::", "127.0.0.1", "localhost")


def master_address(written: str | None, store: str | None) -> str | None:
    """
    Where minions reach this master.

    written
        What the operator's ssh file says.
    store
        The address of the store, from the organization's file.

    Returns the first that is known of these and of the one address that the master listens on;
    ``None`` where none is.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_bootstrap.master_address null null
    """
    interface = str(_options().get("interface", ""))
    return written or store or (None if interface in _EVERYWHERE else interface)


def _options() -> dict[str, Any]:
    options: dict[str, Any] = salt.config.client_config(__opts__["conf_file"])
    return options


def version() -> str:
    """
    The version of Salt that hosts get: the master's own.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_bootstrap.version
    """
    return str(salt.version.__version__)


def minions(hosts: list[str]) -> list[str]:
    """
    Which hosts are minions of this master already, and answer.

    hosts
        Minion ids.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_bootstrap.minions '[acme1, acme2]'
    """
    known = [host for host in hosts if _state_of_key(host) == "accepted"]
    answers = __salt__["metis_fleet.run"](known, "test.ping", {}, 30)
    return [host for host, answer in answers.items() if answer["return"] is True]


def rejected(hosts: list[str]) -> list[str]:
    """
    Whose key an operator has rejected.

    hosts
        Minion ids.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_bootstrap.rejected '[acme1, acme2]'
    """
    return [host for host in hosts if _state_of_key(host) == "rejected"]


def _keys() -> Any:
    """Where the master keeps the public keys of minions."""
    options = _options()
    return salt.cache.Cache(options, driver=options["keys.cache_driver"])


def _state_of_key(host: str) -> str:
    key: dict[str, Any] = _keys().fetch("keys", host) or {}
    return str(key.get("state", ""))


def probe(
    hosts: Access, master: str, keep: bool, say: Say | None = None
) -> dict[str, dict[str, Any]]:
    """
    Look at hosts over ssh: whether they are reached, may be changed, and can become minions.

    hosts
        As ``metis_sshfile.access`` returns them.
    master
        Where they reach the master.
    keep
        Whether host keys that are accepted on first contact are kept.
    say
        Is told which hosts are waited for.

    Returns what ``metis_ssh.run`` returns.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_bootstrap.probe '{acme1: {...}}' 10.0.0.10 keep=False
    """
    ports = _ports()
    # Only root sees it. Of a key in any layout of lines, the same is left.
    known = f'tr -d "[:space:]" <{_ITS_MASTER} | sha256sum'
    as_root = f'[ ! -s {_ITS_MASTER} ] || echo "known=$({known})"'
    # In one line, and without what salt-ssh takes for its own program.
    look = "; ".join(
        [
            'echo "machine=$(uname -m)"',
            'command -v apt-get >/dev/null && echo "apt=yes"',
            '[ "$(id -u)" = 0 ] || command -v sudo >/dev/null || echo "sudo=no"',
            '[ -d /run/systemd/system ] || echo "systemd=no"',
            *(
                f'timeout 5 bash -c "exec 3<>/dev/tcp/{master}/{port}" 2>/dev/null || '
                f'echo "closed={port}"'
                for port in ports
            ),
            f'[ "$(id -u)" != 0 ] || {{ {as_root}; }}',
        ]
    )
    answers: dict[str, dict[str, Any]] = __salt__["metis_ssh.run"](
        hosts, look, keep=keep, progress=say, as_root=as_root
    )
    for host, answer in answers.items():
        if answer["output"]:
            lines = [line.partition("=") for line in answer["output"].split()]
            seen = [(key, value) for key, _, value in lines]
            answer["problem"] = _unfit(host, seen, master) or answer["problem"]
    return answers


def _key() -> str:
    """The public key by which minions know this master."""
    return Path(_options()["pki_dir"], "master.pub").read_text("ascii").strip()


def _ports() -> list[int]:
    options = _options()
    return [int(options["publish_port"]), int(options["ret_port"])]


def _unfit(host: str, seen: list[tuple[str, str]], master: str) -> str:
    if ("apt", "yes") not in seen:
        return f"{host} has no apt-get: it is to be Debian or Ubuntu"
    if ("systemd", "no") in seen:
        return f"{host} does not run systemd"
    if ("sudo", "no") in seen:
        return f"{host} has no sudo: install it there, or log in as root"
    machine = dict(seen).get("machine", "")
    if machine != "x86_64":
        return f"{host} is {machine}: the programs are for x86_64"
    ours = hashlib.sha256("".join(_key().split()).encode()).hexdigest()
    if dict(seen).get("known", ours) != ours:
        return (
            f"{host} is a minion of another master: look at the address; where that master is "
            f"over, systemctl stop salt-minion and rm {_ITS_MASTER} on it"
        )
    closed = [value for key, value in seen if key == "closed"]
    if closed:
        return (
            f"{host} does not reach the master at {master}, port {' and '.join(closed)}: look for "
            "a firewall, or write the right `master` into the ssh file"
        )
    return ""


def install(
    hosts: Access, master: str, source: str | None, timeout: float, say: Say | None = None
) -> dict[str, dict[str, Any]]:
    """
    Make hosts minions of this master: each with a key pair that is made here, of which only the
    public key stays, accepted as the host's.

    hosts
        As ``metis_sshfile.access`` returns them.
    master
        Where they reach the master.
    source
        A file with a source of packages that hosts get; ``None`` where theirs are good.
    timeout
        Seconds for a minion to come to the master once it is installed.
    say
        Is told which hosts are waited for.

    Returns what ``metis_ssh.run`` returns.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_bootstrap.install '{acme1: {...}}' 10.0.0.10 null 60
    """
    options = _options()
    script = __salt__["cp.get_file_str"](f"salt://{_SCRIPT}")
    if not script:
        raise salt.exceptions.CommandExecutionError(
            f"salt://{_SCRIPT} is not there: look whether file_roots of the master is this "
            "repository's salt/"
        )
    common = {
        "MASTER": master,
        "MASTER_PORT": str(options["ret_port"]),
        "MASTER_KEY": _key(),
        "VERSION": version(),
        "SOURCE": Path(source).read_text("utf-8").strip() if source else "",
        "PROMPT": salt.client.ssh.shell.SUDO_PROMPT,
    }
    scripts: dict[str, str] = {}
    before: dict[str, Any] = {}
    done: set[str] = set()
    try:
        for host in hosts:
            before[host] = _keys().fetch("keys", host)
            # As salt-key --gen-keys and -a; the wheel functions would put the pair on the event
            # bus.
            private, public = salt.crypt.gen_keys(_BITS)
            _keys().store("keys", host, {"pub": public, "state": "accepted"})
            own = {"ID": host, "PUBLIC": public.strip(), "PRIVATE": private.strip()}
            lines = [f"{name}={shlex.quote(value)}" for name, value in (common | own).items()]
            scripts[host] = "\n".join([*lines, script])
        answers: dict[str, dict[str, Any]] = __salt__["metis_ssh.run"](
            hosts, "true", scripts=scripts, progress=say
        )
        done = {host for host, answer in answers.items() if not answer["problem"]}
    finally:
        # Nobody is to come with a key that may lie about on a host that is half done, and a minion
        # that nothing was done to has the key that it had.
        for host in before.keys() - done:
            _keys().flush("keys", host)
            if before[host]:
                _keys().store("keys", host, before[host])
    for host in _absent(done, timeout):
        answers[host]["unreached"] = True
        answers[host]["problem"] = (
            f"{host} has a minion that does not come to the master at {master} within "
            f"{timeout:.0f} s: look at journalctl -u salt-minion on it"
        )
    return answers


def _absent(hosts: set[str], timeout: float) -> list[str]:
    """Which minions do not come: those that did already answer, and the others tell the bus."""
    waiting = set(hosts)
    end = time.monotonic() + timeout
    with salt.client.get_local_client(__opts__["conf_file"]) as client:
        if waiting:
            client.run_job(sorted(waiting), "test.ping", tgt_type="list", listen=True, timeout=15)
        while waiting and (left := end - time.monotonic()) > 0:
            event = client.event.get_event(wait=left, tag="salt/", full=True, auto_reconnect=True)
            parts = event["tag"].split("/") if event else []
            if parts[1:2] == ["minion"] and parts[3:] == ["start"]:
                waiting.discard(parts[2])
            elif parts[1:2] == ["job"] and parts[3:4] == ["ret"]:
                waiting.discard(parts[4])
    return sorted(waiting)
