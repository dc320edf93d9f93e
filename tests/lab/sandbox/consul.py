"""The real consul, from Debian 11's pool, packed as HashiCorp packs it."""

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.lab.sandbox.archives import write_zip
from tests.lab.sandbox.piece import HERE, BuildError, Piece, run

VERSION = "1.8.7"
FILE = f"consul_{VERSION}_linux_amd64.zip"
_POOL = f"pool/main/c/consul/consul_{VERSION}+dfsg1-2+b3_amd64.deb"
_SHA256 = "e4e888bba104daba1d9161f49bfc52649a7e4efd45b1a7ead5bc54f2cb9c89d9"


def _mirror() -> str:
    """Take Debian's mirror from the machine's own apt sources."""
    query = ["apt-get", "indextargets", "--format", "$(SITE)", "Release: bookworm"]
    sites = run("find the Debian mirror", query).split()
    if not sites:
        raise BuildError("no Debian 12 (bookworm) mirror in apt's sources; add one and try again")
    return sites[0]


def _make(folder: Path, needs: Sequence[Path]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        package = Path(scratch) / "consul.deb"
        # apt's own helper, as it knows the proxies and certificates that apt is set up with.
        helper = "/usr/lib/apt/apt-helper"
        url = f"{_mirror()}/{_POOL}"
        run("download consul", [helper, "download-file", url, package, f"SHA256:{_SHA256}"])
        actual = hashlib.sha256(package.read_bytes()).hexdigest()
        if actual != _SHA256:
            raise BuildError(f"{url}: SHA-256 is {actual} and not {_SHA256}")
        run("unpack consul", ["dpkg-deb", "-x", package, scratch])
        program = (Path(scratch) / "usr/bin/consul").read_bytes()
    write_zip(folder / FILE, {"consul": program}, mode=0o755)


CONSUL = Piece("consul", (HERE / "consul.py", HERE / "archives.py"), _make)
