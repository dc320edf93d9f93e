"""
consul over its HTTP API: leader, peers, keys, and services on one agent.

PyPI's ``saltext-consul`` speaks the ACL API that consul 1.4 replaced, and knows no agent's own
checks. What a program sees is what *its agent* lists (``/v1/agent/services``), so services
are looked up there and never in the catalog (service-contract 0.3).

``agent`` is ``{"address": ..., "port": ...}`` everywhere.
"""

import base64
import hashlib
import os
import socket
import tarfile
import time
import zlib
from typing import Any
from urllib.parse import quote

import requests
import salt.exceptions

__virtualname__ = "metis_consul"

# Without a leader, consul holds a request for 7 s before it says so.
TIMEOUT = 10
# A server that leaves gives others 5 s to notice, and waits 5 s more for raft; that another one is
# out has to get around among all.
LEAVE_TIMEOUT = 30
# Where consul cannot be waited on: before there is a leader, no blocking query answers.
PAUSE = 0.1
# For all that consul knows, between two pieces of it.
SNAPSHOT_TIMEOUT = 60


def _call(agent: dict[str, Any], method: str, path: str, **kwargs: Any) -> requests.Response:
    url = f"http://{agent['address']}:{agent['port']}/v1/{path}"
    timeout = kwargs.pop("timeout", TIMEOUT)
    try:
        answer = requests.request(method, url, timeout=timeout, **kwargs)
    except requests.RequestException as err:
        reason = "does not answer" if isinstance(err, requests.Timeout) else "cannot be reached"
        raise salt.exceptions.CommandExecutionError(
            f"consul at {agent['address']}:{agent['port']} {reason}"
        ) from err
    # 429 is how autopilot says that a server is not well; its answer has which.
    if answer.status_code not in (404, 429) and not answer.ok:
        raise salt.exceptions.CommandExecutionError(
            f"consul at {agent['address']}:{agent['port']} says {answer.status_code} "
            f"to {method} {path}: {answer.text.strip()}"
        )
    return answer


def _json(agent: dict[str, Any], answer: requests.Response, kind: type) -> Any:
    try:
        found = answer.json()
    except requests.JSONDecodeError:
        found = None
    if not isinstance(found, kind):
        raise salt.exceptions.CommandExecutionError(
            f"what listens at {agent['address']}:{agent['port']} is not consul: "
            f"it answers {answer.status_code} to {answer.url}, and not as consul does"
        )
    return found


def _get(agent: dict[str, Any], path: str, kind: type) -> Any:
    return _json(agent, _call(agent, "GET", path), kind)


def listens(agent: dict[str, Any]) -> bool:
    """
    Whether anything listens at an agent's address.

    Returns ``False`` only where the host refuses, as it does when consul is stopped.

    Raises ``CommandExecutionError`` where the host is silent: then nothing is known.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_consul.listens '{address: 10.77.0.11, port: 8500}'
    """
    try:
        with socket.create_connection((agent["address"], agent["port"]), TIMEOUT):
            return True
    except ConnectionRefusedError:
        return False
    except OSError as err:
        raise salt.exceptions.CommandExecutionError(
            f"consul at {agent['address']}:{agent['port']} cannot be reached: {err}"
        ) from err


def cluster(agent: dict[str, Any]) -> dict[str, Any]:
    """
    The raft cluster as one agent sees it.

    Returns ``{"leader": "ip:port" or "", "peers": ["ip:port", ...]}``.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_consul.cluster '{address: 10.77.0.11, port: 8500}'
    """
    return {
        "leader": _get(agent, "status/leader", str),
        "peers": _get(agent, "status/peers", list),
    }


def key(agent: dict[str, Any], name: str) -> str | None:
    """
    The value of a key, or ``None`` where it is not set.

    name
        Such as ``metis/dataCenter_ip_port``.

    Raises ``CommandExecutionError`` where there is no leader, as consul answers 500 then.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_consul.key '{address: 10.77.0.11, port: 8500}' metis/via_ip_port
    """
    answer = _call(agent, "GET", f"kv/{quote(name)}")
    if answer.status_code == 404:
        return None
    value = base64.b64decode(_json(agent, answer, list)[0]["Value"] or "")
    # Whoever wrote what is no text, it is another value than ours, and is written anew.
    return value.decode("utf-8", "replace")


def set_key(agent: dict[str, Any], name: str, value: str) -> None:
    """
    Write a key.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_consul.set_key '{address: 10.77.0.11, port: 8500}' metis/x 1.2.3.4_5
    """
    answer = _call(agent, "PUT", f"kv/{quote(name)}", data=value.encode())
    if not _json(agent, answer, bool):
        raise salt.exceptions.CommandExecutionError(f"consul did not write {name}: {answer.text}")


def services(agent: dict[str, Any]) -> dict[str, str]:
    """
    What is registered on an agent: service id to ``passing``, ``warning`` or ``critical``.

    A service with several checks is as bad as its worst; without a check it passes, as for consul.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_consul.services '{address: 10.77.0.11, port: 8500}'
    """
    found = dict.fromkeys(_get(agent, "agent/services", dict), "passing")
    order = ["passing", "warning", "critical"]
    for check in _get(agent, "agent/checks", dict).values():
        service = check["ServiceID"]
        if service in found:
            found[service] = max(found[service], check["Status"], key=order.index)
    return found


def wait_for_cluster(agent: dict[str, Any], peers: int, timeout: float) -> dict[str, Any]:
    """
    Wait until an agent knows a leader and every peer.

    peers
        How many servers the cluster has.
    timeout
        Seconds.

    Returns the last that was seen, as ``cluster``; the caller judges it.

    Raises ``CommandExecutionError`` where the agent did not answer to the end.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_consul.wait_for_cluster '{address: 10.77.0.11, port: 8500}' 3 30
    """
    end = time.monotonic() + timeout
    while True:
        try:
            seen = cluster(agent)
            if seen["leader"] and len(seen["peers"]) >= peers:
                return seen
        except salt.exceptions.CommandExecutionError:
            if time.monotonic() > end:
                raise
            seen = None
        if seen is not None and time.monotonic() > end:
            return seen
        time.sleep(PAUSE)


def servers(agent: dict[str, Any]) -> list[dict[str, Any]]:
    """
    The servers of the cluster, as its leader sees them.

    Returns a mapping a server: ``name`` (of its node), ``address`` (``ip:port`` of raft),
    ``leader`` (whether it is) and ``wrong`` (why it does not count for the quorum, or ``""``).

    Raises ``CommandExecutionError`` where there is no leader.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_consul.servers '{address: 10.77.0.11, port: 8500}'
    """
    return [
        {
            "name": server["Name"],
            "address": server["Address"],
            "leader": server["Leader"],
            "wrong": ""
            if server["SerfStatus"] == "alive" and server["Voter"] and server["Healthy"]
            else f"is {server['SerfStatus']}"
            + ("" if server["Voter"] else ", has no vote")
            + ("" if server["Healthy"] else ", is not healthy"),
        }
        for server in _get(agent, "operator/autopilot/health", dict)["Servers"] or []
    ]


def quorum(agent: dict[str, Any], peers: int, without: str = "") -> str:
    """
    What keeps the cluster from bearing the loss of a server, as its leader sees it: one that is not
    alive, has no vote, or is behind the others.

    peers
        How many servers the cluster has.
    without
        The address in raft, ``ip:port``, of the server that is to be lost, where it does not matter
        how that one is.

    Returns it in a sentence, or ``""``.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_consul.quorum '{address: 10.77.0.11, port: 8500}' 3
    """
    known = [server for server in servers(agent) if server["address"] != without]
    peers -= bool(without)
    wrong = [f"{server['name']} {server['wrong']}" for server in known if server["wrong"]]
    if len(known) != peers:
        wrong.append(f"consul has {len(known)} of {peers} servers")
    return "; ".join(wrong)


def wait_for_quorum(agent: dict[str, Any], peers: int, timeout: float, without: str = "") -> str:
    """
    As ``quorum``, asked again until all is well or ``timeout`` seconds are over.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_consul.wait_for_quorum '{address: 10.77.0.11, port: 8500}' 3 60
    """
    end = time.monotonic() + timeout
    while True:
        try:
            wrong = quorum(agent, peers, without)
        except salt.exceptions.CommandExecutionError as err:
            # As while a leader is elected.
            wrong = str(err)
        if not wrong or time.monotonic() > end:
            return wrong and f"{wrong}, after {timeout:.0f} s"
        time.sleep(PAUSE)


def leave(agent: dict[str, Any]) -> None:
    """
    Have an agent leave its cluster and end; a server leaves raft with it.

    The agent answers before it is through: its process ends when it is.

    CLI Example:

    .. code-block:: bash

        salt demo3 metis_consul.leave '{address: 10.77.0.13, port: 8500}'
    """
    _call(agent, "PUT", "agent/leave", timeout=LEAVE_TIMEOUT)


def expel(agent: dict[str, Any], server: str, node: str, timeout: float) -> str:
    """
    Have a cluster be without a server: one that left is only looked for, one that did not is taken
    out of raft and out of the list of members.

    server
        Its address in raft, ``ip:port``.
    node
        Its node's name.
    timeout
        Seconds for the others to be all well without it.

    Returns what is wrong then, or ``""``.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_consul.expel '{address: 10.77.0.11, port: 8500}' 10.77.0.13:8200 \
            consul_10.77.0.13 60
    """
    peers = _get(agent, "status/peers", list)
    if server in peers:
        _call(agent, "DELETE", "operator/raft/peer", params={"address": server})
        peers.remove(server)
    # Who left is a member still, for days, and would be one of the servers that are asked for.
    if node in [member["Name"] for member in _get(agent, "agent/members", list)]:
        asked = {"params": {"prune": "1"}, "timeout": LEAVE_TIMEOUT}
        _call(agent, "PUT", f"agent/force-leave/{quote(node)}", **asked)
    return wait_for_quorum(agent, len(peers), timeout)


def wait_for_service(agent: dict[str, Any], service: dict[str, Any], timeout: float) -> str:
    """
    Wait until a service is registered on an agent and passes its checks.

    service
        ``{"id": ..., "name": ...}``.
    timeout
        Seconds.

    Returns the last that was seen: ``passing``, ``warning``, ``critical`` or ``absent``.

    Raises ``CommandExecutionError`` where the agent did not answer.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_consul.wait_for_service '{address: 10.77.0.11, port: 8500}' \
            '{id: carrierService_10.77.0.11_10033, name: carrierService}' 30
    """
    end = time.monotonic() + timeout
    index = "0"
    while True:
        state = services(agent).get(service["id"], "absent")
        left = end - time.monotonic()
        if state == "passing" or left <= 0:
            return state
        # A blocking query: it answers when a check of that service changes. The agent tells the
        # servers of a change after its own list has it, so what is read next is not older.
        wait = max(1, min(int(left), 10))
        answer = _call(
            agent,
            "GET",
            f"health/checks/{service['name']}",
            params={"index": index, "wait": f"{wait}s"},
            timeout=wait + TIMEOUT,
        )
        index = answer.headers.get("X-Consul-Index", "0")


def deregister(agent: dict[str, Any], service_id: str) -> None:
    """
    Remove a registration from an agent.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_consul.deregister '{address: 10.77.0.11, port: 8500}' \
            carrierService_10.77.0.11_10033
    """
    _call(agent, "PUT", f"agent/service/deregister/{quote(service_id)}")


def version(agent: dict[str, Any]) -> str:
    """
    The version of an agent.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_consul.version '{address: 10.77.0.11, port: 8500}'
    """
    return str(_get(agent, "agent/self", dict)["Config"]["Version"])


def save_snapshot(agent: dict[str, Any], file: str) -> None:
    """
    Write down all that consul's servers know, keys and sessions and all, as it is at one moment.

    file
        Where: an absolute path; must not exist. Mode 0600.

    Raises ``CommandExecutionError`` where there is no leader, or what came is not whole.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_consul.save_snapshot '{address: 10.77.0.11, port: 8500}' /root/consul.snap
    """
    where = f"{agent['address']}:{agent['port']}"
    try:
        with (
            _call(agent, "GET", "snapshot", stream=True, timeout=SNAPSHOT_TIMEOUT) as answer,
            open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened,
        ):
            for chunk in answer.iter_content(1 << 16):
                opened.write(chunk)
    except requests.RequestException as err:
        raise salt.exceptions.CommandExecutionError(
            f"consul at {where} broke off its snapshot: {err}"
        ) from err
    except OSError as err:
        raise salt.exceptions.CommandExecutionError(f"{file}: {err.strerror}") from err
    if wrong := _damage(file):
        raise salt.exceptions.CommandExecutionError(f"the snapshot of consul at {where} {wrong}")


def _damage(file: str) -> str:
    """What is wrong with a snapshot: it has the checksums of its own parts."""
    found, wanted = {}, {}
    try:
        with tarfile.open(file, "r:gz") as tar:
            for member in tar:
                content = tar.extractfile(member)
                if content is None:
                    continue
                if member.name == "SHA256SUMS":
                    lines = content.read().decode("ascii").splitlines()
                    wanted = {line.split()[1]: line.split()[0] for line in lines}
                else:
                    digest = hashlib.sha256()
                    while chunk := content.read(1 << 16):
                        digest.update(chunk)
                    found[member.name] = digest.hexdigest()
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError, IndexError) as err:
        return f"is damaged: {err}"
    wrong = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
    if not wanted:
        return "is damaged: it has no checksums"
    return f"is damaged: {', '.join(wrong)} is not what its checksum says" if wrong else ""


def load_snapshot(agent: dict[str, Any], file: str) -> None:
    """
    Make all that consul's servers know what a snapshot says. What they knew is lost.

    A server that was set up anew has another id under the same name, and consul would not take it
    beside the one of the snapshot; so that one is taken out, and the servers register anew.

    file
        The absolute path of a snapshot.

    Raises ``CommandExecutionError`` where the snapshot is damaged, or consul does not take it.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_consul.load_snapshot '{address: 10.77.0.11, port: 8500}' /root/consul.snap
    """
    if wrong := _damage(file):
        raise salt.exceptions.CommandExecutionError(f"the snapshot {file} {wrong}")
    with open(file, "rb") as opened:
        _call(agent, "PUT", "snapshot", data=opened, timeout=SNAPSHOT_TIMEOUT)
    members = {member["Tags"].get("id") for member in _get(agent, "agent/members", list)}
    for node in _get(agent, "catalog/nodes", list):
        if node["ID"] not in members:
            _call(agent, "PUT", "catalog/deregister", json={"Node": node["Node"]})
