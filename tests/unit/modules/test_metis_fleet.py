"""Jobs over hosts that answer, are busy, die, or never were there, in a time of its own."""

from __future__ import annotations

import heapq
import itertools
import logging
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from unittest.mock import Mock, create_autospec

import pytest
import salt.client
import salt.key
import salt.utils.event
from salt.exceptions import CommandExecutionError, SaltClientError, SaltReqTimeoutError

from _modules import metis_fleet

FOREVER = float("inf")
Answers = dict[str, dict[str, Any]]


@dataclass
class Host:
    """A minion: when it has its result, and until when it lives."""

    ends: float = 0.5
    lives: float = FOREVER
    # Its return is in the job cache, but the event did not come.
    unheard: bool = False
    # Nothing of it reaches the master.
    lost: bool = False
    retcode: int = 0


class Master:
    """What a local client of Salt sees of a fleet, second by second."""

    def __init__(self, hosts: dict[str, Host]) -> None:
        self.hosts = hosts
        self.now = 1000.0
        self.jobs: list[tuple[Any, ...]] = []
        self.cached: dict[str, Any] = {}
        self._order = itertools.count()
        self._events: list[tuple[float, int, str, dict[str, Any]]] = []
        self.jid = ""
        self.client = create_autospec(salt.client.LocalClient, instance=True)
        self.client.__enter__.return_value = self.client
        self.client.event = create_autospec(salt.utils.event.SaltEvent, instance=True)
        self.client.run_job.side_effect = self._run_job
        self.client.get_cache_returns.side_effect = self._returns
        self.client.event.get_event.side_effect = self._event

    def monotonic(self) -> float:
        """Give the time, which passes only while somebody waits for an event."""
        return self.now

    @property
    def passed(self) -> float:
        """Seconds since the beginning."""
        return self.now - 1000.0

    def fires(self, after: float, tag: str, data: dict[str, Any]) -> None:
        """Put an event on the bus, some seconds from now."""
        heapq.heappush(self._events, (self.now + after, next(self._order), tag, data))

    def _run_job(
        self,
        tgt: list[str],
        fun: str,
        arg: Any = (),
        tgt_type: str = "glob",
        timeout: Any = None,
        kwarg: Any = None,
        listen: bool = False,
    ) -> dict[str, Any]:
        assert tgt_type == "list"
        assert timeout
        # Events that come before somebody listens are not kept.
        assert listen or self.jobs
        jid = f"2026{len(self.jobs):04d}"
        self.jobs.append((fun, sorted(tgt), arg, kwarg))
        known = [host for host in tgt if host in self.hosts]
        if not known:
            return {}
        for host in known:
            if fun == "saltutil.find_job":
                self._find_job(jid, host)
            else:
                self.jid = jid
                self._job(jid, host)
        return {"jid": jid, "minions": known}

    def _job(self, jid: str, name: str) -> None:
        host = self.hosts[name]
        self.fires(0.1, f"salt/job/{jid}/new", {"jid": jid, "minions": [name]})
        if host.ends >= host.lives or host.lost:
            return
        data = {"id": name, "jid": jid, "return": f"from {name}", "retcode": host.retcode}
        self.cached[name] = (self.now + host.ends, data)
        self.fires(0.2, f"salt/job/{jid}/prog/{name}/1", {"id": name, "data": {}})
        if not host.unheard:
            self.fires(host.ends, f"salt/job/{jid}/ret/{name}", data)

    def _find_job(self, jid: str, name: str) -> None:
        host = self.hosts[name]
        if self.passed >= host.lives:
            return
        running = {"jid": self.jid, "pid": 5} if self.passed < host.ends else {}
        data = {"id": name, "jid": jid, "return": running, "retcode": 0}
        self.fires(0.3, f"salt/job/{jid}/ret/{name}", data)

    def _returns(self, jid: str) -> dict[str, Any]:
        assert jid == self.jid
        return {
            name: {"ret": data["return"]}
            for name, (moment, data) in self.cached.items()
            if moment <= self.now
        }

    def _event(
        self, wait: float, tag: str, full: bool, auto_reconnect: bool = False
    ) -> dict[str, Any] | None:
        assert wait > 0
        assert full
        until = self.now + wait
        while self._events and self._events[0][0] <= until:
            moment, _, found, data = heapq.heappop(self._events)
            self.now = max(self.now, moment)
            if found.startswith(tag):
                return {"tag": found, "data": data}
        self.now = until
        return None


@pytest.fixture
def configure_loader_modules() -> Iterator[dict[ModuleType, dict[str, Any]]]:
    with socket.create_server(("127.0.0.1", 0)) as master:
        opts = {"interface": "127.0.0.1", "ret_port": master.getsockname()[1]}
        yield {metis_fleet: {"__opts__": opts | {"conf_file": "/etc/salt/master"}}}


@pytest.fixture
def seen() -> list[tuple[str, str]]:
    """Whom progress was told of, and what."""
    return []


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, seen: list[tuple[str, str]]) -> Any:
    def tell(host: str, answer: dict[str, Any]) -> None:
        seen.append((host, answer["answer"]))

    def run(
        master: Master, hosts: list[str] | None = None, timeout: float = 900, told: bool = True
    ) -> Answers:
        monkeypatch.setattr(metis_fleet.time, "monotonic", master.monotonic)
        opened = create_autospec(salt.client.get_local_client, return_value=master.client)
        monkeypatch.setattr(metis_fleet.salt.client, "get_local_client", opened)
        wanted = list(master.hosts) if hosts is None else hosts
        job = (wanted, "metis_host.reach", {"to": "running"})
        found = metis_fleet.run(*job, timeout, tell if told else None)
        assert list(found) == wanted
        return found

    return run


def _answers(found: Answers) -> dict[str, str]:
    return {host: answer["answer"] for host, answer in found.items()}


def test_every_host_answers(run: Any, seen: list[tuple[str, str]]) -> None:
    master = Master({"h1": Host(ends=3), "h2": Host(ends=1, retcode=2)})
    assert run(master) == {
        "h1": {"answer": "returned", "retcode": 0, "return": "from h1"},
        "h2": {"answer": "returned", "retcode": 2, "return": "from h2"},
    }
    assert master.jobs == [("metis_host.reach", ["h1", "h2"], (), {"to": "running"})]
    assert master.passed == 3
    # As they come, not in the end.
    assert seen == [("h2", "returned"), ("h1", "returned")]


def test_no_host_is_no_job(run: Any) -> None:
    master = Master({})
    assert run(master, []) == {}
    assert master.jobs == []


def test_a_host_without_an_accepted_key_is_missing(run: Any) -> None:
    master = Master({"h1": Host()})
    found = run(master, ["h9", "h1"])
    assert found["h9"] == {"answer": "missing", "retcode": None, "return": None}
    assert found["h1"]["answer"] == "returned"
    assert master.passed < 1


def test_where_no_host_has_a_key_nobody_is_waited_for(run: Any) -> None:
    master = Master({})
    assert _answers(run(master, ["h8", "h9"])) == {"h8": "missing", "h9": "missing"}
    assert master.passed == 0


def test_a_silent_host_is_asked_again_and_then_given_up(
    run: Any, seen: list[tuple[str, str]]
) -> None:
    master = Master({"h1": Host(), "h2": Host(lives=0)})
    found = run(master)
    assert _answers(found) == {"h1": "returned", "h2": "silent"}
    assert found["h2"] == {"answer": "silent", "retcode": None, "return": None}
    asked = [job[:3] for job in master.jobs[1:]]
    assert asked
    assert set(map(str, asked)) == {str(("saltutil.find_job", ["h2"], [master.jid]))}
    assert 20 <= master.passed <= 40
    # Each time that it had not said that it works still.
    assert seen == [("h1", "returned"), *([("h2", "quiet")] * 3)]


def test_a_busy_host_is_waited_for_as_long_as_it_says_so(
    run: Any, seen: list[tuple[str, str]]
) -> None:
    master = Master({"h1": Host(ends=300)})
    assert _answers(run(master)) == {"h1": "returned"}
    assert master.passed == 300
    assert ("h1", "working") in seen
    assert seen[-1] == ("h1", "returned")


def test_a_host_that_dies_at_work_is_silent(run: Any, seen: list[tuple[str, str]]) -> None:
    master = Master({"h1": Host(ends=300, lives=100)})
    assert _answers(run(master)) == {"h1": "silent"}
    assert ("h1", "working") in seen
    assert 100 < master.passed < 150


def test_one_answer_that_is_missed_is_not_the_end(run: Any) -> None:
    master = Master({"h1": Host(ends=45)})
    unheard = itertools.cycle([True, False])
    find_job = master._find_job

    def sometimes(jid: str, name: str) -> None:
        if not next(unheard):
            find_job(jid, name)

    master._find_job = sometimes  # type: ignore[method-assign]
    assert _answers(run(master)) == {"h1": "returned"}


def test_a_return_whose_event_was_missed_is_in_the_job_cache(run: Any) -> None:
    master = Master({"h1": Host(ends=5, unheard=True), "h2": Host()})
    found = run(master)
    assert found["h1"]["answer"] == "returned"
    assert found["h1"]["return"] == "from h1"
    assert master.passed < 60


def test_a_host_that_forgot_the_job_was_cut_off(run: Any) -> None:
    # As after a restart of its minion: it answers, and knows nothing of the job.
    assert _answers(run(Master({"h1": Host(ends=5, lost=True)}))) == {"h1": "cut off"}


def test_a_host_that_forgot_the_job_and_went_away_is_silent(run: Any) -> None:
    assert _answers(run(Master({"h1": Host(ends=5, lost=True, lives=12)}))) == {"h1": "silent"}


def test_a_host_is_up_where_it_takes_a_connection_or_refuses_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(metis_fleet, "_PORT", taken.getsockname()[1])
        assert metis_fleet.up(["127.0.0.1"]) == {"127.0.0.1": True}
    assert metis_fleet.up(["127.0.0.1", "nowhere.invalid"]) == {
        "127.0.0.1": True,
        "nowhere.invalid": False,
    }


def test_keys_that_were_not_accepted_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = create_autospec(salt.key.Key, instance=True)
    kept.all_keys.return_value = {
        "minions": ["h1"],
        "minions_pre": ["h2"],
        "minions_rejected": ["h3"],
        "minions_denied": ["h1"],
    }
    monkeypatch.setattr(salt.key, "get_key", lambda opts: kept)
    assert metis_fleet.refused_keys() == {"h2": "unaccepted", "h3": "rejected"}


def test_a_host_that_takes_too_long_is_late(run: Any) -> None:
    master = Master({"h1": Host(ends=1000), "h2": Host(ends=2)})
    found = run(master, timeout=50)
    assert _answers(found) == {"h1": "late", "h2": "returned"}
    assert found["h1"] == {"answer": "late", "retcode": None, "return": None}
    assert 50 <= master.passed < 52


def test_a_master_that_takes_no_job_is_told(run: Any) -> None:
    master = Master({"h1": Host()})
    master.client.run_job.side_effect = SaltClientError("Salt request timed out")
    with pytest.raises(CommandExecutionError) as raised:
        run(master)
    assert "Salt request timed out" in str(raised.value)
    assert "systemctl status salt-master" in str(raised.value)


def test_what_salt_logs_of_that_is_not_for_the_operator(
    run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    salts = logging.getLogger("salt.transport.zeromq")

    def times_out(*args: Any, **kwargs: Any) -> None:
        salts.error("Request timed out while waiting for a response. reconnecting.")
        raise SaltClientError("Salt request timed out")

    master = Master({"h1": Host()})
    master.client.run_job.side_effect = times_out
    with pytest.raises(CommandExecutionError, match="does not take jobs"):
        run(master)
    assert caplog.messages == []
    salts.error("of somebody else")
    assert caplog.messages == ["of somebody else"]


def test_a_master_that_ended_while_it_took_a_job_is_told(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    master = Master({"h1": Host()})
    master.client.run_job.side_effect = SaltClientError("Salt request timed out")
    gone = CommandExecutionError("the Salt master does not run")
    monkeypatch.setattr(metis_fleet, "_require_master", Mock(side_effect=[None, gone]))
    with pytest.raises(CommandExecutionError, match="the Salt master does not run"):
        run(master)


def test_a_master_that_is_down_is_told_at_once(
    run: Any,
    configure_loader_modules: dict[ModuleType, dict[str, Any]],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        configure_loader_modules[metis_fleet]["__opts__"]["ret_port"] = gone.getsockname()[1]
    master = Master({"h1": Host()})
    with pytest.raises(CommandExecutionError) as raised:
        run(master)
    assert "the Salt master does not run" in str(raised.value)
    assert master.jobs == []


@pytest.mark.parametrize(("back", "answer"), [(15, "returned"), (FOREVER, "")])
def test_a_master_that_goes_down_meanwhile_may_come_back(
    run: Any, monkeypatch: pytest.MonkeyPatch, back: float, answer: str
) -> None:
    master = Master({"h1": Host(ends=30)})

    def require() -> None:
        if 2 < master.passed < back:
            raise CommandExecutionError("the Salt master does not run")

    monkeypatch.setattr(metis_fleet, "_require_master", require)
    if answer:
        assert _answers(run(master)) == {"h1": answer}
        return
    with pytest.raises(CommandExecutionError):
        run(master)
    assert master.passed < 60


@pytest.mark.parametrize(
    ("ends", "refusals", "answer"), [(15, 1, "returned"), (500, 1000, "silent")]
)
def test_a_question_that_is_not_heard_counts_as_no_answer(
    run: Any, ends: float, refusals: int, answer: str
) -> None:
    master = Master({"h1": Host(ends=ends)})
    refused = iter([True] * refusals)
    find_job = master._find_job

    def ask(jid: str, name: str) -> None:
        if next(refused, False):
            raise SaltReqTimeoutError("Message timed out")
        find_job(jid, name)

    master._find_job = ask  # type: ignore[method-assign]
    assert _answers(run(master)) == {"h1": answer}


def test_what_other_jobs_say_is_none_of_this_one(run: Any, seen: list[tuple[str, str]]) -> None:
    master = Master({"h1": Host(ends=5)})
    other = {"id": "h1", "jid": "2025", "return": "of another", "retcode": 1}
    master.fires(1, "salt/job/2025/ret/h1", other)
    master.fires(1, "salt/job/2025/ret", other)
    master.fires(1, "salt/auth", {"id": "h1"})
    stranger = {"id": "h7", "jid": "20260000", "return": "not asked", "retcode": 0}
    master.fires(2, "salt/job/20260000/ret/h7", stranger)
    assert run(master)["h1"]["return"] == "from h1"
    assert seen == [("h1", "returned")]


def test_a_busy_bus_keeps_no_host_from_being_given_up(run: Any) -> None:
    master = Master({"h1": Host(lives=0)})
    for second in range(600):
        master.fires(second, f"salt/job/2025{second}/new", {"jid": "x"})
    assert _answers(run(master)) == {"h1": "silent"}
    assert master.passed < 60


def test_a_wait_can_be_without_progress(run: Any, seen: list[tuple[str, str]]) -> None:
    assert _answers(run(Master({"h1": Host(ends=30)}), told=False)) == {"h1": "returned"}
    assert seen == []
