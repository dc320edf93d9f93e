"""The master's store: filled with what is right, never with anything else."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from _modules import metis_pins, metis_release, metis_store
from tests.unit import loopback
from tests.unit.loopback import Loopback
from tests.unit.store import Store, digest, release, wired

BODY = bytes(range(256)) * 500
STORED = "0.3.0/carrier"


@pytest.fixture
def configure_loader_modules(store: Store, tmp_path: Path) -> dict[ModuleType, dict[str, Any]]:
    return wired(store, tmp_path / "pillar")


def _served(server: Loopback, **bodies: bytes | None) -> dict[str, Any]:
    """A release whose artifacts a server has."""
    made = release(**bodies)
    for name, artifact in made["artifacts"].items():
        artifact["sources"] = [server.url(name)]
    return made


def test_what_is_missing_is_fetched_once(server: Loopback, store: Store) -> None:
    server.answers = [loopback.serves(BODY)]
    wanted = _served(server, carrier=BODY)
    done = metis_store.fill(wanted, ["carrier"], store.say)
    assert done == {"changes": {STORED: {"old": None, "new": digest(BODY)}}, "problems": []}
    assert store.everything() == {f"artifacts/{STORED}": BODY}
    assert any("carrier: 128.0 kB in " in line and "/s" in line for line in store.said)
    assert metis_store.fill(wanted, ["carrier"]) == {"changes": {}, "problems": []}
    assert len(server.asked) == 1


def test_the_sizes_of_what_is_there_are_known(server: Loopback, store: Store) -> None:
    server.answers = [loopback.serves(BODY)]
    wanted = _served(server, carrier=BODY)
    artifacts = metis_release.needed(wanted, ["carrier"])
    assert metis_store.sizes(artifacts) == {}
    metis_store.fill(wanted, ["carrier"])
    assert metis_store.sizes(artifacts) == {STORED: len(BODY)}


def test_only_what_the_roles_need_is_fetched(server: Loopback, store: Store) -> None:
    wanted = _served(server, carrier=BODY)
    assert metis_store.fill(wanted, ["admin", "consul"])["changes"] == {}
    assert server.asked == []


def test_everyone_may_read_artifacts_and_only_root_the_rest(server: Loopback, store: Store) -> None:
    server.answers = [loopback.serves(BODY)]
    old = os.umask(0o077)
    try:
        metis_store.fill(_served(server, carrier=BODY), ["carrier"])
    finally:
        os.umask(old)
    modes = {
        name: stat.S_IMODE((store.root / name).stat().st_mode)
        for name in (
            "artifacts",
            "artifacts/0.3.0",
            "artifacts/0.3.0/carrier",
            "parts",
            "index.json",
        )
    }
    assert list(modes.values()) == [0o755, 0o755, 0o644, 0o700, 0o644]


@pytest.mark.parametrize("keeps_time", [False, True])
def test_a_damaged_file_is_found_and_fetched_again(
    server: Loopback, store: Store, keeps_time: bool
) -> None:
    server.answers = [loopback.serves(BODY)]
    wanted = _served(server, carrier=BODY)
    metis_store.fill(wanted, ["carrier"])
    file = store.file(STORED)
    seen = file.stat()
    file.write_bytes(BODY[::-1])
    if keeps_time:
        os.utime(file, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    done = metis_store.fill(wanted, ["carrier"], store.say)
    assert done["changes"] == {STORED: {"old": digest(BODY[::-1]), "new": digest(BODY)}}
    assert file.read_bytes() == BODY


def test_what_nobody_wrote_to_is_looked_at_only_on_demand(
    server: Loopback, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers = [loopback.serves(BODY)]
    wanted = _served(server, carrier=BODY)
    metis_store.fill(wanted, ["carrier"])
    artifacts = {"carrier": wanted["artifacts"]["carrier"] | {"stored": STORED}}
    hashed: list[str] = []

    def checksum(path: str) -> str:
        hashed.append(path)
        return digest(b"rotten")

    monkeypatch.setitem(metis_store.__dict__["__salt__"], "metis_artifact.checksum", checksum)
    assert metis_store.look(artifacts) == {"carrier": "right"}
    assert hashed == []
    assert metis_store.look(artifacts, whole=True) == {"carrier": "wrong"}
    # And it is known from now on.
    assert metis_store.look(artifacts) == {"carrier": "wrong"}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"0.3.0/carrier": {}}'])
def test_a_damaged_index_only_costs_time(server: Loopback, store: Store, text: str) -> None:
    server.answers = [loopback.serves(BODY)]
    wanted = _served(server, carrier=BODY)
    metis_store.fill(wanted, ["carrier"])
    (store.root / "index.json").write_text(text)
    assert metis_store.fill(wanted, ["carrier"]) == {"changes": {}, "problems": []}


def test_all_failures_are_told_together_and_the_rest_is_fetched(
    server: Loopback, store: Store
) -> None:
    wanted = _served(server, carrier=BODY, wrong=b"else", unknown=None, keytool=BODY)
    wanted["artifacts"]["sourceless"] = release(sourceless=BODY)["artifacts"]["sourceless"]
    server.answers = [loopback.serves(BODY)]
    done = metis_store.fill(wanted, ["carrier"], store.say)
    assert set(done["changes"]) == {"0.3.0/carrier", "0.3.0/keytool"}
    assert len(done["problems"]) == 3
    text = "\n".join(done["problems"])
    assert f"{server.url('wrong')}: has sha256 {digest(BODY)}" in text
    assert "salt-run metis.pin release=0.3.0 artifact=unknown" in text
    assert f"put the file at {store.root}/quarantine/0.3.0/sourceless" in text
    assert set(store.everything()) == {"artifacts/0.3.0/carrier", "artifacts/0.3.0/keytool"}


def test_a_half_is_kept_for_the_next_run(server: Loopback, store: Store) -> None:
    wanted = _served(server, carrier=BODY)
    server.answers = [loopback.serves(BODY, cut=1000), loopback.gives(b"", status=503)]
    assert metis_store.fill(wanted, ["carrier"])["problems"]
    assert not store.file(STORED).exists()
    server.answers = [loopback.serves(BODY)]
    assert metis_store.fill(wanted, ["carrier"])["problems"] == []
    assert server.ranges[-1] == "bytes=1000-"
    assert store.everything() == {f"artifacts/{STORED}": BODY}


def test_a_dry_run_tells_what_a_real_one_does_and_changes_nothing(
    server: Loopback, store: Store
) -> None:
    server.answers = [loopback.serves(BODY)]
    wanted = _served(server, carrier=BODY, unknown=None)
    told = metis_store.fill(wanted, ["carrier"], store.say, test=True)
    assert not store.root.exists()
    assert server.asked == []
    done = metis_store.fill(wanted, ["carrier"], store.say)
    assert told["problems"] == done["problems"]
    assert told["changes"] == done["changes"]


def test_what_an_operator_put_into_quarantine_is_taken_once_it_is_pinned(store: Store) -> None:
    wanted = release(carrier=None)
    waiting = store.root / "quarantine" / STORED
    waiting.parent.mkdir(parents=True)
    waiting.write_bytes(BODY)
    assert "no checksum" in metis_store.fill(wanted, ["carrier"])["problems"][0]
    metis_pins.put("0.3.0", "carrier", "carrier", digest(BODY), "an operator")
    done = metis_store.fill(metis_pins.merged(wanted), ["carrier"])
    assert done["problems"] == []
    assert store.file(STORED).read_bytes() == BODY
    assert not waiting.exists()


def test_two_builds_of_one_file_are_both_there(server: Loopback, store: Store) -> None:
    wanted = release(dcv_avx2=b"one", dcv_no_avx2=b"two")
    for name, artifact in wanted["artifacts"].items():
        artifact |= {"file": "dcv.whl", "cpu": name.removeprefix("dcv_")}
        waiting = store.root / "quarantine/0.3.0" / artifact["cpu"] / "dcv.whl"
        waiting.parent.mkdir(parents=True)
        waiting.write_bytes(b"one" if artifact["cpu"] == "avx2" else b"two")
    assert metis_store.fill(wanted, ["carrier"])["problems"] == []
    assert store.file("0.3.0/avx2/dcv.whl").read_bytes() == b"one"
    assert store.file("0.3.0/no_avx2/dcv.whl").read_bytes() == b"two"


def test_a_store_that_cannot_be_is_told(store: Store) -> None:
    store.root.parent.mkdir(exist_ok=True)
    store.root.write_text("a file")
    with pytest.raises(CommandExecutionError, match=r"metis_store in master\.d/metis\.conf"):
        metis_store.fill(release(carrier=BODY), ["carrier"])


def test_another_run_is_waited_for_and_given_up(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metis_store, "LOCK_TIMEOUT", 0)
    with (
        metis_store.alone(),
        pytest.raises(CommandExecutionError, match="another run"),
        metis_store.alone(store.say),
    ):
        pass
    assert store.said == ["another run fills the store: waiting for it"]


@pytest.mark.parametrize(
    ("stores", "wanted"),
    [
        ([(None, 8014)], ["*:8014"]),
        ([(None, 8014), (None, 8015), (None, 8014)], ["*:8014", "*:8015"]),
        ([("127.0.0.1", 8014)], ["127.0.0.1:8014"]),
        ([("127.0.0.1", 8014), (None, 8014)], ["*:8014"]),
        # An address of a router, and a name: who knows what the master has of them.
        ([("192.0.2.1", 8014)], ["*:8014"]),
        ([("store.example", 8015)], ["*:8015"]),
        ([], []),
    ],
)
def test_the_server_listens_where_hosts_look(
    stores: list[tuple[str | None, int]], wanted: list[str]
) -> None:
    given = [{"address": address, "port": port} for address, port in stores]
    assert metis_store.listen(given) == wanted


def test_what_is_pruned_takes_its_halves_and_what_is_known_of_it_along(store: Store) -> None:
    for day, stored in enumerate(("0.1.0/carrier", "0.1.0+x/carrier", "0.3.0/carrier")):
        file = store.file(stored)
        file.parent.mkdir(parents=True)
        file.write_bytes(BODY)
        for path in (file, file.parent):
            os.utime(path, (day, day))
    for name in ("parts/0.1.0+admin.jar.abc", "parts/0.3.0+x.abc", "quarantine/0.1.0"):
        (store.root / name).parent.mkdir(exist_ok=True)
        (store.root / name).write_bytes(BODY)
    metis_store.record({"0.1.0/carrier": digest(BODY), "0.3.0/carrier": digest(BODY)})
    assert metis_store.prune(["0.3.0"], 2, "0.3.0", test=True) == ["0.1.0"]
    assert store.file("0.1.0/carrier").exists()
    assert metis_store.prune(["0.3.0"], 2, "0.3.0") == ["0.1.0"]
    assert set(store.everything()) == {
        "artifacts/0.1.0+x/carrier",
        "artifacts/0.3.0/carrier",
        "parts/0.3.0+x.abc",
        # An operator put it there.
        "quarantine/0.1.0",
    }
    assert list(json.loads((store.root / "index.json").read_text())) == ["0.3.0/carrier"]
    assert metis_store.prune(["0.3.0"], 2, "0.3.0") == []


def test_what_waits_for_a_host_is_no_release(store: Store) -> None:
    waiting = store.file("_restore/acme/p2p.key")
    metis_store.make_folder(str(waiting))
    waiting.write_text("sealed")
    assert metis_store.prune(["0.3.0"], 1, "0.3.0") == []
    assert waiting.exists()


def test_an_empty_store_has_nothing_to_prune(store: Store) -> None:
    assert metis_store.prune([], 1, "0.3.0") == []
    assert not store.root.exists()
