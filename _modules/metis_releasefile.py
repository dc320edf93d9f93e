"""
The release file: its form, and every fault of its form.

A release file is ``pillar/releases/<release>.yaml``: where the programs come from, and what differs
between releases. Lives on the master only, as ``metis_orgform`` does, and for the same reason.
"""

from typing import Annotated, Any, Literal

try:
    import pydantic

    HAS_PYDANTIC = True
except ImportError:
    HAS_PYDANTIC = False

__virtualname__ = "metis_releasefile"

_Role = Literal["consul", "carrier", "admin", "ice_via", "data", "compute"]
# By these names the states of the roles find what they start and load.
_NAMED = ("consul", "carrier", "admin_jar", "admin_sql", "fighter_wheelhouse")
_ARCHIVES = ("installer", "tar", "wheelhouse", "zip")


def __virtual__() -> str | tuple[bool, str]:
    if HAS_PYDANTIC:
        return __virtualname__
    return False, "metis_releasefile runs on the master, whose Python needs pydantic"


if HAS_PYDANTIC:
    _FileName = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._+-]*$")]
    _ReleaseName = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    _InnerPath = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._+/-]*$")]
    _Interpreter = Annotated[str, pydantic.Field(pattern=r"^/?[A-Za-z0-9_][A-Za-z0-9._+/-]*$")]
    _Sha256 = Annotated[str, pydantic.Field(pattern=r"^[0-9a-f]{64}$")]
    _Source = Annotated[str, pydantic.Field(pattern=r"^https?://\S+$")]
    # Nothing but the certificate says that the checksums are the publisher's.
    _SafeSource = Annotated[str, pydantic.Field(pattern=r"^https://\S+$")]
    _Key = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9_/.-]+$")]
    _Module = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.]*$")]
    _Name = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9_]+$")]
    _Package = Annotated[str, pydantic.Field(pattern=r"^[a-z0-9][a-z0-9.+-]+$")]
    _Path = Annotated[str, pydantic.Field(pattern=r"^(/[A-Za-z0-9._-]+)+$")]

    class _Section(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    class _Kv(_Section):
        datacenter: _Key
        glacier2: _Key | None
        icegrid: _Key | None

    class _Fighter(_Section):
        # A host's own, or one that an installer of the release brings.
        python: _Interpreter
        # Debian's, which its wheels need.
        packages: list[_Package] = []
        # Below the environment: shared libraries that its wheels look for.
        libraries: _InnerPath | None = None
        # Of its configuration, beyond those of 0.3.0.
        keys: list[Literal["register_ip", "pass_ice"]] = []
        data: _Module
        compute: _Module

    class _Admin(_Section):
        database: _Name
        context_path: _Path
        # Artifacts that take a database on from the releases before, in their order; a database
        # that is new has them all.
        schema_changes: list[_Name] = []

    class _Checksums(_Section):
        sources: list[_SafeSource] = pydantic.Field(min_length=1)

    class _Artifact(_Section):
        version: str
        kind: Literal["binary", "installer", "jar", "sql", "tar", "wheel", "wheelhouse", "zip"]
        roles: list[_Role] = pydantic.Field(min_length=1)
        file: _FileName
        unpacks: _InnerPath | None = None
        # Not known: the topology says who needs it all the same.
        sha256: _Sha256 | None
        # A file of the publisher's that says it.
        checksums: _Checksums | None = None
        sources: list[_Source]
        # The processor that it is built for, where there are two builds.
        cpu: Literal["avx2", "no_avx2"] | None = None

        @pydantic.model_validator(mode="after")
        def _says_what_it_holds(self) -> "_Artifact":
            if (self.kind in _ARCHIVES) != (self.unpacks is not None):
                raise ValueError(
                    f"needs unpacks where kind is {', '.join(_ARCHIVES)}, and only there"
                )
            return self

        @pydantic.model_validator(mode="after")
        def _has_a_folder_of_its_own(self) -> "_Artifact":
            if self.kind in ("installer", "wheelhouse") and "/" not in (self.unpacks or "/"):
                raise ValueError("needs unpacks to begin with the folder that it is unpacked into")
            if self.kind == "installer" and not self.file.endswith(".sh"):
                raise ValueError("needs a file that ends in .sh, as its kind is installer")
            return self

        @pydantic.model_validator(mode="after")
        def _is_built_twice(self) -> "_Artifact":
            if self.cpu and self.kind != "wheel":
                raise ValueError("has a cpu, which only a wheel can have")
            return self

    class _Release(_Section):
        release: _ReleaseName
        kv: _Kv
        fighter: _Fighter
        admin: _Admin
        artifacts: dict[str, _Artifact]


def faults(name: str, data: Any) -> list[str]:
    """
    What is wrong with a release file.

    name
        The release: the file's name without ``.yaml``.
    data
        What the file renders to.

    Returns a text for each fault, with its place in the file; none where the file is right.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_releasefile.faults 0.3.0 '{release: 0.3.0}'
    """
    try:
        read = _Release.model_validate(data)
    except pydantic.ValidationError as err:
        return [_said(item) for item in err.errors(include_url=False)]
    found = []
    if read.release != name:
        found.append(f"release is {read.release}, and the file is called {name}.yaml")
    found += [f"artifacts.{wanted} is missing" for wanted in _NAMED if wanted not in read.artifacts]
    brought = [artifact.unpacks for artifact in read.artifacts.values() if _installs(artifact)]
    if not read.fighter.python.startswith("/") and read.fighter.python not in brought:
        found.append(
            f"fighter.python is {read.fighter.python}, which no artifact of kind installer for "
            "data and compute unpacks; a host's own interpreter begins with /"
        )
    for change in read.admin.schema_changes:
        named = read.artifacts.get(change)
        if named is None or named.kind != "sql" or named.roles != ["admin"]:
            found.append(f"admin.schema_changes names {change}, which is no sql artifact of admin")
    if len(set(read.admin.schema_changes)) < len(read.admin.schema_changes):
        found.append("admin.schema_changes names an artifact twice")
    artifacts = data["artifacts"]
    # On a host, and in the master's store, where it is under the release and not under a role.
    files: dict[str, str] = {}
    for artifact_name, artifact in read.artifacts.items():
        called = __salt__["metis_release.family"](artifact_name, artifacts[artifact_name])
        if artifact.cpu:
            found += _build_faults(read.artifacts, artifact_name, called)
        other = files.setdefault(artifact.file, called)
        if other != called:
            problem = f"is that of artifacts.{other} too: {artifact.file}"
            found.append(f"artifacts.{artifact_name}.file {problem}")
    return found


def _installs(artifact: Any) -> bool:
    return artifact.kind == "installer" and {"data", "compute"} <= set(artifact.roles)


def _build_faults(artifacts: dict[str, Any], name: str, called: str) -> list[str]:
    """What keeps an artifact from being one of two builds."""
    own = artifacts[name]
    if called in artifacts and name != called:
        return [f"artifacts.{called} is there beside its builds, of which {name} is one"]
    if name == called:
        return [f"artifacts.{name} has cpu: {own.cpu}, so its name must end in _{own.cpu}"]
    other_name = f"{called}_{'no_avx2' if own.cpu == 'avx2' else 'avx2'}"
    other = artifacts.get(other_name)
    if other is None:
        return [f"artifacts.{other_name} is missing, the build for other processors than {name}"]
    facts = ("file", "kind", "roles", "version")
    return [
        f"artifacts.{name}.{fact} is not that of artifacts.{other_name}"
        for fact in facts
        # Told once.
        if own.cpu == "avx2" and getattr(own, fact) != getattr(other, fact)
    ]


def _said(item: Any) -> str:
    place = ".".join(str(part) for part in item["loc"]) or "the file"
    if item["type"] == "missing":
        return f"{place} is missing"
    if item["type"] == "extra_forbidden":
        return f"{place} is not known here"
    problem = item["msg"].removeprefix("Value error, ")
    return f"{place}: {problem[0].lower()}{problem[1:]}"
