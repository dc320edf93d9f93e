"""
The release file: its form, and every fault of its form.

A release file is ``pillar/releases/<release>.yaml``: where the programs come from, and what differs
between releases. Lives on the master only, as ``metis_orgfile`` does, and for the same reason.
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
_ARCHIVES = ("zip", "tar", "wheelhouse")


def __virtual__() -> str | tuple[bool, str]:
    if HAS_PYDANTIC:
        return __virtualname__
    return False, "metis_releasefile runs on the master, whose Python needs pydantic"


if HAS_PYDANTIC:
    _FileName = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._+-]*$")]
    _InnerPath = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._+/-]*$")]
    _Sha256 = Annotated[str, pydantic.Field(pattern=r"^[0-9a-f]{64}$")]
    _Source = Annotated[str, pydantic.Field(pattern=r"^https?://\S+$")]
    _Key = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9_/.-]+$")]
    _Module = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.]*$")]
    _Name = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9_]+$")]
    _Path = Annotated[str, pydantic.Field(pattern=r"^(/[A-Za-z0-9._-]+)+$")]

    class _Section(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    class _Kv(_Section):
        datacenter: _Key
        glacier2: _Key | None
        icegrid: _Key | None

    class _Fighter(_Section):
        python: _Path
        data: _Module
        compute: _Module

    class _Admin(_Section):
        database: _Name
        context_path: _Path
        # Artifacts that take a database on from the releases before, in their order; a database
        # that is new has them all.
        schema_changes: list[_Name] = []

    class _Artifact(_Section):
        version: str
        kind: Literal["binary", "jar", "sql", "tar", "wheel", "wheelhouse", "zip"]
        roles: list[_Role] = pydantic.Field(min_length=1)
        file: _FileName
        unpacks: _InnerPath | None = None
        # Not known: the topology says who needs it all the same.
        sha256: _Sha256 | None
        sources: list[_Source]

        @pydantic.model_validator(mode="after")
        def _says_what_it_holds(self) -> "_Artifact":
            if (self.kind in _ARCHIVES) != (self.unpacks is not None):
                raise ValueError(
                    f"needs unpacks where kind is {', '.join(_ARCHIVES)}, and only there"
                )
            return self

    class _Release(_Section):
        release: str
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
    for change in read.admin.schema_changes:
        named = read.artifacts.get(change)
        if named is None or named.kind != "sql" or named.roles != ["admin"]:
            found.append(f"admin.schema_changes names {change}, which is no sql artifact of admin")
    if len(set(read.admin.schema_changes)) < len(read.admin.schema_changes):
        found.append("admin.schema_changes names an artifact twice")
    files: dict[tuple[str, str], str] = {}
    for artifact_name, artifact in read.artifacts.items():
        for role in artifact.roles:
            other = files.setdefault((role, artifact.file), artifact_name)
            if other != artifact_name:
                problem = f"is that of artifacts.{other} too: {artifact.file}"
                found.append(f"artifacts.{artifact_name}.file {problem}")
                break
    return found


def _said(item: Any) -> str:
    place = ".".join(str(part) for part in item["loc"]) or "the file"
    if item["type"] == "missing":
        return f"{place} is missing"
    if item["type"] == "extra_forbidden":
        return f"{place} is not known here"
    problem = item["msg"].removeprefix("Value error, ")
    return f"{place}: {problem[0].lower()}{problem[1:]}"
