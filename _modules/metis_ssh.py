"""
Commands on hosts that are no minions yet, over salt-ssh.

salt-ssh has one password for a host, and no way to give it but a file; so a connection is opened
first, with the password of ssh, and what follows goes over it with that of sudo. The roster and the
scripts are in memory and never on a disk of the master. A password is in no command, log or job.

The raw form of salt-ssh is used: the other one needs a Python on the host, and puts Salt's and its
files there.

Runs on the master.
"""

import base64
import contextlib
import hashlib
import json
import multiprocessing
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import salt.client.ssh.client
import salt.client.ssh.shell
import salt.config
import salt.exceptions

__virtualname__ = "metis_ssh"

Access = dict[str, dict[str, Any]]
Answers = dict[str, dict[str, Any]]
Progress = Callable[[str], None]

# Seconds to connect; a host that falls silent afterwards is given up after 60.
_CONNECT = 10
_ALIVE = {"keepalive_interval": 15, "keepalive_count_max": 4}
# Seconds that an idle connection is kept, should this process be killed.
_PERSIST = 60
# In memory; only a folder of a run's own is made in it.
_MEMORY = "/dev/shm"  # noqa: S108
# Seconds between two lines that hosts are still at work.
_PATIENCE = 10
_UNREACHED = re.compile(
    r"refused|timed out|No route to host|unreachable|Could not resolve|Connection (closed|reset)"
    r"|not responding|banner exchange",
    re.IGNORECASE,
)


def record() -> str:
    """
    The file of host keys that were accepted on first contact: one that differs later is refused.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_ssh.record
    """
    return str(__salt__["metis_secrets.folder"]("ssh") / "known_hosts")


def offered(address: str, port: int = 22) -> dict[str, str]:
    """
    The host keys that a host offers. Nothing proves that they are its own.

    address
        Where.
    port
        That of its sshd.

    Returns fingerprint to the line of a file of known hosts.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_ssh.offered 10.0.0.11
    """
    scan = ["ssh-keyscan", "-T", str(_CONNECT), "-p", str(port), address]
    done = subprocess.run(scan, capture_output=True, text=True, timeout=60, check=False)
    return {fingerprint(line): line for line in done.stdout.splitlines() if line[:1] != "#"}


def fingerprint(line: str) -> str:
    """
    The fingerprint of a host's key, as ssh shows it.

    line
        A line of a file of known hosts.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_ssh.fingerprint '10.0.0.11 ssh-ed25519 AAAAC3Nza...'
    """
    digest = hashlib.sha256(base64.b64decode(line.split()[2])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def run(
    hosts: Access,
    command: str,
    scripts: dict[str, str] | None = None,
    keep: bool = True,
    progress: Progress | None = None,
    as_root: str = "true",
) -> Answers:
    """
    Run a command on hosts as the user that logs in, see whether that user may be root, and run a
    script as root.

    hosts
        As ``metis_sshfile.access`` returns them.
    command
        A shell's command, in one line.
    scripts
        Host to the text of a shell script that root runs; none where not given. Its last line of
        output that begins with ``metis:`` says why it fails.
    keep
        Whether host keys that are accepted on first contact are kept.
    progress
        Is told which hosts are waited for.
    as_root
        The command by which a user other than root shows that it may be root, in one line.

    Returns host to ``{"problem": ..., "unreached": ..., "output": ..., "accepted": ...}``: ``""``
    or why it failed, whether no connection came about, what the commands printed, and the
    fingerprint of a host key that was accepted on first contact, or ``""``.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_ssh.run '{acme1: {...}}' 'uname -m'
    """
    answers: Answers = {
        host: {"problem": "", "unreached": False, "output": "", "accepted": ""} for host in hosts
    }

    def well() -> Access:
        return {host: hosts[host] for host, a in answers.items() if not a["problem"]}

    folder = Path(tempfile.mkdtemp(prefix="metis-ssh-", dir=_MEMORY))
    try:
        known = _known(folder, hosts, answers, keep)
        before = _lines(Path(record())) if keep else []
        look = shlex.join(["sh", "-c", command])
        for host, ret in _each(folder, well(), known, look, "password", progress):
            _judge(answers[host], host, hosts[host], ret)
        new = [line for line in _lines(Path(record())) if line not in before] if keep else []
        for host, answer in answers.items():
            own = [line for line in new if _names(line, hosts[host])]
            answer["accepted"] = fingerprint(own[0]) if own else ""
        users = {host: entry for host, entry in well().items() if entry["user"] != "root"}
        prompt = salt.client.ssh.shell.SUDO_PROMPT
        sudo = shlex.join(["sudo", "-p", prompt, "sh", "-c", as_root])
        for host, ret in _each(folder, users, known, sudo, "sudo_password", progress):
            if ret["retcode"]:
                said = _last(ret)
                answers[host]["problem"] = f"{host} refuses sudo to {users[host]['user']}: {said}"
            answers[host]["output"] += f"\n{ret.get('stdout') or ''}"
        mine = {host: entry for host, entry in well().items() if host in (scripts or {})}
        ended = _each(folder, mine, known, "true", "sudo_password", progress, scripts)
        for host, ret in ended:
            if ret["retcode"]:
                answers[host]["problem"] = f"{host}: {_last(ret)}"
    finally:
        _close(folder)
    return answers


def _known(folder: Path, hosts: Access, answers: Answers, keep: bool) -> dict[str, list[str]]:
    """
    Host to the options by which ssh judges its key: against what the operator wrote, what was kept
    and what the master's user knows.
    """
    kept = Path(record())
    if not keep:
        # A dry run accepts as a real one does, and keeps nothing.
        copy = folder / "kept"
        shutil.copyfile(kept, copy) if kept.exists() else copy.touch()
        kept = copy
    files = [str(kept), str(Path("~/.ssh/known_hosts").expanduser())]
    written = {host: entry for host, entry in hosts.items() if entry["fingerprint"]}
    with ThreadPoolExecutor(max(1, len(written))) as pool:
        offers = pool.map(lambda entry: offered(entry["address"], entry["port"]), written.values())
        for (host, entry), offer in zip(written.items(), offers, strict=True):
            if entry["fingerprint"] in offer:
                (folder / f"key-{host}").write_text(offer[entry["fingerprint"]] + "\n", "ascii")
            elif offer:
                answers[host]["problem"] = (
                    f"{host} has another key than its `fingerprint` says; it offers "
                    f"{', '.join(sorted(offer))}"
                )
    options = {}
    for host, entry in hosts.items():
        own = [str(folder / f"key-{host}")] if host in written else []
        new = entry["accept_new_host_keys"] and host not in written
        options[host] = [
            f"StrictHostKeyChecking={'accept-new' if new else 'yes'}",
            f"UserKnownHostsFile={' '.join(own + files)}",
        ]
    return options


def _lines(file: Path) -> list[str]:
    return file.read_text("utf-8").splitlines() if file.exists() else []


def _names(line: str, entry: dict[str, Any]) -> bool:
    """Whether a line of a file of known hosts is of a host."""
    address, port = entry["address"], entry["port"]
    return line.split()[0] == (address if port == 22 else f"[{address}]:{port}")


def _roster(
    folder: Path, hosts: Access, known: dict[str, list[str]], which: str
) -> dict[str, dict[str, Any]]:
    entries = {}
    for host, entry in hosts.items():
        options = [
            *known[host],
            f"ControlPath={folder / host}.socket",
            "ControlMaster=auto",
            f"ControlPersist={_PERSIST}",
            "HashKnownHosts=no",
            "LogLevel=ERROR",
            "NumberOfPasswordPrompts=1",
            "UpdateHostKeys=no",
        ]
        if not entry["key"]:
            # Keys that are lying about would be tried first, and be counted as failures.
            options += ["PreferredAuthentications=password"]
        entries[host] = {
            "host": entry["address"],
            "port": entry["port"],
            "user": entry["user"],
            "passwd": entry[which] or "",
            "priv": entry["key"] or "agent-forwarding",
            "priv_passwd": entry["key_passphrase"] or "",
            "identities_only": bool(entry["key"]),
            "timeout": _CONNECT,
            # sudo asks on a terminal.
            "tty": entry["user"] != "root" and which == "sudo_password",
            "ssh_options": [shlex.quote(option) for option in options],
            **_ALIVE,
        }
    return entries


def _each(
    folder: Path,
    hosts: Access,
    known: dict[str, list[str]],
    command: str,
    which: str,
    progress: Progress | None,
    scripts: dict[str, str] | None = None,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Hosts and how the command ended there, as they end; scripts run before it."""
    if not hosts:
        return
    path = __opts__["conf_file"]
    # Without a key of salt-ssh's own, and without the master's bus, whose listeners see it all; and
    # whatever the master's configuration says, host keys are judged as the operator wants.
    own: dict[str, Any] = {"ssh_priv": "agent-forwarding", "sock_dir": str(folder)}
    own |= {"roster": "flat", "known_hosts_file": None}
    own |= {"ignore_host_keys": False, "no_host_keys": False}
    options = {**salt.config.client_config(path), **own}
    client = salt.client.ssh.client.SSHClient(path, options)
    waiting = set(hosts)
    with contextlib.ExitStack() as stack:
        # salt-ssh copies a script into a temporary file of its own before it sends it.
        stack.callback(setattr, tempfile, "tempdir", tempfile.tempdir)
        tempfile.tempdir = str(folder)
        roster = _roster(folder, hosts, known, which)
        for host, script in (scripts or {}).items():
            if host in hosts:
                roster[host]["ssh_pre_flight"] = stack.enter_context(_in_memory(script))
        # JSON, so that no password is taken for a template.
        file = stack.enter_context(_in_memory(f"#!json\n{json.dumps(roster)}"))
        stack.enter_context(_patient(waiting, progress))
        stack.enter_context(_ended())
        found = client.cmd_iter(
            list(hosts),
            command,
            tgt_type="list",
            roster_file=file,
            raw_shell=True,
            ssh_run_pre_flight=True,
        )
        for done in found:
            ((host, ret),) = done.items()
            waiting.discard(host)
            # Where salt-ssh itself fails, it says so in words.
            yield host, ret if isinstance(ret, dict) else {"stderr": str(ret), "retcode": 1}


@contextlib.contextmanager
def _in_memory(text: str) -> Iterator[str]:
    """A file that is on no disk, and that this process and those it forks can read."""
    with os.fdopen(os.memfd_create("metis"), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"


@contextlib.contextmanager
def _ended() -> Iterator[None]:
    """End what salt-ssh forked off, where this process is interrupted."""
    others = multiprocessing.active_children()
    try:
        yield
    finally:
        own = [child for child in multiprocessing.active_children() if child not in others]
        for child in own:
            child.terminate()
        for child in own:
            child.join(_CONNECT)


@contextlib.contextmanager
def _patient(waiting: set[str], progress: Progress | None) -> Iterator[None]:
    """Tell from time to time which hosts are waited for."""
    over = threading.Event()

    def tell() -> None:
        while progress and not over.wait(_PATIENCE):
            progress(f"  {', '.join(sorted(waiting))}: still at work")

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()


def _text(ret: dict[str, Any]) -> list[str]:
    both = f"{ret.get('stdout') or ''}\n{ret.get('stderr') or ''}".replace("\r", "\n")
    return [line.strip() for line in both.splitlines() if line.strip()]


def _last(ret: dict[str, Any]) -> str:
    lines = _text(ret)
    own = [line.removeprefix("metis: ") for line in lines if line.startswith("metis: ")]
    return (own or lines or [f"exit code {ret['retcode']}"])[-1]


def _judge(answer: dict[str, Any], host: str, entry: dict[str, Any], ret: dict[str, Any]) -> None:
    """Why no connection came about, in an operator's words."""
    if not ret["retcode"]:
        answer["output"] = ret.get("stdout") or ""
        return
    said = " ".join(_text(ret))
    where = f"{entry['address']}:{entry['port']}"
    user = entry["user"]
    if "IDENTIFICATION HAS CHANGED" in said:
        why = (
            f"has another host key than the master knows for {where}: where that is right, "
            f"remove the old one with ssh-keygen -R {entry['address']} -f {record()}, or write the "
            "right `fingerprint`"
        )
    elif "Host key verification failed" in said:
        keys = ", ".join(sorted(offered(entry["address"], entry["port"]))) or "none"
        why = (
            f"is not known to the master: it offers the host keys {keys}; where one is that of "
            "ssh-keygen -l -f /etc/ssh/ssh_host_ed25519_key.pub on the host, write it as its "
            "`fingerprint`, or take whatever it offers by `accept_new_host_keys: true`"
        )
    elif "passphrase" in said:
        why = f"needs the `key_passphrase` of {entry['key']}"
    elif "Permission denied" in said or "authentication failed" in said:
        why = f"refuses {user} with {'the key ' + entry['key'] if entry['key'] else 'its password'}"
    elif _UNREACHED.search(said) or not said:
        answer["unreached"] = True
        why = f"is not reached at {where} by ssh: {said or 'no answer'}"
    else:
        why = f"cannot be used over ssh: {_last(ret)}"
    answer["problem"] = f"{host} {why}"


def _close(folder: Path) -> None:
    """Remove what there is, private keys first, and end the connections."""
    controls = []
    for file in list(folder.iterdir()):
        if file.is_socket():
            controls.append(file)
        elif file.is_file():
            file.unlink()
    for control in controls:
        end = ["ssh", "-o", f"ControlPath={control}", "-O", "exit", "-"]
        subprocess.run(end, capture_output=True, timeout=30, check=False)
    shutil.rmtree(folder)
