"""Salt key pairs made beforehand, so that the master never accepts a key it was not given."""

from __future__ import annotations

from pathlib import Path

from tests.lab.processes import run

_BITS = "2048"


def pair() -> tuple[str, str]:
    """A new key pair in Salt's form.

    Returns:
        The private and the public key, PEM.
    """
    private = run(["openssl", "genrsa", "-traditional", _BITS], "making a key", timeout=60)
    public = run(["openssl", "rsa", "-pubout"], "reading a key", timeout=60, stdin=private)
    return private, public


def write(folder: Path, name: str, private: str, public: str) -> None:
    """Write a key pair as <name>.pem and <name>.pub."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    for file, text, mode in ((f"{name}.pem", private, 0o400), (f"{name}.pub", public, 0o644)):
        path = folder / file
        path.touch(mode)
        path.write_text(text, encoding="ascii")
