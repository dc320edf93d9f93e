"""A GnuPG keyring with a key of an operator's."""

from __future__ import annotations

import re
import subprocess


class Keyring:
    """A keyring in a folder, with one key."""

    def __init__(self, home: str, name: str, passphrase: str = "") -> None:
        """
        Args:
            home: the folder; its path must be short, as gpg's agent has a socket there.
            name: whose key it is.
            passphrase: of the key.
        """
        self.home = home
        made = (
            "--pinentry-mode",
            "loopback",
            "--passphrase",
            passphrase,
            "--quick-generate-key",
            name,
            "default",
            "default",
            "never",
        )
        self.run(*made)
        listed = self.run("--with-colons", "--list-keys", name).decode()
        found = re.search("^fpr:+([0-9A-F]{40}):", listed, re.MULTILINE)
        assert found
        self.fingerprint = found[1]

    def run(self, *words: str, given: bytes = b"") -> bytes:
        """Run gpg; returns its output."""
        command = ["gpg", "--homedir", self.home, "--batch", "--quiet", *words]
        done = subprocess.run(command, input=given, capture_output=True, check=True, timeout=60)
        return done.stdout

    def public(self) -> bytes:
        """The public key, armored."""
        return self.run("--armor", "--export", self.fingerprint)

    def end(self) -> None:
        """End gpg's agent."""
        kill = ["gpgconf", "--homedir", self.home, "--kill", "all"]
        subprocess.run(kill, check=True, timeout=60)
