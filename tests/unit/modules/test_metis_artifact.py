"""Downloads: every byte checked, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import resource
import socket
import ssl
import stat
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from _modules import metis_artifact
from tests.unit import loopback
from tests.unit.loopback import Answer, Loopback

# More than the module reads at once.
BODY = bytes(range(256)) * 12000
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were asked for; none is waited for."""
    asked: list[float] = []
    monkeypatch.setattr(metis_artifact.time, "sleep", asked.append)
    return asked


@pytest.fixture
def target(tmp_path: Path, pauses: list[float]) -> Path:
    folder = tmp_path / "release"
    folder.mkdir()
    return folder / "carrier"


def _failure(target: Path, *sources: str, sha256: str = SHA256) -> str:
    """What a fetch that must fail says; it must leave nothing behind."""
    before = sorted(target.parent.iterdir())
    with pytest.raises(CommandExecutionError) as raised:
        metis_artifact.fetch(str(target), list(sources), sha256)
    assert sorted(target.parent.iterdir()) == before
    return str(raised.value)


def test_what_is_right_at_once_is_there(
    server: Loopback, target: Path, pauses: list[float]
) -> None:
    server.answers = [loopback.gives(BODY)]
    metis_artifact.fetch(str(target), [server.url()], SHA256)
    assert target.read_bytes() == BODY
    assert list(target.parent.iterdir()) == [target]
    assert pauses == []
    assert len(server.asked) == 1


@pytest.mark.parametrize("mode", ["0644", "0755", "0600"])
def test_the_file_has_the_mode_that_is_asked_for(server: Loopback, target: Path, mode: str) -> None:
    server.answers = [loopback.gives(BODY)]
    old = os.umask(0o077)
    try:
        metis_artifact.fetch(str(target), [server.url()], SHA256, mode)
    finally:
        os.umask(old)
    assert stat.S_IMODE(target.stat().st_mode) == int(mode, 8)


def test_an_empty_artifact_is_one_too(server: Loopback, target: Path) -> None:
    server.answers = [loopback.gives(b"")]
    metis_artifact.fetch(str(target), [server.url()], hashlib.sha256(b"").hexdigest())
    assert target.read_bytes() == b""


@pytest.mark.parametrize(
    "broken",
    [
        loopback.gives(b"busy", status=503),
        loopback.gives(b"", status=404),
        loopback.gives(BODY[::-1]),
        loopback.gives(BODY + b"more"),
        loopback.cuts(BODY),
        loopback.cuts_without_a_length(BODY),
        loopback.cuts_in_a_chunk(BODY),
        loopback.says_nothing,
    ],
    ids=["503", "404", "wrong bytes", "too many", "cut", "cut unseen", "cut chunk", "nothing"],
)
def test_a_source_that_fails_is_asked_again(
    server: Loopback, target: Path, pauses: list[float], broken: Answer
) -> None:
    server.answers = [broken, loopback.gives(BODY)]
    metis_artifact.fetch(str(target), [server.url()], SHA256)
    assert target.read_bytes() == BODY
    assert list(target.parent.iterdir()) == [target]
    assert len(server.asked) == 2
    assert len(pauses) == 1


@pytest.mark.parametrize("half", [False, True], ids=["at the start", "in the middle"])
def test_a_silent_server_is_given_up(
    server: Loopback, target: Path, monkeypatch: pytest.MonkeyPatch, half: bool
) -> None:
    monkeypatch.setattr(metis_artifact, "READ_TIMEOUT", 0.1)
    first = loopback.cuts(BODY) if half else loopback.says_nothing
    server.answers = [server.stalls(first), loopback.gives(BODY)]
    metis_artifact.fetch(str(target), [server.url()], SHA256)
    assert target.read_bytes() == BODY


def test_pauses_grow_and_are_random(
    server: Loopback, target: Path, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    bounds: list[tuple[float, float]] = []

    def drawn(low: float, high: float) -> float:
        bounds.append((low, high))
        return high

    monkeypatch.setattr(metis_artifact.random, "uniform", drawn)
    server.answers = [loopback.gives(b"", status=503)]
    _failure(target, server.url())
    assert bounds == [(0.1, 1), (0.1, 2), (0.1, 4)]
    assert pauses == [1, 2, 4]
    assert len(server.asked) == 4


def test_the_next_source_is_asked_before_a_pause(
    server: Loopback, second_server: Loopback, target: Path, pauses: list[float]
) -> None:
    server.answers = [loopback.gives(BODY[::-1])]
    second_server.answers = [loopback.gives(BODY)]
    metis_artifact.fetch(str(target), [server.url(), second_server.url()], SHA256)
    assert target.read_bytes() == BODY
    assert (len(server.asked), len(second_server.asked)) == (1, 1)
    assert pauses == []


def test_a_source_where_nothing_listens_costs_no_more_than_the_next(
    server: Loopback, target: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as once:
        closed = once.getsockname()[1]
    server.answers = [loopback.gives(BODY)]
    metis_artifact.fetch(str(target), [f"http://127.0.0.1:{closed}/x", server.url()], SHA256)
    assert target.read_bytes() == BODY


def test_a_failure_names_the_file_each_source_and_what_it_answered(
    server: Loopback, second_server: Loopback, target: Path
) -> None:
    server.answers = [loopback.gives(b"", status=503)]
    second_server.answers = [loopback.gives(b"other")]
    said = _failure(target, server.url("first"), second_server.url("second"))
    assert said.startswith("carrier could not be downloaded in 4 rounds: ")
    assert "503" in said
    assert server.url("first") in said
    assert second_server.url("second") in said
    assert hashlib.sha256(b"other").hexdigest() in said
    assert SHA256 in said


@pytest.mark.parametrize("source", ["no address", "ftp://127.0.0.1/x", "/etc/passwd", ""])
def test_a_source_that_is_no_url_is_told(target: Path, source: str) -> None:
    assert "carrier could not be downloaded" in _failure(target, source)


def test_without_a_source_there_is_no_file(target: Path) -> None:
    assert "carrier could not be downloaded" in _failure(target)


def test_what_was_there_stays_where_nothing_right_comes(server: Loopback, target: Path) -> None:
    target.write_bytes(b"the old release")
    server.answers = [loopback.gives(BODY[:-1])]
    _failure(target, server.url())
    assert target.read_bytes() == b"the old release"


def test_nobody_sees_half_a_file(server: Loopback, target: Path) -> None:
    target.write_bytes(b"the old release")
    seen: list[bytes] = []

    def looks_between(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(BODY)))
        handler.end_headers()
        for part in (BODY[: 2 << 20], BODY[2 << 20 :]):
            handler.wfile.write(part)
            seen.append(target.read_bytes())

    server.answers = [looks_between]
    metis_artifact.fetch(str(target), [server.url()], SHA256)
    assert seen[0] == b"the old release"
    assert target.read_bytes() == BODY


@pytest.fixture
def small_files_only() -> Iterator[None]:
    """Files of this process may have 1 MiB, as on a disk that is full."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, old[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, old)


@pytest.mark.usefixtures("small_files_only")
def test_a_full_disk_is_told_and_no_download_is_tried_again(server: Loopback, target: Path) -> None:
    server.answers = [loopback.gives(BODY)]
    assert str(target) in _failure(target, server.url())
    assert len(server.asked) == 1


def test_a_missing_directory_is_told(target: Path) -> None:
    with pytest.raises(CommandExecutionError, match="No such file or directory"):
        metis_artifact.fetch(str(target.parent / "none" / "x"), ["http://127.0.0.1:9"], SHA256)


def test_the_checksum_of_a_file(target: Path) -> None:
    assert metis_artifact.checksum(str(target)) is None
    assert metis_artifact.checksum(str(target.parent)) is None
    target.write_bytes(BODY)
    assert metis_artifact.checksum(str(target)) == SHA256


# Downloads that go on


HALF = f"bytes={len(BODY) // 2}-"


def test_a_download_that_was_cut_goes_on_where_it_was(server: Loopback, target: Path) -> None:
    server.answers = [loopback.serves(BODY, cut=len(BODY) // 2), loopback.serves(BODY)]
    metis_artifact.fetch(str(target), [server.url()], SHA256)
    assert target.read_bytes() == BODY
    assert server.ranges == ["", HALF]


def test_another_source_gives_the_rest(
    server: Loopback, second_server: Loopback, target: Path
) -> None:
    server.answers = [loopback.serves(BODY, cut=len(BODY) // 2)]
    second_server.answers = [loopback.serves(BODY)]
    metis_artifact.fetch(str(target), [server.url(), second_server.url()], SHA256)
    assert target.read_bytes() == BODY
    assert second_server.ranges == [HALF]


@pytest.mark.parametrize(
    "answer",
    [
        loopback.gives(BODY),
        loopback.gives_another_part(BODY),
        loopback.refuses_the_range,
        loopback.gives(b"", status=204),
        loopback.serves(BODY[::-1]),
        loopback.serves(BODY[: len(BODY) // 2]),
    ],
    ids=["ignores Range", "another part", "416", "204", "wrong rest", "shorter"],
)
def test_a_server_that_does_not_go_on_as_asked_leaves_no_wrong_file(
    server: Loopback, target: Path, answer: Answer
) -> None:
    server.answers = [loopback.serves(BODY, cut=len(BODY) // 2), answer, loopback.serves(BODY)]
    metis_artifact.fetch(str(target), [server.url()], SHA256)
    assert target.read_bytes() == BODY
    assert list(target.parent.iterdir()) == [target]


def test_who_cuts_every_download_gives_all_of_it_in_the_end(
    server: Loopback, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metis_artifact, "WORTH", 1 << 18)
    server.answers = [loopback.serves(BODY, cut=300_000)]
    metis_artifact.fetch(str(target), [server.url()], SHA256)
    assert target.read_bytes() == BODY
    assert len(server.asked) > metis_artifact.ROUNDS


def test_a_half_is_kept_where_that_is_asked_for_and_used_the_next_time(
    server: Loopback, target: Path
) -> None:
    part = target.parent / "half"
    server.answers = [loopback.serves(BODY, cut=len(BODY) // 2), loopback.gives(b"", status=503)]
    with pytest.raises(CommandExecutionError, match="503"):
        metis_artifact.fetch(str(target), [server.url()], SHA256, part=str(part))
    assert part.read_bytes() == BODY[: len(BODY) // 2]
    server.answers = [loopback.serves(BODY)]
    metis_artifact.fetch(str(target), [server.url()], SHA256, part=str(part))
    assert target.read_bytes() == BODY
    assert server.ranges[-1] == HALF
    assert list(target.parent.iterdir()) == [target]


def test_a_whole_that_was_kept_is_only_looked_at(server: Loopback, target: Path) -> None:
    part = target.parent / "half"
    part.write_bytes(BODY)
    server.answers = [loopback.serves(BODY)]
    metis_artifact.fetch(str(target), [server.url()], SHA256, part=str(part))
    assert target.read_bytes() == BODY


def test_a_half_of_something_else_is_dropped(server: Loopback, target: Path) -> None:
    part = target.parent / "half"
    part.write_bytes(b"x" * 1000)
    server.answers = [loopback.serves(BODY)]
    metis_artifact.fetch(str(target), [server.url()], SHA256, part=str(part))
    assert target.read_bytes() == BODY
    assert server.ranges == ["bytes=1000-", ""]


def test_a_server_that_trickles_is_given_up(
    server: Loopback, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metis_artifact, "SLOWEST", (1000, 0.1))
    server.answers = [loopback.trickles(BODY, server.over), loopback.gives(BODY)]
    metis_artifact.fetch(str(target), [server.url()], SHA256)
    assert target.read_bytes() == BODY


def test_progress_says_what_is_there_and_what_there_will_be(server: Loopback, target: Path) -> None:
    said: list[tuple[int, int | None]] = []
    server.answers = [loopback.serves(BODY, cut=len(BODY) // 2), loopback.serves(BODY)]
    metis_artifact.fetch(
        str(target), [server.url()], SHA256, progress=lambda *given: said.append(given)
    )
    assert said[-1] == (len(BODY), len(BODY))
    assert said == sorted(said)
    assert {total for _, total in said} == {len(BODY)}


def test_a_server_with_a_certificate_of_its_own_making_is_refused(
    server: Loopback, target: Path, tmp_path: Path
) -> None:
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    files = [str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")]
    subprocess.run(
        [*made, "-keyout", files[0], "-out", files[1]], check=True, capture_output=True, timeout=60
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files[1], files[0])
    server.secure(context)
    server.answers = [loopback.gives(BODY)]
    said = _failure(target, server.url().replace("http:", "https:"))
    assert "its certificate is not trusted" in said
    assert server.asked == []


@pytest.mark.parametrize("proxy", [True, False])
def test_a_proxy_of_the_environment_is_used_where_it_may_be(
    server: Loopback, target: Path, monkeypatch: pytest.MonkeyPatch, proxy: bool
) -> None:
    monkeypatch.setenv("http_proxy", server.url(""))
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setattr(metis_artifact, "ROUNDS", 1)
    server.answers = [loopback.gives(BODY)]
    try:
        # Nothing is called so; only the proxy could know.
        metis_artifact.fetch(str(target), ["http://store.invalid/x"], SHA256, proxy=proxy)
    except CommandExecutionError:
        assert not proxy
    else:
        assert proxy
        assert server.asked == ["GET http://store.invalid/x"]


# From Salt's file server


IN_SALT = "salt://0.3.0/carrier?saltenv=metis_store"


def test_the_master_s_file_server_is_a_source_too(server: Loopback, target: Path) -> None:
    server.answers = [loopback.gives(BODY[::-1])]
    metis_artifact.fetch(str(target), [server.url(), IN_SALT], SHA256)
    assert target.read_bytes() == BODY


def test_what_the_file_server_does_not_have_is_told(target: Path) -> None:
    assert "salt://x/y: the master's file server does not have it" in _failure(target, "salt://x/y")


def test_what_has_no_checksum_is_fetched_to_be_looked_at(server: Loopback, target: Path) -> None:
    server.answers = [loopback.gives(BODY)]
    assert metis_artifact.fetch_unchecked(str(target), [server.url()]) == SHA256
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


@pytest.fixture
def configure_loader_modules() -> dict[ModuleType, dict[str, Any]]:
    def get_file(source: str, part: str) -> str:
        if source != IN_SALT:
            return ""
        Path(part).write_bytes(BODY)
        return part

    opts = {"master": "127.0.0.1"}
    return {metis_artifact: {"__salt__": {"cp.get_file": get_file}, "__opts__": opts}}


# Several from the master's store


def _wanted(target: Path, *names: str) -> dict[str, dict[str, str]]:
    return {
        str(target.with_name(name)): {"stored": f"0.3.0/{name}", "sha256": SHA256, "mode": "0644"}
        for name in names
    }


def test_several_are_downloaded_at_once(server: Loopback, target: Path) -> None:
    # Nobody is answered before all have asked.
    together = threading.Barrier(metis_artifact.WORKERS)

    def answer(handler: BaseHTTPRequestHandler) -> None:
        together.wait(10)
        loopback.gives(BODY)(handler)

    server.answers = [answer]
    store = {"address": None, "port": server.port}
    names = [str(number) for number in range(2 * metis_artifact.WORKERS)]
    assert metis_artifact.fetch_all(store, _wanted(target, *names)) == {}
    assert sorted(path.name for path in target.parent.iterdir()) == names
    assert {path.read_bytes() for path in target.parent.iterdir()} == {BODY}


def test_one_that_fails_is_told_and_the_others_are_there(server: Loopback, target: Path) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        loopback.gives(BODY, 404 if handler.path.endswith("/two") else 200)(handler)

    server.answers = [answer]
    store = {"address": None, "port": server.port}
    failed = metis_artifact.fetch_all(store, _wanted(target, "one", "two", "three"))
    assert list(failed) == [str(target.with_name("two"))]
    assert "404" in failed[str(target.with_name("two"))]
    assert sorted(path.name for path in target.parent.iterdir()) == ["one", "three"]


def test_what_was_cut_off_goes_on_in_the_next_run(server: Loopback, target: Path) -> None:
    half = len(BODY) // 2
    server.answers = [loopback.gives(BODY[:half], length=len(BODY)), loopback.gives(b"", 503)]
    store = {"address": None, "port": server.port}
    assert list(metis_artifact.fetch_all(store, _wanted(target, "consul"))) == [
        str(target.with_name("consul"))
    ]
    server.answers = [loopback.serves(BODY)]
    assert metis_artifact.fetch_all(store, _wanted(target, "consul")) == {}
    assert server.ranges[-1] == f"bytes={half}-"
    assert [path.name for path in target.parent.iterdir()] == ["consul"]
