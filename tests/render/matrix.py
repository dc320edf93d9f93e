"""Every organization, every host of it, and everything that a host may be told to be."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path

import yaml

from tests.render.compiler import REPOSITORY, STATES, Data, Host, pillars

HERE = Path(__file__).resolve().parent
RELEASES = HERE / "releases"
# Those that somebody else published; not all of their checksums are known.
PUBLISHED = REPOSITORY / "pillar/releases"
FOLDERS = (REPOSITORY / "pillar/orgs", REPOSITORY / "pillar/examples", HERE / "topologies")
FILES = {file.stem: file for folder in FOLDERS for file in sorted(folder.glob("*.sls"))}
# In its organization each host has one role, and every role is there.
ALONE = "one-role-a-host"
# Every role, every setting as it is by default.
EVERYTHING = ("defaults", "only")
OTHER = "2024"
# What is configured and installed comes with what runs.
TARGETS = ("running", "stopped", "absent", "highstate", "highstate when stopped")

# An organization and a host of it.
Place = tuple[str, str]


def _hosts(file: Path) -> dict[str, Data]:
    # Jinja in a value does no harm to this.
    hosts: dict[str, Data] = yaml.safe_load(file.read_text(encoding="utf-8"))["metis"]["hosts"]
    return hosts


PLACES: list[Place] = [(name, host) for name, file in FILES.items() for host in _hosts(file)]


def release(name: str) -> Data:
    """The content of a release file; a checksum that is not known is made up."""
    text = next(
        folder / f"{name}.yaml"
        for folder in (RELEASES, PUBLISHED)
        if (folder / f"{name}.yaml").exists()
    ).read_text(encoding="utf-8")
    read: Data = yaml.safe_load(text)
    for number, artifact in enumerate(read["artifacts"].values()):
        artifact["sha256"] = artifact["sha256"] or f"{number:064x}"
    return read


def releases(folder: Path) -> Path:
    """A folder with every release file, as `release` gives them."""
    folder.mkdir(exist_ok=True)
    for file in (*RELEASES.glob("*.yaml"), *PUBLISHED.glob("*.yaml")):
        text = yaml.safe_dump(release(file.stem), sort_keys=False)
        (folder / file.name).write_text(text, encoding="utf-8")
    return folder


def _role(content: Data) -> str:
    """A host's first role: with settings, it is a mapping of its name to them."""
    role = content["roles"][0]
    return role if isinstance(role, str) else next(iter(role))


def _alone() -> list[tuple[str, str, str]]:
    """Every SLS file of every role by itself, on a host with that role only."""
    return [
        (ALONE, host, f"roles.{_role(content)}.{file.stem}".removesuffix(".init"))
        for host, content in _hosts(FILES[ALONE]).items()
        for file in sorted((STATES / "roles" / _role(content)).glob("*.sls"))
        if host != "consul3"  # as consul2
    ]


CASES = [
    *((*place, target) for place in PLACES for target in TARGETS),
    *((*EVERYTHING, target) for target in ("installed", "configured")),
    *_alone(),
]


class Matrix:
    """What is compiled and written, each once."""

    def __init__(self, folder: Path) -> None:
        """Compile nothing yet.

        Args:
            folder: where Salt keeps what it caches, and where files are written.
        """
        self.folder = folder
        self.releases = releases(folder / "releases")
        self.pillars = cache(self._pillars)
        self.host = cache(self._host)
        self.left = cache(self._left)
        self.chunks = cache(self._chunks)
        self.files = cache(self._files)

    def _pillars(self, organization: str) -> dict[str, Data]:
        return pillars(self.folder / organization, FILES[organization], self.releases)

    def _host(self, organization: str, host: str) -> Host:
        return Host(self.folder, self.pillars(organization)[host])

    def _left(self, organization: str, host: str) -> Host:
        """The host when nothing of it is wanted any more."""
        pillar = copy.deepcopy(self.pillars(organization)[host])
        view = pillar["metis"]
        known = {key: view[key] for key in ("address", "agent")} | {"agent_stays": True}
        every = [instance for role in view["roles"].values() for instance in role["instances"]]
        for instance in every:
            instance |= known
        view["leaving"], view["roles"] = view["roles"], {}
        only = [instance["id"] for instance in every]
        pillar["metis_leaving"] = {"only": only, "keep": [], "drain": 60}
        return Host(self.folder, pillar)

    def _chunks(self, organization: str, host: str, target: str) -> list[Data]:
        made = self.host(organization, host)
        if target.endswith("left"):
            made = self.left(organization, host)
        if target.startswith("highstate"):
            return made.highstate("stopped" if target.endswith("stopped") else "running")
        if "." in target:
            return made.compile([target])
        return made.reached(target)

    def _files(self, organization: str, host: str) -> dict[str, tuple[Data, Path]]:
        """Every file that a host gets, written: its name there, its state, and the file."""
        root = self.folder / organization / host
        return {
            chunk["name"]: (chunk, self.host(organization, host).write(chunk, root))
            for chunk in self.chunks(organization, host, "running")
            if chunk["state"] == "file" and chunk["fun"] in ("managed", "serialize")
        }
