"""
The phases of ``metis.bootstrap``: hosts that are no minions yet become such, over ssh.
"""

import functools
from collections.abc import Callable
from typing import Any

__virtualname__ = "metis_bootstrap"

State = dict[str, Any]

# Seconds for a minion to come to the master once it is installed.
_COMES = 60


def _phase(function: Callable[..., State]) -> Callable[..., State]:
    @functools.wraps(function)
    def phase(name: str, *args: Any, **kwargs: Any) -> State:
        return __salt__["metis_run.phase"](function, name, args, kwargs)

    return phase


def _invalid(ret: State, problems: list[str]) -> State:
    problems[-1] += "\nno host was touched"
    return __salt__["metis_run.fail"](ret, problems, "invalid-input")


def _wanted() -> list[str]:
    return sorted({instance["host"] for instance in __salt__["metis_run.now"]()["instances"]})


@_phase
def reachable(name: str) -> State:
    """
    Every host is a minion already, or is reached over ssh and can become one.

    name
        What the state is called.
    """
    ret = __salt__["metis_run.state"](name)
    run = __salt__["metis_run.now"]()
    say = __salt__["metis_run.say"]
    place, hosts = __pillar__.get("ssh"), run["topology"]["hosts"]
    found = None
    if place is not None and place != "ask":
        found = __salt__["metis_sshfile.read"](str(place), list(hosts))
        if found["faults"]:
            return _invalid(ret, found["faults"])
    wanted = _wanted()
    old = __salt__["metis_bootstrap.minions"](wanted)
    new = [host for host in wanted if host not in old]
    run["bootstrap"] = {"new": {}, "old": old}
    if old:
        say(f"minions already: {', '.join(old)}")
    if not new:
        return ret | {"comment": "every host is a minion already"}
    say(f"no minions that answer: {', '.join(new)}")
    if found is None and __salt__["metis_sshfile.may_ask"]():
        found = __salt__["metis_sshfile.ask"](new)
    if found is None:
        how = 'name a file with ssh access to them, pillar=\'{"ssh": "/root/acme-ssh.yaml"}\''
        return _invalid(ret, [f"{', '.join(new)}: no minions that answer: {how}"])
    addresses = {host: hosts[host] for host in new}
    problems, access = __salt__["metis_sshfile.access"](found, addresses, str(place or "ask"))
    store = run["topology"]["store"]["address"]
    master = __salt__["metis_bootstrap.master_address"](found["common"].get("master"), store)
    if master is None:
        problems.append(
            "it is not known where hosts reach this master: write `master: <address>` into the ssh "
            "file, or `store: {address: <address>}` into the organization's file"
        )
    problems += [
        f"the key of {host} is rejected: where that was wrong, salt-key -d {host}"
        for host in __salt__["metis_bootstrap.rejected"](new)
    ]
    if problems:
        return _invalid(ret, problems)
    keep = not __opts__["test"]
    answers = __salt__["metis_bootstrap.probe"](access, master, keep, say)
    problems = _problems(answers)
    if problems:
        problems[-1] += "\nno host was touched"
        return __salt__["metis_run.fail"](ret, problems)
    source = found["common"].get("package_source")
    run["bootstrap"] |= {"new": access, "master": master, "source": source}
    say(f"every new host is reached and may be changed: {', '.join(new)}")
    return ret | {"comment": f"{', '.join(new)} can become minions"}


def _problems(answers: dict[str, dict[str, Any]]) -> list[str]:
    run = __salt__["metis_run.now"]()
    for host, answer in answers.items():
        if answer["accepted"]:
            taken = f"its host key {answer['accepted']} is taken as it came"
            kept = __salt__["metis_ssh.record"]()
            __salt__["metis_run.say"](f"  {host}: {taken}, and kept in {kept}")
        if answer["unreached"]:
            run["missing"].append(host)
    return [answer["problem"] for answer in answers.values() if answer["problem"]]


@_phase
def installed(name: str) -> State:
    """
    Every host is a minion of this master, with a key that the master made.

    name
        What the state is called.
    """
    ret = __salt__["metis_run.state"](name)
    run = __salt__["metis_run.now"]()
    known = run["bootstrap"]
    new = list(known["new"])
    version = __salt__["metis_bootstrap.version"]()
    what = f"salt-minion {version} with a key of its own, accepted"
    if not new:
        return ret | {"comment": "every host is a minion already"}
    if __opts__["test"]:
        for host in new:
            __salt__["metis_run.say"](
                f"  {host}: would get {what}, look for the master at {known['master']}, and be "
                "made ready then"
            )
        # What is not there yet cannot be asked what would change on it.
        run["hosts"] = known["old"]
        run["instances"] = [i for i in run["instances"] if i["host"] not in new]
        told = f"{', '.join(new)} would become minions"
        changes = {host: [what] for host in new}
        return ret | {"result": None, "changes": changes, "comment": told}
    answers = __salt__["metis_bootstrap.install"](
        known["new"], known["master"], known["source"], _COMES, __salt__["metis_run.say"]
    )
    problems = _problems(answers)
    done = [host for host, answer in answers.items() if not answer["problem"]]
    ret["changes"] = {host: [what] for host in done}
    # What is needed no more is not kept, even in memory.
    known["new"] = {}
    if done:
        __salt__["metis_run.say"](f"minions now: {', '.join(done)}")
    if problems:
        return __salt__["metis_run.fail"](ret, problems)
    return ret | {"comment": f"{', '.join(done)} are minions now"}
