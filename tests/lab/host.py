"""One host: a systemd-nspawn container with systemd as its PID 1."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab import cgroups, network
from tests.lab.errors import LabError
from tests.lab.processes import tail, wait_for_end

RUN = Path("/run/metis-lab")
STATE = Path("/var/lib/metis-lab")
BOOT_TIMEOUT = 90.0
STOP_TIMEOUT = 90.0
ENVIRONMENT = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
}
# systemd-nspawn joins the host's control groups first, and everything after it belongs to them.
# It ends with 133 when the host reboots: then it is started again.
_KEEPER = """\
while :; do
  sh -c 'for file in $LAB_CGROUPS; do echo $$ > "$file"; done; exec "$@"' sh "$@"
  code=$?
  [ "$code" -eq 133 ] || exit "$code"
done
"""


@dataclass(frozen=True)
class Host:
    """A host of a lab."""

    lab: str
    name: str
    address: str
    roles: tuple[str, ...]
    # The name of its system.
    system: str
    # Folders of this machine and where the host sees them, read-only.
    binds: tuple[tuple[str, str], ...]

    @property
    def root(self) -> Path:
        """Its root file system, seen from outside."""
        return STATE / self.lab / self.name / "root"

    @property
    def folder(self) -> Path:
        """Where its process id, its console and its socket are."""
        return RUN / self.lab / self.name

    @property
    def console(self) -> Path:
        """What it wrote to its console."""
        return self.folder / "console.log"

    @property
    def machine(self) -> str:
        """Its name among all containers of this machine."""
        return f"{self.lab}-{self.name}"

    def keeper(self) -> int | None:
        """The process that starts the host and starts it again at a reboot; None without one."""
        try:
            pid = int((self.folder / "pid").read_text())
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The number may belong to another process by now.
        return pid if f"--machine={self.machine}".encode() in words else None

    def supervisor(self) -> int | None:
        """The process id of its systemd-nspawn; None when it does not run."""
        keeper = self.keeper()
        return next(iter(_children(keeper)), None) if keeper else None

    def leader(self) -> int | None:
        """The process id of its PID 1, seen from outside; None when it does not run."""
        supervisor = self.supervisor()
        if supervisor is None:
            return None
        try:
            outside = os.stat("/proc/self/ns/pid").st_ino
            for child in _children(supervisor):
                if os.stat(f"/proc/{child}/ns/pid").st_ino != outside:
                    return child
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None

    def enter(self, argv: Sequence[str]) -> list[str]:
        """A command that runs another one in this host.

        Raises:
            LabError: the host does not run.
        """
        leader = self.leader()
        if leader is None:
            raise LabError(f"host {self.name} of lab {self.lab} does not run")
        return ["nsenter", f"--target={leader}", "--all", "--", *argv]

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        timeout: float = 60.0,
        input: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in this host as root and wait for its end.

        Args:
            argv: the command.
            check: raise when it exits non-zero.
            timeout: seconds after which it is killed.
            input: text for its standard input.

        Returns:
            Exit code, standard output and standard error.

        Raises:
            LabError: the host does not run, the command took too long, or it failed.
        """
        words = " ".join(argv)
        try:
            done = subprocess.run(
                self.enter(argv),
                input=input,
                stdin=subprocess.DEVNULL if input is None else None,
                capture_output=True,
                text=True,
                timeout=timeout,
                env=ENVIRONMENT,
            )
        except subprocess.TimeoutExpired as error:
            raise LabError(f"{self.name}: {words}: took longer than {timeout:.0f} s") from error
        if check and done.returncode != 0:
            output = tail(done.stdout + done.stderr)
            raise LabError(f"{self.name}: {words}: exit code {done.returncode}\n{output}")
        return done

    def start(self, timeout: float = BOOT_TIMEOUT) -> None:
        """Boot the host and wait until all its units have been started.

        Args:
            timeout: seconds that the boot may take.

        Raises:
            LabError: it did not boot.
        """
        if self.leader() is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        groups = cgroups.make(self.lab, self.name)
        nspawn = [
            "systemd-nspawn",
            "--quiet",
            "--boot",
            f"--directory={self.root}",
            f"--machine={self.machine}",
            f"--hostname={self.name}",
            "--register=no",
            "--keep-unit",
            "--network-veth",
            f"--network-bridge={network.BRIDGE}",
            "--console=read-only",
            "--notify-ready=yes",
            "--resolv-conf=off",
            "--timezone=off",
            "--link-journal=no",
            *(f"--bind-ro={source}:{point}" for source, point in self.binds),
        ]
        environment = {
            **os.environ,
            "LAB_CGROUPS": " ".join(map(str, groups)),
            "NOTIFY_SOCKET": str(self._socket),
            # The lab's own lock holds; nspawn's would be left behind by a power cut.
            "SYSTEMD_NSPAWN_LOCK": "0",
        }
        with self._listen() as listener, self.console.open("ab") as console:
            process = subprocess.Popen(
                ["sh", "-c", _KEEPER, "sh", *network.enter(self.lab, *nspawn)],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
            (self.folder / "pid").write_text(f"{process.pid}\n")
            self._await_ready(listener, process.pid, timeout)

    def stop(self, timeout: float = STOP_TIMEOUT) -> None:
        """Shut the host down in good order; what is on its disk stays.

        Raises:
            LabError: it did not end in time.
        """
        keeper, supervisor = self.keeper(), self.supervisor()
        if keeper is None or supervisor is None:
            return
        os.kill(supervisor, signal.SIGTERM)
        if not wait_for_end(keeper, timeout):
            raise LabError(self._trouble(f"did not shut down in {timeout:.0f} s"))

    def kill(self) -> None:
        """End the host at once, as a power cut does; what is on its disk stays."""
        keeper = self.keeper()
        if keeper is not None:
            os.kill(keeper, signal.SIGKILL)
            wait_for_end(keeper, STOP_TIMEOUT)
        cgroups.kill(self.lab, self.name)

    def reboot(self, timeout: float = STOP_TIMEOUT + BOOT_TIMEOUT) -> None:
        """Reboot the host from inside and wait until all its units have been started.

        Raises:
            LabError: it did not come back in time.
        """
        keeper = self.keeper()
        if keeper is None:
            raise LabError(f"host {self.name} of lab {self.lab} does not run")
        with self._listen() as listener:
            self.run(["systemctl", "reboot"])
            self._await_ready(listener, keeper, timeout)

    @property
    def _socket(self) -> Path:
        return self.folder / "notify"

    @contextmanager
    def _listen(self) -> Iterator[socket.socket]:
        """A socket on which systemd-nspawn says when the host has booted."""
        self._socket.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(str(self._socket))
            try:
                yield listener
            finally:
                self._socket.unlink(missing_ok=True)

    def _await_ready(self, listener: socket.socket, keeper: int, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        try:
            handle = os.pidfd_open(keeper)
        except ProcessLookupError as error:
            raise LabError(self._trouble("ended before it had booted")) from error
        try:
            poller = select.poll()
            poller.register(listener, select.POLLIN)
            poller.register(handle, select.POLLIN)
            while (left := deadline - time.monotonic()) > 0:
                ready = {descriptor for descriptor, _ in poller.poll(left * 1000)}
                if listener.fileno() in ready:
                    if b"READY=1" in listener.recv(4096).split(b"\n"):
                        return
                elif handle in ready:
                    raise LabError(self._trouble("ended before it had booted"))
        finally:
            os.close(handle)
        raise LabError(self._trouble(f"did not boot in {timeout:.0f} s"))

    def _trouble(self, what: str) -> str:
        text = ""
        if self.console.exists():
            text = self.console.read_text(encoding="utf-8", errors="replace")
        return f"host {self.name} {what}; the end of its console, {self.console}:\n{tail(text)}"


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
