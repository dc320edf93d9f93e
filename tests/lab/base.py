"""The root file system that hosts of a system start from: a small Debian with systemd."""

from __future__ import annotations

from pathlib import Path

from tests.lab import cache, machine
from tests.lab.processes import run
from tests.lab.progress import Progress
from tests.lab.systems import System

# Of a host that has Salt; the master speaks ssh too.
PACKAGES = (
    "ca-certificates",
    "curl",
    "dbus",
    "iproute2",
    "less",
    "logrotate",
    "openssh-client",
    "procps",
    "python3",
    "systemd",
    "systemd-sysv",
    "tzdata",
)
BARE_PACKAGES = (
    "ca-certificates",
    "dbus",
    "iproute2",
    "openssh-server",
    "procps",
    "sudo",
    "systemd",
    "systemd-sysv",
    "tzdata",
)
# Nothing of these changes what is tested, and each costs time at every boot or install.
_MASKED = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty@.service",
    "systemd-firstboot.service",
    "systemd-network-generator.service",
    "systemd-pstore.service",
)
_DPKG_OPTIONS = (
    "force-unsafe-io",
    "path-exclude=/usr/share/doc/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/man/*",
)
_SALT_PROGRAMS = ("salt", "salt-call", "salt-cp", "salt-key", "salt-run")
_SCRIPT = """\
#!/bin/sh
exec /opt/salt/bin/python3 /opt/salt/bin/{program} "$@"
"""
_UNIT = """\
[Unit]
Description=Salt {daemon}
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
NotifyAccess=all
{more}LimitNOFILE=100000
Restart=always
# The scripts in the environment name another folder in their first line: hosts have it here.
ExecStart=/opt/salt/bin/python3 /opt/salt/bin/salt-{daemon}

[Install]
WantedBy=multi-user.target
"""


def image(system: System, progress: Progress) -> Path:
    """The root file system, built when it is not in the cache.

    Args:
        system: what it is.
        progress: where to say what is built.

    Raises:
        LabError: it could not be built.
    """
    key = cache.recipe(Path(__file__).read_bytes(), system.codename)

    def build(folder: Path, log: Path) -> None:
        _build(system, folder / "rootfs", log)

    return cache.entry(f"base-image-{system.name}", key, build, progress) / "rootfs"


def _build(system: System, root: Path, log: Path) -> None:
    packages = BARE_PACKAGES if system.bare else PACKAGES
    options = [f"--dpkgopt={option}" for option in _DPKG_OPTIONS]
    run(
        [
            "mmdebstrap",
            "--variant=minbase",
            "--format=directory",
            *options,
            f"--include={','.join(packages)}",
            system.codename,
            str(root),
            "-",
        ],
        "mmdebstrap (is the Debian mirror of /etc/apt reachable?)",
        timeout=900,
        log=log,
        stdin="\n".join(machine.mirror_lines(system.codename)) + "\n",
    )
    _settle(root)
    if system.bare:
        # Every host has keys of its own.
        for key in root.glob("etc/ssh/ssh_host_*"):
            key.unlink()
    else:
        install_salt(root)
    run(
        ["systemctl", f"--root={root}", "enable", "systemd-networkd.service"],
        "enabling systemd-networkd in the base image",
        timeout=60,
        log=log,
    )


def install_salt(root: Path) -> None:
    """Write what runs the Salt of /opt/salt.

    Args:
        root: a root file system, or what a package puts there.
    """
    units = root / "etc/systemd/system"
    units.mkdir(parents=True, exist_ok=True)
    # As in Salt's own packages: a job outlives the restart of its minion.
    for daemon, more in (("master", ""), ("minion", "KillMode=process\n")):
        unit = _UNIT.format(daemon=daemon, more=more)
        (units / f"salt-{daemon}.service").write_text(unit, encoding="utf-8")
    programs = root / "usr/local/bin"
    programs.mkdir(parents=True, exist_ok=True)
    for program in _SALT_PROGRAMS:
        script = programs / program
        script.write_text(_SCRIPT.format(program=program), encoding="utf-8")
        script.chmod(0o755)


def _settle(root: Path) -> None:
    units = root / "etc/systemd/system"
    for unit in _MASKED:
        (units / unit).symlink_to("/dev/null")
    # Java's package fails to install where the folder of manual pages is missing.
    for point in ("opt/salt", "srv/metis", "srv/sandbox", "usr/share/man/man1", "var/log/journal"):
        (root / point).mkdir(parents=True, exist_ok=True)
    for name in ("etc/machine-id", "etc/resolv.conf", "etc/apt/sources.list"):
        (root / name).write_text("", encoding="utf-8")
    zone = root / "etc/localtime"
    zone.unlink(missing_ok=True)
    zone.symlink_to("/usr/share/zoneinfo/Etc/UTC")
    (root / "etc/timezone").write_text("Etc/UTC\n", encoding="utf-8")
