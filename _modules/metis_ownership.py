"""
What an organization made on this host: its mark.

The mark is a record of this host, ``/var/lib/metis-ownership/record.json``: every claim of the
host's view (``metis_claims``) with whether the thing was there before. It is written before
anything is made, so that what a run that was cut off has made carries it too. On a host that was
deployed before there were marks, what only the organization makes is taken for its own, and of the
rest it is not known who made it: it stays.
"""

import contextlib
import json
import os
import pwd
import shutil
import tempfile
from pathlib import Path
from typing import Any

import salt.exceptions

__virtualname__ = "metis_ownership"

Claim = dict[str, Any]
Data = dict[str, Any]
View = dict[str, Any]

FOLDER = "/var/lib/metis-ownership"
_ENABLED = "/etc/systemd/system/multi-user.target.wants"
# What only the organization makes: on a host without a mark whose units say so, it is its own.
_EXCLUSIVE = ("tree", "folder", "user", "unit", "database", "account")


def _record() -> Path:
    return Path(FOLDER, "record.json")


def _read() -> Data | None:
    try:
        found: Data = json.loads(_record().read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as err:
        raise salt.exceptions.CommandExecutionError(
            f"{_record()} cannot be read, so it is not known what is the organization's: {err}"
        ) from err
    return found


def _write(record: Data) -> None:
    try:
        folder = Path(FOLDER)
        folder.mkdir(mode=0o700, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as new:
            json.dump(record, new, indent=1)
            new.flush()
            os.fsync(new.fileno())
        os.replace(new.name, _record())
    except OSError as err:
        raise salt.exceptions.CommandExecutionError(
            f"the mark {_record()} cannot be written: {err.strerror}"
        ) from err


def _role(identity: str) -> str:
    return identity.partition("@")[0]


def _deployed_before(view: View) -> set[str]:
    """Roles whose units say that this organization wrote them: a deploy from before the marks."""
    found = set()
    for role, seen in view["roles"].items():
        for unit in {unit for instance in seen["instances"] for unit in instance["units"]}:
            file = Path(__salt__["metis_claims.unit_file"](unit))
            with contextlib.suppress(OSError):
                if f"from the organization {view['org']}." in file.read_text("utf-8"):
                    found.add(role)
    return found


def _before(claim: Claim) -> Data:
    """Whether a thing is there, as an entry of the record says it."""
    name = claim["name"]
    there = {"before": "there"}
    if claim["kind"] in ("tree", "folder", "store"):
        if not os.path.lexists(name):
            return {"before": "absent"}
        is_folder = os.path.isdir(name) and not os.path.islink(name)
        if claim["kind"] == "tree" and is_folder and not os.listdir(name):
            seen = os.lstat(name)
            mode = f"{seen.st_mode & 0o7777:04o}"
            return {"before": "empty", "owner": [seen.st_uid, seen.st_gid, mode]}
        return there
    if claim["kind"] == "link":
        is_link = os.path.islink(name)
        return there | {"target": os.readlink(name)} if is_link else {"before": "absent"}
    if claim["kind"] == "service":
        seen = __salt__["metis_unit.facts"]([name])[name]
        if seen["state"] == "absent":
            return {"before": "absent"}
        return there | {"enabled": seen["enabled"], "active": seen["state"] == "active"}
    looks = {
        "user": lambda name: name in {account.pw_name for account in pwd.getpwall()},
        # The template of an instance may be that of another one of ours.
        "unit": lambda unit: os.path.lexists(
            f"{_ENABLED}/{unit}" if "@" in unit else __salt__["metis_claims.unit_file"](unit)
        ),
        "package": lambda package: package in __salt__["pkg.list_pkgs"](),
        "database": lambda name: name in __salt__["metis_mysql.folders"](),
        "account": lambda name: name in __salt__["metis_mysql.accounts"](),
    }
    try:
        return there if looks[claim["kind"]](name) else {"before": "absent"}
    except salt.exceptions.CommandExecutionError:
        # A server that is there and does not run: who made its accounts is not to be seen.
        return {"before": "unknown"}


def _parents(claim: Claim) -> list[Claim]:
    """The folders above a thing that are made with it."""
    # A service's folders are made with its package.
    if claim["kind"] not in ("tree", "folder") or "service" in claim:
        return []
    missing = []
    for folder in Path(claim["name"]).parents:
        if os.path.lexists(folder):
            break
        missing.append(str(folder))
    return [
        {"kind": "folder", "name": name, "parts": [], "for": list(claim["for"]), "before": "absent"}
        for name in missing
    ]


def _completed(view: View) -> tuple[Data, list[str]]:
    """The record with everything that a view claims, and the names of what is new in it."""
    found = _read()
    if found and found["org"] != view["org"]:
        raise salt.exceptions.CommandExecutionError(
            f"this host carries the mark of the organization {found['org']}: run metis.cleanup of "
            f"that one first, or, where it was only renamed, write {view['org']} into {_record()}"
        )
    before = _deployed_before(view) if found is None else set()
    record: Data = found or {"org": view["org"], "claims": []}
    known = {(claim["kind"], claim["name"]): claim for claim in record["claims"]}
    news = []
    parents: list[Claim] = []
    for claim in __salt__["metis_claims.of"](view):
        key = (claim["kind"], claim["name"])
        if key in known:
            more = [one for one in claim["for"] if one not in known[key]["for"]]
            known[key]["for"] += more
            news += [claim["name"]] * bool(more)
            continue
        made = claim | _before(claim)
        if made["before"] != "absent" and before & set(map(_role, claim["for"])):
            made["before"] = "absent" if claim["kind"] in _EXCLUSIVE else "unknown"
        if made["before"] == "absent":
            parents += _parents(claim)
        known[key] = made
        news.append(claim["name"])
    # What is said first of a thing is what counts.
    record["claims"] = __salt__["metis_claims.merged"]([*known.values(), *parents])
    return record, news


def mark(view: View, test: bool = False) -> list[str]:
    """
    Mark what this host's view claims. What is there and carries no mark is not the organization's.

    view
        The host's view.
    test
        Change nothing.

    Returns the names of what was not marked.

    Raises ``CommandExecutionError`` where the host is another organization's.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_ownership.mark '{...}' test=True
    """
    record, news = _completed(view)
    if news and not test:
        _write(record)
    return news


def known(view: View) -> list[Claim]:
    """
    The claims of this host, those of a deploy from before there were marks too.

    view
        The host's view.

    Returns claims as ``metis_claims.of`` does, each with ``before``: ``absent`` or, of a folder,
    ``empty``, where the thing is the organization's, else ``there`` or ``unknown``.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_ownership.known '{...}'
    """
    found = _read()
    if found is None:
        if not _deployed_before(view):
            return []
        found, _ = _completed(view)
    elif found["org"] != view["org"]:
        _completed(view)
    claims: list[Claim] = found["claims"]
    return claims


def former_accounts(view: View) -> list[str]:
    """
    The accounts of MariaDB that are the organization's, and that its view has no more.

    view
        The host's view.

    CLI Example:

    .. code-block:: bash

        salt demo2 metis_ownership.former_accounts '{...}'
    """
    return [claim["name"] for claim in _former_accounts(known(view), view)]


def forget_former_accounts(view: View) -> None:
    """
    Take the mark from these accounts, which have gone.

    view
        The host's view.

    CLI Example:

    .. code-block:: bash

        salt demo2 metis_ownership.forget_former_accounts '{...}'
    """
    claims = known(view)
    former = _former_accounts(claims, view)
    keep(view, [claim for claim in claims if claim not in former])


def _former_accounts(claims: list[Claim], view: View) -> list[Claim]:
    wanted = [one["name"] for one in __salt__["metis_claims.of"](view) if one["kind"] == "account"]
    ours = [one for one in claims if one["kind"] == "account" and one["before"] == "absent"]
    return [one for one in ours if one["name"] not in wanted]


def keep(view: View, claims: list[Claim]) -> None:
    """
    Have these claims be all that there are; without one, the mark is gone.

    view
        The host's view.
    claims
        As ``known`` returns them.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_ownership.keep '{org: acme}' '[]'
    """
    if claims:
        _write({"org": view["org"], "claims": claims})
    elif os.path.isdir(FOLDER):
        try:
            shutil.rmtree(FOLDER)
        except OSError as err:
            raise salt.exceptions.CommandExecutionError(f"{FOLDER}: {err.strerror}") from err
