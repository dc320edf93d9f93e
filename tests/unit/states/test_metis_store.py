"""The store's web server: Salt's own states, in an order that ends at the first that fails."""

from __future__ import annotations

import json
import shlex
from types import ModuleType
from typing import Any

import pytest

from _modules import metis_store as module
from _states import metis_store
from tests.unit.states.predicted import told_and_done

STORES = [{"address": None, "port": 8014}, {"address": None, "port": 8015}]

State = dict[str, Any]


class Master:
    """A machine, as far as the states that are used know it."""

    def __init__(self, opts: dict[str, Any]) -> None:
        self.opts = opts
        self.has: dict[str, Any] = {}
        self.applied: list[tuple[str, str]] = []
        self.fails: dict[str, str] = {}
        # Whose process it is, and whether somebody has set the server up.
        self.root = True
        self.served = False

    def which(self, program: str) -> str | None:
        """Stand in for `cmd.which`."""
        return f"/usr/sbin/{program}" if "nginx-light" in self.has else None

    def state(self, function: str) -> Any:
        """Stand in for a state: what it is given is there afterwards."""

        def applied(**arguments: Any) -> State:
            name = arguments["name"]
            self.applied.append((function, name))
            if function in self.fails:
                return {"result": False, "changes": {}, "comment": self.fails[function]}
            wanted = None if function in ("file.absent", "service.disabled") else arguments
            if function == "metis_health.answers_http" or self.has.get(name) == wanted:
                return {"result": True, "changes": {}, "comment": ""}
            # A package that is not there yet has no service, and a dry run makes no mask.
            if self.opts["test"]:
                return {"result": None, "changes": {"new": function}, "comment": ""}
            self.has[name] = wanted
            return {"result": True, "changes": {"new": function}, "comment": ""}

        return applied


@pytest.fixture
def master(opts: dict[str, Any]) -> Master:
    return Master(opts)


@pytest.fixture
def configure_loader_modules(
    opts: dict[str, Any], master: Master
) -> dict[ModuleType, dict[str, Any]]:
    used = (
        "file.absent",
        "file.managed",
        "file.symlink",
        "metis_health.answers_http",
        "metis_unit.running",
        "pkg.installed",
        "service.disabled",
    )
    opts["metis_store"] = "/srv/store"
    opts |= {"file_roots": {"base": ["/srv/metis/salt"]}}
    opts |= {"module_dirs": ["/srv/metis/_modules"], "states_dirs": ["/srv/metis/_states"]}
    own = {
        "__opts__": opts,
        "__salt__": {
            "cmd.which": master.which,
            "metis_health.http": lambda url, body: "" if master.served else f"{url} is closed",
            "metis_store.may_serve": lambda: master.root,
            "metis_store.listen": module.listen,
            "metis_store.path": module.path,
        },
        "__states__": {name: master.state(name) for name in used},
    }
    return {metis_store: own, module: {"__opts__": opts}}


def _served() -> State:
    done: State = metis_store.served("The store is served", STORES)
    return done


def test_it_is_set_up_once_and_told_beforehand(opts: dict[str, Any], master: Master) -> None:
    master.has["nginx-light"] = {"name": "nginx-light"}
    done = told_and_done(opts, _served, lambda: dict(master.has))
    assert list(done["changes"]) == [
        "file.managed /etc/metis-store/nginx.conf",
        "file.managed /usr/local/lib/systemd/system/metis-store.service",
        "metis_unit.running metis-store.service",
    ]
    known = master.has["/etc/metis-store/nginx.conf"]["context"]
    assert known == {"listen": ["*:8014", "*:8015"], "artifacts": "/srv/store/artifacts"}


def test_the_package_s_own_service_never_starts(master: Master) -> None:
    assert _served()["result"] is True
    assert master.applied[:4] == [
        ("file.symlink", "/run/systemd/system/nginx.service"),
        ("pkg.installed", "nginx-light"),
        ("file.absent", "/run/systemd/system/nginx.service"),
        ("service.disabled", "nginx"),
    ]
    master.applied.clear()
    assert _served()["changes"] == {}
    # On a master with the console, nginx is the console's.
    assert not {"pkg.installed", "service.disabled"} & {name for name, _ in master.applied}


def test_each_port_is_seen_to_answer(master: Master) -> None:
    _served()
    assert [name for name, _ in master.applied].count("metis_health.answers_http") == 2


@pytest.mark.parametrize("function", ["pkg.installed", "metis_unit.running"])
def test_what_fails_is_told_and_ends_it(master: Master, function: str) -> None:
    master.fails[function] = "no such thing"
    done = _served()
    assert done["result"] is False
    assert done["comment"].endswith(": no such thing")
    assert master.applied[-1][0] == function


def test_who_is_not_root_says_what_root_can_do(master: Master) -> None:
    master.root = False
    done = _served()
    # Hosts have Salt's file server.
    assert (done["result"], done["changes"]) == (True, {})
    (warning,) = done["warnings"]
    assert "http://127.0.0.1:8014/ is closed" in warning
    words = shlex.split(warning.partition("run as root: ")[2])
    assert words[:2] == ["salt-call", "--local"]
    assert json.loads(words[-2].removeprefix("stores=")) == STORES
    assert words[-1] == "artifacts=/srv/store/artifacts"
    assert master.applied == []


def test_who_is_not_root_is_content_with_a_server_that_answers(master: Master) -> None:
    master.root, master.served = False, True
    done = _served()
    assert done == {
        "name": "The store is served",
        "result": True,
        "changes": {},
        "comment": "the store is served",
    }
