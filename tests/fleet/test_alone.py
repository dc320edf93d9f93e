"""A highstate and a verb do not change a host at the same time."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

from tests.fleet.organization import NAME, Organization

# Salt's record of the jobs that run on a host.
AT_WORK = ["grep", "--quiet", "--recursive", "--binary-files=text"]
RECORDS = "/var/cache/salt/minion/proc"


def _await(org: Organization, host: str, words: str) -> None:
    end = time.monotonic() + 60
    while org.lab.host(host).run([*AT_WORK, words, RECORDS], check=False).returncode:
        assert time.monotonic() < end
        time.sleep(0.1)


def _asked(**filters: str) -> list[str]:
    return [f"pillar={json.dumps({'org': NAME} | filters)}"]


def test_a_highstate_is_refused_while_a_verb_is_at_work(org: Organization) -> None:
    restart = ["state.orchestrate", "metis.restart", *_asked(roles="admin")]
    with ThreadPoolExecutor() as pool:
        verb = pool.submit(org.lab.salt_run, restart, timeout=200)
        _await(org, "fleet2", "metis_instance.restart")
        refused = org.lab.host("fleet2").run(
            ["salt-call", "state.highstate", "--out=json"], check=False, timeout=100
        )
        assert verb.result().returncode == 0
    assert refused.returncode != 0
    assert "metis_instance.restart" in json.loads(refused.stdout)["local"][0]
    # Afterwards it has its turn.
    assert org.highstate("fleet2") == {}


def test_a_verb_waits_for_states_that_are_at_work(org: Organization) -> None:
    states = ["salt-call", "state.single", "cmd.run", "sleep 6", "--out=json"]
    with ThreadPoolExecutor() as pool:
        salt = pool.submit(org.lab.host("fleet3").run, states, timeout=100)
        _await(org, "fleet3", "state.single")
        verb = org.lab.salt_run(
            ["state.orchestrate", "metis.start", *_asked(hosts="fleet3")], timeout=200
        )
        assert salt.result().returncode == 0
    assert "waiting for what fleet3 was told before" in verb.stderr
