"""Runs on a host: all that a verb can change there, as JSON.

Left out is what changes by itself: the kernel's, logs, Salt's caches, and what consul and MariaDB
keep, which a test asks for over their own doors.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys

LEFT_OUT = {
    *("/dev", "/proc", "/run", "/sys", "/tmp", "/var/tmp"),  # noqa: S108
    *("/var/cache/salt", "/var/lib/systemd", "/var/log", "/srv/metis-local"),
    *("/var/lib/metis/consul", "/var/lib/mysql", "/etc/salt/pki/master/metis/locks"),
}
# What is read, and not only looked at.
READ = ("/etc/", "/opt/", "/usr/local/", "/var/lib/metis")
SHOW = "Id,ActiveState,UnitFileState,ExecMainStartTimestampMonotonic,NeedDaemonReload"
DATABASE = "mysqldump --skip-comments --skip-dump-date --databases metis_admin mysql"


def _files() -> dict[str, list[object]]:
    found: dict[str, list[object]] = {}
    device = os.lstat("/").st_dev
    for folder, folders, names in os.walk("/"):
        folders[:] = [
            name
            for name in folders
            if (path := os.path.join(folder, name)) not in LEFT_OUT
            and os.lstat(path).st_dev == device
        ]
        for path in [folder, *(os.path.join(folder, name) for name in names)]:
            seen = os.lstat(path)
            found[path] = [seen.st_mode, seen.st_uid, seen.st_gid, seen.st_size, seen.st_mtime_ns]
            if stat.S_ISLNK(seen.st_mode):
                found[path].append(os.readlink(path))
            elif stat.S_ISREG(seen.st_mode) and path.startswith(READ):
                with open(path, "rb") as stream:
                    found[path].append(hashlib.file_digest(stream, "sha256").hexdigest())
    return found


def _output(command: str) -> str:
    return subprocess.run(
        command.split(), capture_output=True, text=True, timeout=60, check=True
    ).stdout


def main() -> None:
    """Print it."""
    units = ["metis-*.service", "mariadb.service", "nginx.service", "salt-minion.service"]
    look: dict[str, object] = {
        "files": _files(),
        "units": _output(f"systemctl show --property={SHOW} {' '.join(units)}"),
        "enabled": _output("systemctl list-unit-files --no-legend --plain"),
        "users": _output("getent passwd") + _output("getent group"),
    }
    if os.path.exists("/run/mysqld/mysqld.sock"):
        look["database"] = hashlib.sha256(_output(DATABASE).encode()).hexdigest()
    json.dump(look, sys.stdout)


if __name__ == "__main__":
    main()
