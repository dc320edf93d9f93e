from pathlib import Path

from tests.lab import mounts

TABLE = """\
tmpfs /var/lib/lab/demo tmpfs rw 0 0
overlay /var/lib/lab/demo/one/root overlay rw 0 0
tmpfs /var/lib/lab/demonstration tmpfs rw 0 0
tmpfs /var/lib/lab/demo/a\\040b tmpfs rw 0 0
proc /proc proc rw 0 0
"""


def test_the_innermost_comes_first_and_neighbours_stay() -> None:
    assert mounts.mounted_below(Path("/var/lib/lab/demo"), TABLE) == [
        "/var/lib/lab/demo/a b",
        "/var/lib/lab/demo/one/root",
        "/var/lib/lab/demo",
    ]
