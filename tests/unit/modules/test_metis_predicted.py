"""What an operator reads of a dry run."""

from __future__ import annotations

from typing import Any

import pytest

from _modules import metis_predicted

DIFF = """\
--- /etc/metis/carrier/carrier.yml
+++ /etc/metis/carrier/carrier.yml
@@ -1,2 +1,2 @@
 debug: false
-verbosity: info
+verbosity: debug
"""
FILE = "file_|-The configuration_|-/etc/x.yml_|-serialize"
UNIT = "metis_unit_|-carrier runs_|-metis-carrier.service_|-running"


def _state(name: str, changes: dict[str, Any], comment: str = "") -> dict[str, Any]:
    return {"name": name, "changes": changes, "comment": comment, "result": None}


def test_a_file_is_shown_with_its_difference() -> None:
    assert metis_predicted.lines(FILE, _state("/etc/x.yml", {"diff": DIFF})) == [
        "/etc/x.yml",
        "@@ -1,2 +1,2 @@",
        " debug: false",
        "-verbosity: info",
        "+verbosity: debug",
    ]


def test_what_is_not_for_everyone_s_eyes_is_not_shown() -> None:
    changes = {"diff": "<show_changes=False>", "mode": "0640"}
    assert metis_predicted.lines(FILE, _state("/etc/x.yml", changes)) == [
        "/etc/x.yml, mode 0640, its content would change, and is not shown"
    ]


def test_who_may_read_a_file_is_shown() -> None:
    changes = {"user": "root", "mode": "0640"}
    assert metis_predicted.lines(FILE, _state("/etc/x", changes)) == [
        "/etc/x, user root, mode 0640"
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state": {"old": "inactive", "new": "active"}}, "would be started"),
        ({"state": {"old": "active", "new": "inactive"}}, "would be stopped"),
        ({"restarted": {"old": None, "new": "its file"}}, "would be restarted: its file"),
        ({"enabled": {"old": False, "new": True}}, "would be enabled"),
        ({"masked": {"old": False, "new": True}}, "would be masked"),
    ],
)
def test_a_unit_is_told_with_what_would_happen_to_it(changes: dict[str, Any], words: str) -> None:
    state = _state("metis-carrier.service", changes)
    assert metis_predicted.lines(UNIT, state) == [f"metis-carrier.service {words}"]


def test_anything_else_is_told_in_its_own_words() -> None:
    state = _state("k", {"k": {"old": 1, "new": 2}}, "k would be 2\nNote: no changes made")
    assert metis_predicted.lines("metis_consul_|-k_|-k_|-key_present", state) == ["k would be 2"]


def test_what_salt_leaves_out_of_a_dry_run_is_a_change() -> None:
    tag = "service_|-admin does not run_|-metis-admin.service_|-dead"
    silent = _state("metis-admin.service", {}, "metis-admin.service is set to be killed")
    told = metis_predicted.complete(tag, silent)
    assert told["changes"]
    assert metis_predicted.lines(tag, told) == ["metis-admin.service is set to be killed"]
    well = silent | {"result": True}
    assert metis_predicted.complete(tag, well) == well
    # A gate that would be waited for changes nothing.
    gate = _state("s", {}, "would be waited for")
    assert metis_predicted.complete("metis_consul_|-s_|-s_|-service_passing", gate) == gate


@pytest.mark.parametrize(
    ("name", "changes", "restarts"),
    [
        ("metis-consul.service", {"restarted": {"old": None, "new": "x"}}, True),
        ("metis-consul.service", {"state": {"old": "inactive", "new": "active"}}, True),
        ("metis-consul.service", {"enabled": {"old": False, "new": True}}, False),
        ("metis-carrier.service", {"restarted": {"old": None, "new": "x"}}, False),
    ],
)
def test_the_agent_is_started_anew(name: str, changes: dict[str, Any], restarts: bool) -> None:
    tag = f"metis_unit_|-runs_|-{name}_|-running"
    assert metis_predicted.restarts_agent({tag: _state(name, changes)}) is restarts
