"""
The master's reading of organization and release files, and the pillar made from them.

The files are looked for below every pillar root: an operator may keep them in the repository's
``pillar/`` or in a root of one's own, such as ``/srv/pillar``.
"""

import atexit
import gc
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import salt.exceptions
import salt.loader
import salt.template

import salt.minion

__virtualname__ = "metis_orgs"

MASTER_ID = "metis_master"
SUFFIXES = {"orgs": ".sls", "releases": ".yaml"}


def _files(kind: str) -> tuple[dict[str, Path], dict[str, OSError]]:
    """Name to file, and each folder that cannot be looked into, with why."""
    roots = __opts__["pillar_roots"].get(__opts__.get("pillarenv") or "base", [])
    suffix = SUFFIXES[kind]
    found: dict[str, Path] = {}
    closed: dict[str, OSError] = {}
    for root in roots:
        folder = Path(root, kind)
        try:
            names = sorted(os.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as err:
            closed[str(folder)] = err
            continue
        # An editor's own copy of a file begins with a dot.
        for name in [name for name in names if name.endswith(suffix) and name[0] != "."]:
            found.setdefault(name.removesuffix(suffix), folder / name)
    return found, closed


def file(kind: str, name: str) -> str | None:
    """
    The path of an organization's or a release's file, or ``None`` where there is none.

    kind
        ``orgs`` or ``releases``.
    name
        The organization, or the release.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_orgs.file orgs acme
    """
    path = _files(kind)[0].get(name)
    return str(path) if path else None


# What Salt logs of an error in a template has the lines around it, and they may hold a password.
_TEMPLATES = logging.getLogger("salt.utils.templates")


def _render(path: Path) -> Any:
    renderers = salt.loader.render(__opts__, __salt__)
    was_disabled, _TEMPLATES.disabled = _TEMPLATES.disabled, True
    try:
        return salt.template.compile_template(
            str(path),
            renderers,
            "jinja|yaml",
            __opts__["renderer_blacklist"],
            __opts__["renderer_whitelist"],
        )
    finally:
        _TEMPLATES.disabled = was_disabled


def _unread(err: OSError) -> tuple[str, str]:
    """What keeps a file or folder from being read, and what to do."""
    why = __salt__["metis_access.cause"](err)
    if isinstance(err, PermissionError):
        return f"cannot be read: {why}", "chown it, and let that user into the folders above it"
    return f"cannot be read: {why}", "correct it"


def _rendered(path: Path, render: Callable[[Path], Any]) -> tuple[Any, str, str]:
    """What becomes of a file, or why that is not known and what to do."""
    try:
        data = path.read_bytes()
    except OSError as err:
        return None, *_unread(err)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as err:
        line = data.count(b"\n", 0, err.start) + 1
        return None, f"cannot be read: line {line} is no UTF-8", "save it as UTF-8"
    try:
        return render(path), "", ""
    # Jinja may raise whatever a function in it does, and YAML what Python does of a value.
    except Exception as err:
        return None, f"cannot be read: {_told(err, text)}", "correct the file"


def _told(error: Exception, content: str) -> str:
    """
    What an error says, without the lines of the file around it where one may hold a password.
    """
    if isinstance(error, RecursionError):
        return "it has lists or mappings in each other without end"
    text, cut, _ = (str(error) or type(error).__name__).partition("\nTraceback ")
    line = getattr(error, "line_num", None)
    text += f"; line {line}" * bool(cut and line)
    if "passw" not in content.lower():
        return text
    # Salt sets the file's lines below a rule, YAML with four spaces before them.
    said = [line for line in text.split("\n---")[0].splitlines() if not line.startswith("    ")]
    told = " ".join(line.strip() for line in said if line.strip())
    # A password that begins with ! or * is a tag or an alias to YAML, which says its name; it may
    # stand on a line of its own.
    return re.sub("'[!*&][^']+'", "'...'", told)


# Armor begins with it.
_PGP = "-----BEGIN PGP MESSAGE-----"


def _decrypted(data: Any) -> tuple[Any, list[dict[str, Any]]]:
    """
    What the file rendered to, with every PGP message in it decrypted by Salt's gpg renderer, and a
    fault for each that cannot be: nothing stands in its place then.

    Value by value, as of a whole file the renderer says only that something in it failed.
    """
    faults: list[dict[str, Any]] = []

    def walk(value: Any, place: str, around: tuple[int, ...]) -> Any:
        # YAML can put a list into itself.
        if id(value) in around:
            return value
        if isinstance(value, dict):
            named = ((key, f"{place}.{key}" if place else str(key)) for key in value)
            return {key: walk(value[key], where, (*around, id(value))) for key, where in named}
        if isinstance(value, list):
            inner = enumerate(value)
            return [walk(item, f"{place}[{n}]", (*around, id(value))) for n, item in inner]
        if not isinstance(value, str) or _PGP not in value:
            return value
        clear, problem, fix = _clear(value)
        if problem:
            faults.append(_fault(place.removeprefix("metis."), problem, fix))
        return clear

    return walk(data, "", ()), faults


def _clear(message: str) -> tuple[str | None, str, str]:
    """What a text with PGP messages says, or why that is not known and what to do."""
    # Salt's own default; without it, what cannot be decrypted is taken as it is.
    opts = {**__opts__, "gpg_decrypt_must_succeed": True}
    fix = "encrypt it for the master's key, as docs/pillar.md tells below Passwords"
    try:
        clear = salt.loader.render(opts, __salt__)["gpg"](message)
    except salt.exceptions.SaltRenderError as error:
        # It holds the message, and what gpg says to programs.
        said = str(error)
        if said == "GPG unavailable":
            return None, "cannot be decrypted: the master has no gpg", "apt-get install gnupg"
        keys = sorted(set(re.findall(r"\[GNUPG:\] NO_SECKEY ([0-9A-F]+)", said)))
        if keys:
            return None, f"is encrypted for a key that is not the master's: {keys[0]}", fix
        return None, "cannot be decrypted: it is damaged, or the key has a passphrase", fix
    if not isinstance(clear, str):
        return None, "holds what is no text", fix
    if _PGP in clear:
        return None, "is a PGP message without an end", fix
    return clear, "", ""


def _fault(place: str, problem: str, fix: str, value: Any = None) -> dict[str, Any]:
    return __salt__["metis_orgfile.fault"](place, problem, fix, value)


def release(name: str) -> dict[str, Any] | None:
    """
    The content of a release file with the checksums that are pinned in the master's store, or
    ``None`` where there is no such file.

    name
        The release: the file's name without ``.yaml``.

    Raises ``CommandExecutionError`` where it cannot be read.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_orgs.release 0.3.0
    """
    found, problem, fix = _release(name)
    if problem:
        raise salt.exceptions.CommandExecutionError(f"{problem}: {fix}")
    return found


def _release(name: str) -> tuple[Any, str, str]:
    """
    A release file's content with the checksums that are pinned, nothing where there is no such
    file, or why that is not known and what to do.
    """
    files, closed = _files("releases")
    if name in files:
        content, problem, fix = _rendered(files[name], _render)
        if problem:
            return None, f"{files[name]} {problem}", fix
        try:
            return __salt__["metis_pins.merged"](content), "", ""
        except salt.exceptions.CommandExecutionError as err:
            return None, str(err), "correct that file"
    # It may be there.
    for folder, refused in closed.items():
        problem, fix = _unread(refused)
        return None, f"{folder} {problem}", fix
    return None, "", ""


def form(data: Any) -> dict[str, Any]:
    """
    What ``metis_orgfile.read`` returns, or an error that tells how to get what it needs.

    data
        The content of an organization file.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_orgs.form '{"metis": {}}'
    """
    # To ask for all there is would load every module of Salt.
    if not all(name in __salt__ for name in ("metis_orgform.checked", "metis_progress.shown")):
        raise salt.exceptions.CommandExecutionError(
            "the master's Python lacks pydantic, rich or zxcvbn: run salt-pip install pydantic "
            "rich zxcvbn with the versions of requirements/salt.txt, then systemctl restart "
            "salt-master"
        )
    found: dict[str, Any] = __salt__["metis_orgfile.read"](data)
    return found


def _read(name: str, path: Path) -> dict[str, Any]:
    content, problem, fix = _rendered(path, lambda path: _decrypted(_render(path)))
    if problem:
        broken = _fault(str(path), problem, fix)
        return {"topology": None, "faults": [broken], "claims": {"hosts": {}, "public": []}}
    data, undecrypted = content
    found = form(data)
    places = {fault["place"] for fault in undecrypted}
    # Nothing stands there now, which may be a fault too.
    rest = [fault for fault in found["faults"] if fault["place"] not in places]
    found["faults"] = undecrypted + rest
    wanted = None
    if found["org"] and "release" not in (fault["place"] for fault in found["faults"]):
        wanted, faults = _checked_release(found["org"]["release"])
        found["faults"] += faults
    made = __salt__["metis_topology.build"](name, found, wanted)
    made["faults"] += _certificate_faults(made.pop("instances"))
    topology = made["topology"]
    damaged = _record_faults(name)
    made["faults"] += damaged
    if topology and not damaged:
        known = __salt__["metis_deployed.read"](name)
        topology["deployed"] = __salt__["metis_deployed.of"](topology, known)
        traces = __salt__["metis_deployed.traces"](name)
        topology["leaving"] = __salt__["metis_deployed.leaving"](topology, traces)
        made["faults"] += _deployed_faults(topology)
    made["topology"] = None if made["faults"] else topology
    return made


def _record_faults(name: str) -> list[dict[str, Any]]:
    """What the master keeps of an organization has to be as it was written."""
    faults = []
    for function, what in (
        ("metis_deployed.read", "what is deployed"),
        ("metis_secrets.read", "what was made on the master"),
    ):
        try:
            __salt__[function](name)
        except salt.exceptions.CommandExecutionError as err:
            fix = "let Salt's user read it, or bring it back, as docs/backup.md tells"
            faults.append(_fault(what, f"is not known: {err}", fix))
    return faults


def _deployed_faults(topology: dict[str, Any]) -> list[dict[str, Any]]:
    """A release that runs is described for as long as it runs, also when another one is wanted."""
    runs: dict[str, list[str]] = {}
    for instance in __salt__["metis_topology.instances"](topology):
        deployed = topology["deployed"][instance["id"]]["release"]
        if deployed != topology["release"]:
            runs.setdefault(deployed, []).append(instance["id"])
    return [
        _fault(
            "deployed",
            fault["problem"],
            f"{fault['fix']}; {', '.join(identities)} run it until metis.upgrade is through",
            deployed,
        )
        for deployed, identities in sorted(runs.items())
        for fault in _checked_release(deployed)[1]
    ]


def complete_release(name: str, topology: dict[str, Any]) -> list[str]:
    """
    What keeps an organization from running a release, in sentences; nothing where it can.

    name
        The release.
    topology
        The organization's.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_orgs.complete_release 0.3.0 '{instances: []}'
    """
    found, faults = _checked_release(name)
    if found:
        faults += __salt__["metis_rules.release_faults"](found, topology["instances"])
    return [f"{fault['place']} {fault['problem']}: {fault['fix']}" for fault in faults]


def _checked_release(name: str) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """A release file's content, or what is wrong with the file."""
    found, problem, fix = _release(name)
    if problem:
        return None, [_fault("release", f"cannot be used: {problem}", fix, name)]
    if found is None:
        known = ", ".join(sorted(_files("releases")[0])) or "none"
        problem = "names a release that has no file pillar/releases/<release>.yaml"
        return None, [_fault("release", problem, f"known are: {known}", name)]
    faults = [
        _fault("release", f"names {name}, in whose file {wrong}", f"correct releases/{name}.yaml")
        for wrong in __salt__["metis_releasefile.faults"](name, found)
    ]
    return None if faults else found, faults


def _certificate_faults(instances: list[dict[str, Any]]) -> list[dict[str, Any]]:
    faults = []
    for instance in instances:
        own = instance["settings"].get("certificate")
        key = instance["settings"].get("certificate_key")
        if own and key and __salt__["metis_topology.speaks_tls"](instance):
            try:
                __salt__["metis_certificates.given"](own, key)
            except salt.exceptions.CommandExecutionError as err:
                fix = "correct the file on the master, where Salt's user must be able to read it"
                place = f"{instance['place']} (certificate)"
                faults.append(_fault(place, f"cannot be used: {err}", fix, own))
    return faults


def check(name: str, file: str) -> dict[str, Any]:
    """
    What a file that is no organization's yet would be as one: ``{"topology", "faults"}``.

    name
        The organization.
    file
        Its path, wherever it is.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_orgs.check acme /srv/acme.sls
    """
    return _read(name, Path(file))


def read() -> dict[str, dict[str, Any]]:
    """
    Every organization: ``{org: {"file", "topology", "faults"}}``. A folder of organizations that
    cannot be looked into has an entry too, under its path, with a fault.

    What two organizations have and only one can is a fault of both, such as a host, whose pillar is
    the view of one. Of an organization that has faults of its own too, it is a fault of that one
    alone: another's mistake stops nobody.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_orgs.read
    """
    files, closed = _files("orgs")
    orgs = {name: {"file": str(path), **_read(name, path)} for name, path in files.items()}
    claims = {name: org.pop("claims") for name, org in orgs.items()}
    whole = {name: claims[name] for name, org in orgs.items() if org["topology"]}
    leaving = {name: orgs[name]["topology"]["leaving"] for name in whole}
    held = __salt__["metis_rules.held"](claims, leaving)
    for name, org in orgs.items():
        against = whole if name in whole else whole | {name: claims[name]}
        found = __salt__["metis_rules.clashes"](against).get(name, []) + held.get(name, [])
        if found:
            org["faults"] += found
            org["topology"] = None
    for folder, refused in closed.items():
        fault = _fault(folder, *_unread(refused))
        orgs[folder] = {"file": folder, "topology": None, "faults": [fault]}
    return orgs


def _certificate(org: str, instance: dict[str, Any]) -> dict[str, str]:
    settings = instance["settings"]
    if settings["certificate"]:
        own = (settings["certificate"], settings["certificate_key"])
        return __salt__["metis_certificates.given"](*own)
    names = __salt__["metis_topology.server_names"](instance)
    return __salt__["metis_certificates.issued"](org, instance["role"], names)


def _secrets(topology: dict[str, Any], host: str) -> dict[str, Any]:
    """The secrets that the instances of one host need: made where there are none yet."""
    org = topology["org"]
    secured = [
        instance
        for instance in __salt__["metis_topology.instances"](topology)
        if instance["host"] == host and __salt__["metis_topology.speaks_tls"](instance)
    ]
    certificates = {instance["role"]: _certificate(org, instance) for instance in secured}
    passwords = __salt__["metis_secrets.kept"](org, ["mysql_password"])
    return {**passwords, "certificates": certificates}


def _leave_returners() -> None:
    """
    Keep the end of salt-run clean and quick: Salt 3008 finalizes the minion object of an
    orchestration while Python shuts down, and loads every returner to do so, with a traceback for
    each that needs an import.
    """
    for thing in gc.get_objects():
        # Not isinstance(): among the things are weak references to what is gone.
        if type(thing) is salt.minion.MasterMinion:
            thing.returners = None


def pillar(minion_id: str) -> dict[str, Any]:
    """
    The pillar of one minion: the view of a host, or everything for the master's own id.

    minion_id
        As Salt knows it.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_orgs.pillar demo1
    """
    orgs = read()
    if minion_id == MASTER_ID:
        # Every orchestration begins with this, also one of a verb that does not exist.
        atexit.register(_leave_returners)
        return {"metis": {"orgs": orgs}}
    for org in orgs.values():
        topology = org["topology"]
        if topology and minion_id in _hosts(topology):
            args = (topology, _releases(topology), _secrets(topology, minion_id), minion_id)
            return {"metis": __salt__["metis_view.view"](*args)}
    return {}


def traces(topology: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """
    As ``metis_view.traces``, with the releases that are deployed.

    topology
        The organization's.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_orgs.traces '{...}'
    """
    found: dict[str, dict[str, Any]] = __salt__["metis_view.traces"](topology, _releases(topology))
    return found


def _hosts(topology: dict[str, Any]) -> set[str]:
    """Its hosts, and those that it has left and that are not through with it."""
    return set(topology["hosts"]) | {instance["host"] for instance in topology["leaving"]}


def _releases(topology: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What a host may have to install: what is deployed, what is wanted, and what was before."""
    names = {topology["release"]}
    before = set()
    for entry in topology["deployed"].values():
        names.add(entry["release"])
        before.add(entry.get("previous"))
    # The file of the one before may be gone: a rollback to it says so.
    checked = {name: _checked_release(name)[0] for name in names | set(filter(None, before))}
    return {name: content for name, content in sorted(checked.items()) if content}
