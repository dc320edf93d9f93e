"""consul's HTTP API: asked of the real consul, and of a server that answers as none should."""

from __future__ import annotations

import base64
import io
import json
import socket
import stat
import tarfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from _modules import metis_consul
from tests.unit import loopback
from tests.unit.loopback import Loopback
from tests.unit.sandbox.running import Program, call, free_ports

Agent = dict[str, Any]
Registers = Callable[..., dict[str, str]]
MISSING = "carrierService_10.0.0.9_1"


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"test{uuid.uuid4().hex[:8]}"


def _at(server: Loopback) -> Agent:
    return {"address": "127.0.0.1", "port": server.port}


CALLS = [
    pytest.param(lambda a: metis_consul.cluster(a), id="cluster"),
    pytest.param(lambda a: metis_consul.key(a, "metis/x"), id="key"),
    pytest.param(lambda a: metis_consul.set_key(a, "metis/x", "1"), id="set_key"),
    pytest.param(lambda a: metis_consul.services(a), id="services"),
    pytest.param(lambda a: metis_consul.wait_for_cluster(a, 1, 0), id="wait_for_cluster"),
    pytest.param(
        lambda a: metis_consul.wait_for_service(a, {"id": "x", "name": "x"}, 0),
        id="wait_for_service",
    ),
    pytest.param(lambda a: metis_consul.quorum(a, 1), id="quorum"),
    pytest.param(lambda a: metis_consul.servers(a), id="servers"),
    pytest.param(lambda a: metis_consul.expel(a, "10.0.0.1:8200", "x", 0), id="expel"),
    pytest.param(lambda a: metis_consul.leave(a), id="leave"),
    pytest.param(lambda a: metis_consul.deregister(a, "x"), id="deregister"),
]


@pytest.mark.parametrize("ask", CALLS)
def test_an_agent_that_is_not_there_is_named(closed: Agent, ask: Any) -> None:
    with pytest.raises(CommandExecutionError) as raised:
        ask(closed)
    assert str(raised.value) == f"consul at 127.0.0.1:{closed['port']} cannot be reached"


@pytest.mark.parametrize("ask", CALLS)
def test_an_agent_that_is_silent_is_given_up(silent: Agent, ask: Any) -> None:
    with pytest.raises(CommandExecutionError) as raised:
        ask(silent)
    assert str(raised.value) == f"consul at 127.0.0.1:{silent['port']} does not answer"


@pytest.mark.parametrize("ask", CALLS)
def test_what_consul_says_of_an_error_is_told(server: Loopback, ask: Any) -> None:
    server.answers = [loopback.gives(b"No cluster leader\n", status=500)]
    with pytest.raises(CommandExecutionError, match=r"says 500 to .* No cluster leader$"):
        ask(_at(server))


@pytest.mark.parametrize("answer", [b"<html>not consul</html>", b"null", b""])
@pytest.mark.parametrize("ask", CALLS[:-2])
def test_another_program_on_the_port_is_told_from_consul(
    server: Loopback, ask: Any, answer: bytes
) -> None:
    server.answers = [loopback.gives(answer)]
    with pytest.raises(CommandExecutionError, match=f"127.0.0.1:{server.port} is not consul"):
        ask(_at(server))


def test_a_listening_agent_and_a_stopped_one(agent: Agent, closed: Agent) -> None:
    assert metis_consul.listens(agent) is True
    assert metis_consul.listens(closed) is False


def test_of_a_silent_host_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metis_consul, "TIMEOUT", 0.1)
    # A queue of connections that is full: the host does not even refuse.
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        place = listening.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(place)
        try:
            with pytest.raises(CommandExecutionError, match="cannot be reached: timed out"):
                metis_consul.listens({"address": place[0], "port": place[1]})
        finally:
            for one in waiting:
                one.close()


# The cluster


def test_a_cluster_has_a_leader_among_its_peers(agent: Agent) -> None:
    seen = metis_consul.cluster(agent)
    assert seen["peers"] == [seen["leader"]]
    assert seen["leader"].startswith("127.0.0.1:")
    assert metis_consul.wait_for_cluster(agent, 1, 0) == seen


def test_before_the_election_there_is_no_leader(leaderless: Agent) -> None:
    assert metis_consul.cluster(leaderless) == {"leader": "", "peers": []}


def test_waiting_for_peers_ends_with_what_was_seen_last(agent: Agent, leaderless: Agent) -> None:
    begun = time.monotonic()
    assert metis_consul.wait_for_cluster(leaderless, 3, 0.3) == {"leader": "", "peers": []}
    assert len(metis_consul.wait_for_cluster(agent, 3, 0.3)["peers"]) == 1
    assert 0.6 <= time.monotonic() - begun < 5


def test_a_cluster_that_comes_late_is_waited_for(server: Loopback) -> None:
    none = [loopback.gives(b'""'), loopback.gives(b"[]")]
    leader = loopback.gives(b'"10.0.0.1:8200"')
    alone = [leader, loopback.gives(b'["10.0.0.1:8200"]')]
    both = [leader, loopback.gives(b'["10.0.0.1:8200", "10.0.0.2:8200"]')]
    server.answers = [loopback.gives(b"", status=500), *none, *alone, *both]
    assert metis_consul.wait_for_cluster(_at(server), 2, 10)["peers"] == [
        "10.0.0.1:8200",
        "10.0.0.2:8200",
    ]


# Keys


@pytest.mark.parametrize("value", ["10.0.0.100_9090", "", "a.example_1", "ü"])
def test_a_key_is_read_as_it_was_written(agent: Agent, name: str, value: str) -> None:
    key = f"metis/{name}_ip_port"
    assert metis_consul.key(agent, key) is None
    metis_consul.set_key(agent, key, value)
    assert metis_consul.key(agent, key) == value
    assert call("GET", agent["port"], f"/v1/kv/{key}?raw")[1] == value
    metis_consul.set_key(agent, key, "10.0.0.101_9090")
    assert metis_consul.key(agent, key) == "10.0.0.101_9090"


def test_a_value_that_is_no_text_is_another_value(server: Loopback) -> None:
    answer = [{"Value": base64.b64encode(b"10.0.0.101_9090\xff").decode()}]
    server.answers = [loopback.gives(json.dumps(answer).encode())]
    assert metis_consul.key(_at(server), "metis/x") == "10.0.0.101_9090\ufffd"


def test_without_a_leader_no_key_is_absent(leaderless: Agent) -> None:
    # Taken for absent, it would be written anew.
    with pytest.raises(CommandExecutionError, match=r"says 500 .*No cluster leader"):
        metis_consul.key(leaderless, "metis/dataCenter_ip_port")


def test_consul_s_own_words_come_before_the_timeout() -> None:
    # rpc_hold_timeout, 7 s, and a sixteenth of it at random.
    assert metis_consul.TIMEOUT > 7 * 17 / 16


def test_a_key_that_consul_does_not_write_is_told(server: Loopback) -> None:
    server.answers = [loopback.gives(b"false")]
    with pytest.raises(CommandExecutionError, match="did not write metis/x"):
        metis_consul.set_key(_at(server), "metis/x", "1")


# Services


@pytest.mark.parametrize(
    ("states", "worst"),
    [
        ((), "passing"),
        (("passing",), "passing"),
        (("passing", "warning"), "warning"),
        (("warning", "critical", "passing"), "critical"),
    ],
)
def test_a_service_is_as_bad_as_its_worst_check(
    agent: Agent, registers: Registers, states: tuple[str, ...], worst: str
) -> None:
    service = registers(*states)
    assert metis_consul.services(agent)[service["id"]] == worst


def test_services_are_looked_up_without_a_leader_too(
    leaderless: Agent, registers: Registers
) -> None:
    service = registers("critical", on=leaderless)
    assert metis_consul.services(leaderless) == {service["id"]: "critical"}
    metis_consul.deregister(leaderless, service["id"])
    assert metis_consul.services(leaderless) == {}


def test_a_registration_is_removed(agent: Agent, registers: Registers) -> None:
    service = registers("passing")
    metis_consul.deregister(agent, service["id"])
    assert service["id"] not in metis_consul.services(agent)


def test_removing_what_is_not_registered_is_no_error(agent: Agent) -> None:
    metis_consul.deregister(agent, MISSING)


def test_a_service_that_passes_is_not_waited_for(agent: Agent, registers: Registers) -> None:
    service = registers("passing")
    begun = time.monotonic()
    assert metis_consul.wait_for_service(agent, service, 30) == "passing"
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize(("state", "timeout"), [("warning", 0), ("critical", 0), ("absent", 0.2)])
def test_what_does_not_pass_is_told_when_the_time_is_over(
    agent: Agent, registers: Registers, state: str, timeout: float
) -> None:
    absent = {"id": MISSING, "name": "carrierService"}
    service = absent if state == "absent" else registers(state)
    begun = time.monotonic()
    assert metis_consul.wait_for_service(agent, service, timeout) == state
    assert time.monotonic() - begun < 3


def test_a_service_is_seen_at_once_when_it_passes(agent: Agent, registers: Registers) -> None:
    service = registers("critical")

    def passes() -> None:
        assert call("PUT", agent["port"], f"/v1/agent/check/pass/{service['name']}-0")[0] == 200

    timer = threading.Timer(0.2, passes)
    timer.start()
    begun = time.monotonic()
    try:
        assert metis_consul.wait_for_service(agent, service, 30) == "passing"
    finally:
        timer.join()
    # Not one wait of consul's after the other: the change itself ends it.
    assert time.monotonic() - begun < 3


def test_another_instance_of_the_service_is_another(agent: Agent, registers: Registers) -> None:
    other = registers("passing") | {"id": MISSING}
    assert metis_consul.wait_for_service(agent, other, 0) == "absent"


def test_a_cluster_whose_servers_are_all_there_bears_the_loss_of_one(agent: Agent) -> None:
    assert metis_consul.wait_for_quorum(agent, 1, 30) == ""
    assert metis_consul.quorum(agent, 3) == "consul has 1 of 3 servers"
    assert metis_consul.wait_for_quorum(agent, 3, 0) == "consul has 1 of 3 servers, after 0 s"
    # The one that may be gone is no loss.
    own = metis_consul.servers(agent)[0]["address"]
    assert metis_consul.quorum(agent, 2, without="10.0.0.9:8200") == ""
    assert metis_consul.quorum(agent, 3, without=own) == "consul has 0 of 2 servers"


def test_a_server_that_is_not_well_is_named(server: Loopback) -> None:
    def one(name: str, **differs: Any) -> dict[str, Any]:
        own = {"Name": name, "Address": f"{name}:8200", "Leader": name == "a"}
        return own | {"SerfStatus": "alive", "Voter": True, "Healthy": True} | differs

    servers = [
        one("a"),
        one("b", SerfStatus="failed", Healthy=False),
        one("c", Voter=False),
    ]
    body = json.dumps({"Healthy": False, "Servers": servers}).encode()
    # As autopilot answers then.
    server.answers = [loopback.gives(body, status=429)]
    assert metis_consul.quorum(_at(server), 3) == (
        "b is failed, is not healthy; c is alive, has no vote"
    )


def test_without_a_leader_there_is_no_quorum(leaderless: Agent) -> None:
    assert "No cluster leader" in metis_consul.wait_for_quorum(leaderless, 3, 0)


# All that it knows


def test_what_consul_knew_comes_back(agent: Agent, name: str, tmp_path: Path) -> None:
    file = tmp_path / "consul.snapshot"
    metis_consul.set_key(agent, name, "before")
    metis_consul.save_snapshot(agent, str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    metis_consul.set_key(agent, name, "after")
    metis_consul.load_snapshot(agent, str(file))
    assert metis_consul.key(agent, name) == "before"


def test_a_server_of_before_does_not_keep_its_successor_out(
    agent: Agent, name: str, tmp_path: Path
) -> None:
    def nodes() -> list[str]:
        return [node["Node"] for node in json.loads(call("GET", agent["port"], path)[1])]

    path = "/v1/catalog/nodes"
    gone = {"Node": name, "ID": str(uuid.uuid4()), "Address": "10.9.9.9"}
    assert call("PUT", agent["port"], "/v1/catalog/register", json.dumps(gone))[0] == 200
    own = [node for node in nodes() if node != name]
    metis_consul.save_snapshot(agent, str(tmp_path / "snapshot"))
    metis_consul.load_snapshot(agent, str(tmp_path / "snapshot"))
    assert own
    assert nodes() == own


def test_a_snapshot_is_never_written_over_a_file(agent: Agent, tmp_path: Path) -> None:
    file = tmp_path / "consul.snapshot"
    file.write_text("precious")
    with pytest.raises(CommandExecutionError, match="File exists"):
        metis_consul.save_snapshot(agent, str(file))
    assert file.read_text() == "precious"


def _snapshot(**members: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        for member, content in members.items():
            entry = tarfile.TarInfo(member)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return made.getvalue()


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"", "is damaged"),
        (b"<html>", "is damaged"),
        (_snapshot(state=b"x"), "it has no checksums"),
        (_snapshot(state=b"x", SHA256SUMS=b"00  state\n"), "state is not what its checksum says"),
        (_snapshot(SHA256SUMS=b"00  state\n"), "state is not what its checksum says"),
        (_snapshot(state=b"x" * 9000, SHA256SUMS=b"00  state\n")[:-20], "is damaged"),
    ],
)
def test_a_snapshot_that_is_not_whole_is_none(
    server: Loopback, tmp_path: Path, sent: bytes, why: str
) -> None:
    server.answers = [loopback.gives(sent)]
    file = tmp_path / "snapshot"
    with pytest.raises(CommandExecutionError, match=why):
        metis_consul.save_snapshot(_at(server), str(file))
    with pytest.raises(CommandExecutionError, match=why):
        metis_consul.load_snapshot(_at(server), str(file))
    # What is damaged is not even offered.
    assert server.asked == ["GET /v1/snapshot"]


def test_a_snapshot_that_breaks_off_is_told(server: Loopback, tmp_path: Path) -> None:
    server.answers = [loopback.gives(b"half", length=4000)]
    with pytest.raises(CommandExecutionError, match=r"broke off its snapshot|is damaged"):
        metis_consul.save_snapshot(_at(server), str(tmp_path / "snapshot"))


def test_an_agent_has_a_version(agent: Agent) -> None:
    assert metis_consul.version(agent) == "1.8.7"


# Out of a cluster


@pytest.fixture(scope="module")
def three(
    consul_program: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[tuple[Program, Agent, str]]]:
    """A cluster of three: each server's program, its agent and its address in raft."""
    folder = tmp_path_factory.mktemp("three")
    ports = [free_ports(4) for _ in range(3)]
    found = []
    for number, (http, server, serf, wan) in enumerate(ports):
        options = [
            *("-server", "-bootstrap-expect=3", "-bind=127.0.0.1", f"-node=n{number}"),
            *(f"-data-dir={folder}/{number}", f"-http-port={http}", f"-server-port={server}"),
            *(f"-serf-lan-port={serf}", f"-serf-wan-port={wan}", "-dns-port=-1", "-grpc-port=-1"),
            *(f"-retry-join=127.0.0.1:{other[2]}" for other in ports if other[2] != serf),
            *("-retry-interval=1s", '-hcl=performance { raft_multiplier=1 leave_drain_time="0s" }'),
        ]
        program = Program([consul_program, "agent", *options], folder)
        found.append((program, {"address": "127.0.0.1", "port": http}, f"127.0.0.1:{server}"))
    try:
        assert metis_consul.wait_for_cluster(found[0][1], 3, 30)["leader"]
        assert metis_consul.wait_for_quorum(found[0][1], 3, 60) == ""
        yield found
    finally:
        for program, _, _ in found:
            program.end()


def test_servers_leave_until_one_is_left(three: list[tuple[Program, Agent, str]]) -> None:
    seen = {server["address"]: server for server in metis_consul.servers(three[0][1])}
    assert [seen[address]["name"] for _, _, address in three] == ["n0", "n1", "n2"]
    assert {server["wrong"] for server in seen.values()} == {""}
    (leader,) = [one for one in three if seen[one[2]]["leader"]]
    last, dead = [one for one in three if one is not leader]
    # One dies, and can only be expelled; the leader goes itself.
    dead[0].end()
    stays = last[1]
    assert metis_consul.expel(stays, dead[2], seen[dead[2]]["name"], 30) == ""
    assert set(metis_consul.cluster(stays)["peers"]) == {last[2], leader[2]}
    metis_consul.leave(leader[1])
    assert leader[0].ends() == 0
    assert metis_consul.expel(stays, leader[2], seen[leader[2]]["name"], 30) == ""
    assert metis_consul.cluster(stays) == {"leader": last[2], "peers": [last[2]]}
    # A server that left is no member either.
    members = json.loads(call("GET", stays["port"], "/v1/agent/members")[1])
    assert [member["Name"] for member in members] == [seen[last[2]]["name"]]
    assert metis_consul.expel(stays, leader[2], seen[leader[2]]["name"], 30) == ""
    metis_consul.set_key(stays, "metis/x", "it has a leader")
