"""
The run of a verb: what is known of it, and what the operator is told.

The phases of a verb (``_states/metis*.py``) share one run through ``__context__``, which lives as
long as the orchestration: the request, and each host's instances as last seen. Progress goes to
standard error, as it happens: an orchestration runs in the process of salt-run. The same, and what
hosts answered, goes to the run's journal.

Runs on the master.
"""

import contextvars
import json
import os
import pwd
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

import salt.exceptions

__virtualname__ = "metis_run"

Run = dict[str, Any]
State = dict[str, Any]

# Salt ends a run at its first failure, but not a dry run.
_NOT_TRIED = {"result": False, "comment": "not tried, as an earlier step failed"}


class _Interrupted(SystemExit):
    """
    The operator wants the run to end; the phase cleans up first. Salt hides a KeyboardInterrupt
    while it waits for events, and asyncio hides whatever is not one of these two.
    """


def begin(verb: str, phases: list[str]) -> None:
    """
    Begin a run: whatever was known of another is forgotten.

    verb
        Its name.
    phases
        The names of its phases, in their order.
    """
    __context__["metis"] = {
        "begun": time.monotonic(),
        "verb": verb,
        "phases": phases,
        "org": "",
        "id": "",
        "lock": None,
        "missing": [],
        "seen": {},
        "predicted": {},
        "ready": True,
        "trying": False,
        "interrupted": 0,
    }


def now() -> Run:
    """
    What is known of the run: ``verb``, ``org``, ``topology`` and ``instances`` as
    ``metis_verb.request`` returns them, ``ready`` (whether the next phase may be tried),
    ``trying`` (whether one is tried), ``interrupted`` (the exit code that a signal asked for while
    it was), ``missing`` (hosts that did not answer in it), ``seen`` (host to its instances as last
    looked at, as ``metis_instance.status`` returns them) and ``predicted`` (host to the states that
    would change, by their tag).
    """
    return __context__["metis"]


def _user() -> str:
    return os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name


def keep_journal(org: str) -> None:
    """
    Begin the run's journal.

    org
        The organization.
    """
    run = now()
    run["org"] = org
    begun = {"verb": run["verb"], "asked": __salt__["metis_verb.given"](__pillar__)}
    begun |= {"test": __opts__["test"], "user": _user(), "pid": os.getpid()}
    try:
        run["id"] = __salt__["metis_journal.begin"](org, begun)
    except OSError as err:
        say(f"this run has no journal: {err}")


def note(event: str, **entry: Any) -> None:
    """
    Write an entry into the run's journal, where it has one.

    event
        As ``metis_journal.write`` knows them.
    entry
        What belongs to it.
    """
    run = now()
    if not run["id"]:
        return
    try:
        __salt__["metis_journal.write"](run["org"], run["id"], event, entry)
    except OSError as err:
        # A verb is not ended in the middle for that.
        run["id"] = ""
        say(f"the journal of this run ends here: {err}")


def hold(org: str, verb: str, run: str) -> dict[str, Any]:
    """
    Take an organization's lock for this process.

    org
        The organization.
    verb
        For what.
    run
        The run's name, as others are told it.

    Returns ``{"file": ..., "locked": ..., "before": ...}``: the open file, for
    ``metis_lock.release``; or in words who has it; and in words who had it and was cut off.

    Raises ``CommandExecutionError`` where the master's disk does not let it.
    """
    holder = {"run": run, "verb": verb, "user": _user(), "pid": os.getpid(), "begun": time.time()}
    try:
        taken = __salt__["metis_lock.take"](org, holder)
    except OSError as err:
        raise salt.exceptions.CommandExecutionError(
            f"the lock of {org} cannot be taken: {err}"
        ) from err
    locked = before = ""
    if taken["held"] is not None:
        locked = (
            f"{org} is locked by {described(taken['held'])}: wait for its end, or, where it hangs, "
            f"end that process; salt-run metis.unlock org={org} lets go of the lock beside it"
        )
    elif taken["before"]:
        before = f"the lock of {described(taken['before'])} is taken over: that run was cut off"
    return {"file": taken["file"], "locked": locked, "before": before}


def lock() -> list[str]:
    """
    Take the organization's lock for this run.

    Returns who has it, or nothing.

    Raises ``CommandExecutionError`` where the master's disk does not let it.
    """
    run = now()
    taken = hold(run["org"], run["verb"], run["id"])
    if taken["locked"]:
        return [taken["locked"]]
    run["lock"] = taken["file"]
    if taken["before"]:
        say(taken["before"])
    return []


def described(holder: dict[str, Any]) -> str:
    """
    Whose a lock is, in words.

    holder
        As ``metis_lock.holder`` returns it.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_run.described '{verb: deploy, user: root, pid: 7, run: x, begun: 0}'
    """
    if not holder:
        return "a run that just begins"
    age = max(0, time.time() - holder["begun"])
    return (
        f"metis.{holder['verb']} of {holder['user']} (process {holder['pid']}, run "
        f"{holder['run']}, begun {age:.0f} s ago)"
    )


def _end(result: str, reason: str) -> None:
    run = now()
    seconds = round(time.monotonic() - run["begun"], 1)
    note("end", result=result, reason=reason, seconds=seconds)
    if run["lock"] is not None:
        __salt__["metis_lock.release"](run["lock"])
        run["lock"] = None


def heed_signals() -> None:
    """
    Have an interrupt from the terminal end this run in order. Salt itself would end it with a
    traceback, and so it does where the master is gone that it hands its result to.
    """
    if threading.current_thread() is not threading.main_thread():
        # As where another program runs an orchestration; its signals are its own.
        return
    own, pid = contextvars.copy_context(), os.getpid()

    def interrupted(number: int, frame: Any) -> None:
        if os.getpid() != pid:
            # What salt-ssh forked off: the run is its parent's.
            raise SystemExit(128 + number)
        own.run(_interrupted, 128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupted)
    usual = sys.excepthook

    def told(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if not isinstance(error, OSError):
            usual(kind, error, trace)
            return
        words = "salt-run cannot tell the master how this ended: salt-run metis.report has it"
        print(words, file=sys.stderr, flush=True)

    sys.excepthook = told


def _interrupted(code: int) -> None:
    run = now()
    if run["trying"] and not run["interrupted"]:
        run["interrupted"] = code
        raise _Interrupted(code)
    # Nothing is to be cleaned up, or the operator does not want to wait for it.
    _leave(code)


def _leave(code: int) -> NoReturn:
    """End the process here, as Salt would do it with a traceback."""
    say("interrupted; hosts end what they were told. To go on:")
    say(f"  {_command()}")
    _end("interrupted", "")
    os._exit(code)


def _command() -> str:
    """The command that the operator gave."""
    asked = __salt__["metis_verb.given"](__pillar__)
    pillar = f" pillar='{json.dumps(asked)}'" if asked else ""
    test = " test=True" if __opts__["test"] else ""
    return f"salt-run state.orchestrate metis.{now()['verb']}{pillar}{test}"


def _with_reason(ret: State) -> State:
    """A failed phase, as a program and as an operator want to read why and how to go on."""
    run = now()
    usual = "hosts-missing" if run["missing"] else "failed"
    reason = ret.get("reason") or usual
    lines = [ret["comment"], f"reason: {reason}"]
    if run["id"]:
        lines.append(f"all of it: salt-run metis.report run={run['id']}")
    if reason == "invalid-input":
        # What was asked for is not known: a misspelt filter must not be gone on without.
        lines.append("mend that, and give the verb again")
    else:
        lines.append(f"once that is mended, go on with\n  {_command()}")
    return ret | {"reason": reason, "comment": "\n".join(lines)}


class _LockLostError(Exception):
    """Not for a phase to handle: what it would undo on hosts may be another run's by now."""


def go_on() -> None:
    """
    Go no further where the lock was taken from this run meanwhile: what hangs may come back, while
    another verb is at work. It ends the phase.
    """
    run = now()
    if run["lock"] is not None and not __salt__["metis_lock.is_ours"](run["org"], run["lock"]):
        raise _LockLostError("the lock was taken from this run by metis.unlock")


def _called(function: Callable[..., State], name: str, words: list[Any], options: Any) -> State:
    try:
        return function(name, *words, **options)
    finally:
        if code := now()["interrupted"]:
            # Whatever became of that on the way out.
            raise _Interrupted(code)


def _tried(function: Callable[..., State], name: str, words: list[Any], options: Any) -> State:
    try:
        go_on()
        return _called(function, name, words, options)
    except _LockLostError as err:
        return fail(state(name), [str(err)], "locked")
    except salt.exceptions.SaltException as err:
        return fail(state(name), [str(err)])
    except Exception as err:
        # An operator gets no traceback, whatever it is, and Salt shows on the terminal what is
        # logged.
        note("exception", trace=traceback.format_exc())
        wrong = f"{type(err).__name__}: {err}; that is a fault of these states"
        how = "salt-run metis.report --out=json has its place"
        return fail(state(name), [f"{wrong}: {how}"])


def phase(
    function: Callable[..., State], name: str, words: list[Any], options: dict[str, Any]
) -> State:
    """
    What every phase goes through: it is tried where those before it held, it is in the journal, one
    in which Salt itself fails is a phase that failed, and one that failed says how to go on and
    ends the run.

    function
        The state function.
    name
        What the state is called; its first argument.
    words
        Its further arguments.
    options
        Its keyword arguments.

    Returns what the function returns; where that is a failure, with ``reason`` too: ``failed``,
    ``invalid-input``, ``locked`` or ``hosts-missing`` (some host did not answer).
    """
    run = now()
    if not run["ready"]:
        return state(name) | _NOT_TRIED
    try:
        run["trying"] = True
        ret = _noted(function, name, words, options)
        run["trying"] = False
    except _Interrupted:
        _leave(run["interrupted"])
    except BaseException:
        run["trying"] = False
        _end("interrupted", "")
        raise
    return ret


def _noted(function: Callable[..., State], name: str, words: list[Any], options: Any) -> State:
    run = now()
    note("phase", name=name)
    run["missing"] = []
    begun = time.monotonic()
    ret = _tried(function, name, words, options)
    failed = ret["result"] is False
    if failed:
        run["ready"] = False
        problems = ret["comment"]
        ret = _with_reason(ret)
    entry = {"name": name, "result": ret["result"], "changes": _counted(ret["changes"])}
    entry |= {"seconds": round(time.monotonic() - begun, 1)}
    note("phase-end", **entry | ({"problems": problems} if failed else {}))
    if failed:
        _end("failed", ret["reason"])
    elif name == run["phases"][-1]:
        _end("done", "")
    return ret


def _counted(changes: dict[str, Any]) -> dict[str, int]:
    """How many changes there are of each thing, as what they are may be long."""
    return {key: len(value) if isinstance(value, list) else 1 for key, value in changes.items()}


def say(text: str) -> None:
    """
    Tell the operator a line, with the seconds since the run began.

    text
        The line.
    """
    print(f"{time.monotonic() - now()['begun']:6.1f} s  {text}", file=sys.stderr, flush=True)
    note("told", text=text)


def state(name: str) -> State:
    """
    What a phase returns that has changed nothing and found no problem.

    name
        What the state is called.
    """
    return {"name": name, "result": True, "changes": {}, "comment": ""}


def fail(ret: State, problems: list[str], reason: str | None = None) -> State:
    """
    A phase that failed: the operator is told at once.

    ret
        What the phase would return.
    problems
        Why; of each, the first line is told.
    reason
        In a word for programs: ``invalid-input`` or ``locked``; else it is told from whether every
        host answered.
    """
    for problem in problems:
        say(f"FAILED  {problem.splitlines()[0]}")
    why = {"reason": reason} if reason else {}
    return ret | {"result": False, "comment": "\n".join(problems)} | why


def demand(found: list[str]) -> None:
    """
    End a phase where something is wrong.

    found
        What is wrong.

    Raises ``CommandExecutionError`` with all of it; not where it is nothing.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_run.demand '[]'
    """
    if found:
        raise salt.exceptions.CommandExecutionError("\n".join(found))
