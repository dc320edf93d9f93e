"""Organization and release files below the pillar roots, and the pillar of each host."""

from __future__ import annotations

import copy
import logging
import os
import pwd
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import salt.config
import salt.payload
import salt.utils.path
import yaml
from cryptography import x509
from salt.exceptions import CommandExecutionError

import salt.minion
from _modules import metis_certificates, metis_deployed, metis_orgs, metis_secrets
from tests.unit import certificates, orgs


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder that everyone may look into, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.fixture
def roots(tmp_path: Path) -> list[Path]:
    found = [tmp_path / "repository", tmp_path / "own"]
    for root in found:
        (root / "orgs").mkdir(parents=True)
        (root / "releases").mkdir()
    (found[0] / "releases/0.3.0.yaml").write_text(yaml.safe_dump(orgs.RELEASE_FILE))
    return found


@pytest.fixture
def configure_loader_modules(roots: list[Path], tmp_path: Path) -> dict[ModuleType, dict[str, Any]]:
    (tmp_path / "pki").mkdir()
    opts = dict(salt.config.DEFAULT_MASTER_OPTS) | {
        "pillar_roots": {"base": [str(root) for root in roots]},
        "pki_dir": str(tmp_path / "pki"),
    }
    pure, made = orgs.wired(), certificates.wired(tmp_path / "pki")
    functions = next(iter(pure.values()))["__salt__"] | made[metis_certificates]["__salt__"]
    made[metis_secrets] |= {"__salt__": functions}
    own = {"__opts__": opts, "__salt__": functions}
    return pure | made | {metis_orgs: own, metis_deployed: own}


def _write(root: Path, name: str, file: Any) -> None:
    text = file if isinstance(file, str) else yaml.safe_dump({"metis": file}, sort_keys=False)
    (root / "orgs" / f"{name}.sls").write_text(text)


def _other(host: str = "o1", address: str = "10.9.0.1", **changes: Any) -> dict[str, Any]:
    """The file of an organization that has nothing of acme's."""
    file = orgs.one_host(carrier={"external_address": "198.51.100.9"}, **changes)
    file["hosts"] = {host: {"address": address, "roles": ["consul", "carrier"]}}
    return file


def _only_fault(name: str) -> dict[str, Any]:
    read = metis_orgs.read()[name]
    assert read["topology"] is None
    (fault,) = read["faults"]
    assert isinstance(fault, dict)
    return fault


def test_organizations_are_found_in_every_root(roots: list[Path]) -> None:
    _write(roots[0], "acme", orgs.org_file())
    _write(roots[1], "other", _other())
    (roots[1] / "orgs/README.md").write_text("no organization")
    read = metis_orgs.read()
    assert {name: org["file"] for name, org in read.items()} == {
        "acme": str(roots[0] / "orgs/acme.sls"),
        "other": str(roots[1] / "orgs/other.sls"),
    }
    assert read["acme"]["topology"]["org"] == "acme"
    assert read["other"]["topology"]["hosts"] == {"o1": "10.9.0.1"}


def test_of_two_files_of_one_name_the_first_root_s_counts(roots: list[Path]) -> None:
    _write(roots[0], "acme", orgs.org_file(cluster_name="first"))
    _write(roots[1], "acme", orgs.org_file(cluster_name="second"))
    assert metis_orgs.read()["acme"]["topology"]["cluster_name"] == "first"


def test_a_file_may_be_written_with_jinja(roots: list[Path]) -> None:
    text = "{% set count = 3 %}\nmetis:\n  release: 0.3.0\n  carrier: {enabled: False}\n"
    text += "  admin: {enabled: False}\n  hosts:\n{% for n in range(1, count + 1) %}"
    text += "    h{{ n }}: {address: 10.0.0.{{ n }}, roles: [consul]}\n{% endfor %}"
    _write(roots[0], "acme", text)
    read = metis_orgs.read()["acme"]
    assert read["faults"] == []
    assert list(read["topology"]["hosts"]) == ["h1", "h2", "h3"]


@pytest.mark.parametrize(
    "text",
    [
        "metis: {release: [",
        "metis:\n\trelease: x",
        "{% if %}",
        "metis: {{ nothing.at.all }}",
        "metis: {release: 0.3.0, release: 0.4.0}",
        "metis: !!python/object/apply:os.system [ls]",
    ],
)
def test_a_file_that_does_not_render_is_a_fault_with_its_place(
    roots: list[Path], text: str
) -> None:
    _write(roots[0], "acme", text)
    assert _only_fault("acme")["place"] == str(roots[0] / "orgs/acme.sls")


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "- a\n", "text"])
def test_a_file_without_content_is_a_fault(roots: list[Path], text: str) -> None:
    _write(roots[0], "acme", text)
    read = metis_orgs.read()["acme"]
    assert len(read["faults"]) == 1


@pytest.mark.parametrize("release", ["0.9.9", "", "../orgs/acme"])
def test_an_unknown_release_is_named_with_those_that_are_known(
    roots: list[Path], release: str
) -> None:
    (roots[1] / "releases/sandbox.yaml").write_text(yaml.safe_dump(orgs.RELEASE_FILE))
    _write(roots[0], "acme", orgs.org_file(release=release))
    fault = _only_fault("acme")
    assert (fault["place"], fault["value"]) == ("release", release)
    assert fault["fix"] == "known are: 0.3.0, sandbox"


@pytest.mark.parametrize(
    "text",
    [
        "metis: {admin: {mysql_password: kX9-vw2-pp0-Lq7}, release: [",
        "metis:\n  admin:\n    mysql_password: kX9-vw2-pp0-Lq7\n   heap: 1g\n",
        "metis:\n  admin:\n    mysql_password: >\n      kX9-vw2-pp0-Lq7\n  \theap: [\n",
        "metis: {admin: {mysql_password: !kX9-vw2-pp0-Lq7 x}}",
        "metis:\n  admin: {mysql_password: *kX9-vw2-pp0-Lq7 }\n",
        "metis: {admin: {mysql_password: kX9-vw2-pp0-Lq7, a: {{ nothing.at.all }}}}",
        "metis:\n  admin: {mysql_password: kX9-vw2-pp0-Lq7}\n{% if %}",
        "metis: {admin: {mysql_password: kX9-vw2-pp0-Lq7, a: {{ 1 / 0 }}}}",
    ],
)
def test_a_file_that_does_not_render_shows_no_password(
    roots: list[Path],
    text: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    _write(roots[0], "acme", text)
    assert "kX9-vw2" not in repr(_only_fault("acme"))
    # Salt logs such an error with the lines around it.
    assert "kX9-vw2" not in caplog.text
    assert "kX9-vw2" not in "".join(capfd.readouterr())


def test_the_copy_that_an_editor_keeps_is_no_organization(roots: list[Path]) -> None:
    _write(roots[0], "acme", orgs.org_file())
    _write(roots[0], ".#acme", orgs.org_file())
    assert list(metis_orgs.read()) == ["acme"]


def test_an_own_certificate_is_looked_at_whatever_else_is_wrong(roots: list[Path]) -> None:
    own = {"certificate": "/none/own.crt", "certificate_key": "/none/own.key"}
    _write(roots[0], "acme", orgs.org_file(relase="x", admin={"enable_tls": True} | own))
    assert {fault["place"] for fault in metis_orgs.read()["acme"]["faults"]} == {
        "relase",
        "hosts.h2.roles[1] (certificate)",
    }


def test_the_line_of_a_syntax_error_is_told_with_a_password_in_the_file_too(
    roots: list[Path],
) -> None:
    _write(roots[0], "acme", "metis:\n  admin:\n    mysql_password: x\n   heap: 1g\n")
    assert "line 4" in _only_fault("acme")["problem"]


@pytest.mark.parametrize(
    "text",
    [
        "metis: {a: {{ 1 / 0 }}}",
        "metis: {a: {{ salt['no.such']() }}}",
        "metis: " + "[" * 5000,
        "metis: {a: " + "9" * 5000 + "}",
        "metis: &a {hosts: *a, release: *a}",
        "metis: {hosts: &a [*a]}",
        "metis: {release: 0.3.0, hosts: {h1: {address: 10.0.0.1, roles: &a [consul, *a]}}}",
        "metis: {release: !!set {a, b}, hosts: !!binary aGk=}",
        "metis: {release: 2026-01-01, hosts: 1:30}",
        "\x00",
        "metis: {<<: {a: 1}, ? [b] : c}",
    ],
)
def test_whatever_stands_in_a_file_is_a_fault(roots: list[Path], text: str) -> None:
    _write(roots[0], "acme", text)
    read = metis_orgs.read()["acme"]
    assert read["topology"] is None
    assert read["faults"]
    assert "Traceback" not in repr(read)
    assert salt.payload.loads(salt.payload.dumps(read)) == read


# What cannot be read


@pytest.fixture
def as_user(roots: list[Path]) -> Iterator[Callable[[], dict[str, dict[str, Any]]]]:
    """Reads as Salt's user: root becomes another one, as it may read everything."""
    before = os.geteuid()

    def read() -> dict[str, dict[str, Any]]:
        os.seteuid(before or 65534)
        try:
            return metis_orgs.read()
        finally:
            os.seteuid(before)

    yield read
    for path in roots[0].parent.rglob("*"):
        path.chmod(0o755)


def _refused() -> str:
    user = pwd.getpwuid(os.geteuid() or 65534).pw_name
    return f"cannot be read: Permission denied. Salt's user {user} may not read it"


Reads = Callable[[], dict[str, dict[str, Any]]]


def _stops_nobody_else(read: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Give the one fault of acme, where other has none."""
    assert (read["other"]["faults"], read["acme"]["topology"]) == ([], None)
    assert read["other"]["topology"]
    (fault,) = read["acme"]["faults"]
    assert isinstance(fault, dict)
    # As a row or a line of an operator's terminal.
    assert "Traceback" not in repr(fault)
    return fault


def test_a_file_that_salt_s_user_may_not_read_stops_its_own_organization(
    roots: list[Path], as_user: Reads
) -> None:
    _write(roots[0], "acme", orgs.org_file())
    _write(roots[0], "other", _other())
    (roots[0] / "orgs/acme.sls").chmod(0)
    fault = _stops_nobody_else(as_user())
    assert (fault["place"], fault["problem"]) == (str(roots[0] / "orgs/acme.sls"), _refused())
    assert "chown" in fault["fix"]


def test_a_folder_whose_files_nobody_may_open_stops_those(
    roots: list[Path], as_user: Reads
) -> None:
    _write(roots[0], "acme", orgs.org_file())
    _write(roots[1], "other", _other())
    (roots[0] / "orgs").chmod(0o444)
    assert _stops_nobody_else(as_user())["problem"] == _refused()


def test_a_folder_of_organizations_that_is_closed_is_named(
    roots: list[Path], as_user: Reads
) -> None:
    _write(roots[0], "acme", orgs.org_file())
    _write(roots[1], "other", _other())
    folder = roots[0] / "orgs"
    folder.chmod(0o311)
    read = as_user()
    assert set(read) == {"other", str(folder)}
    assert read["other"]["faults"] == []
    (fault,) = read[str(folder)]["faults"]
    assert (fault["place"], fault["problem"]) == (str(folder), _refused())
    assert read[str(folder)]["topology"] is None


@pytest.mark.parametrize(("path", "mode"), [("releases/mine.yaml", 0), ("releases", 0o311)])
def test_a_release_that_salt_s_user_may_not_read_stops_who_names_it(
    roots: list[Path], as_user: Reads, path: str, mode: int
) -> None:
    (roots[1] / "releases/mine.yaml").write_text(yaml.safe_dump(orgs.RELEASE_FILE))
    _write(roots[0], "acme", orgs.org_file(release="mine"))
    _write(roots[0], "other", _other())
    (roots[1] / path).chmod(mode)
    fault = _stops_nobody_else(as_user())
    assert (fault["place"], fault["value"]) == ("release", "mine")
    assert fault["problem"] == f"cannot be used: {roots[1] / path} {_refused()}"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"release: mine\nkv: \xff\n", "line 2 is no UTF-8"),
        (b"release: {{ 1 / 0 }}", "division by zero; line 1$"),
        (b"release: {{ salt['no.such']() }}", "has no attribute|no.such"),
        (b"{% if %}", "Expected an expression|Jinja"),
        (b"release: [" + b"[" * 5000, "while parsing"),
        (b"release: &a [*a]", "release"),
    ],
)
def test_a_release_file_of_any_content_is_a_fault_in_words(
    roots: list[Path], content: bytes, words: str
) -> None:
    (roots[1] / "releases/mine.yaml").write_bytes(content)
    _write(roots[0], "acme", orgs.org_file(release="mine"))
    _write(roots[0], "other", _other())
    fault = _stops_nobody_else(metis_orgs.read())
    assert str(roots[1] / "releases/mine.yaml") in fault["problem"]
    assert re.search(words, fault["problem"])
    with pytest.raises(CommandExecutionError, match=re.escape(fault["fix"])) as caught:
        metis_orgs.release("mine")
    assert "Traceback" not in str(caught.value)


def test_a_file_in_another_encoding_is_told_with_the_line(roots: list[Path]) -> None:
    (roots[0] / "orgs/acme.sls").write_bytes("metis:\n  cluster_name: ü\n".encode("latin-1"))
    fault = _only_fault("acme")
    assert (fault["problem"], fault["fix"]) == (
        "cannot be read: line 2 is no UTF-8",
        "save it as UTF-8",
    )


@pytest.mark.parametrize(
    ("file", "place"),
    [("deployed/acme.yaml", "what is deployed"), ("acme.yaml", "what was made on the master")],
)
@pytest.mark.parametrize(
    "content", [b"", b"\0\0", b"a: [", b"\xff", b"- a", b"kX9-vw2: kX9-vw2: x"]
)
def test_a_record_of_the_master_that_is_damaged_stops_its_own_organization(
    roots: list[Path], tmp_path: Path, file: str, place: str, content: bytes
) -> None:
    _write(roots[0], "acme", orgs.org_file())
    _write(roots[0], "other", _other())
    path = tmp_path / "pki/metis" / file
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    fault = _stops_nobody_else(metis_orgs.read())
    assert (fault["place"], fault["problem"]) == (place, f"is not known: {path} is damaged")
    assert "kX9" not in repr(fault)
    assert metis_orgs.pillar("h1") == {}
    assert metis_orgs.pillar("o1")["metis"]["org"] == "other"


def test_a_record_that_salt_s_user_may_not_read_is_told(
    roots: list[Path], tmp_path: Path, as_user: Reads
) -> None:
    _write(roots[0], "acme", orgs.org_file())
    _write(roots[0], "other", _other())
    metis_deployed.keep("acme", {"carrier@h1": {"release": "0.3.0"}})
    for folder in ("pki/metis", "pki/metis/deployed"):
        (tmp_path / folder).chmod(0o755)
    path = tmp_path / "pki/metis/deployed/acme.yaml"
    assert _stops_nobody_else(as_user())["problem"] == f"is not known: {path} {_refused()}"


@pytest.mark.parametrize(
    "entry",
    ["0.3.0", {"release": ["0.3.0"]}, {"release": "0.3.0", "undo": 1}, {"trace": {"host": "h9"}}],
)
def test_an_entry_of_the_record_that_is_damaged_is_named(
    roots: list[Path], tmp_path: Path, entry: Any
) -> None:
    _write(roots[0], "acme", orgs.org_file())
    _write(roots[0], "other", _other())
    path = tmp_path / "pki/metis/deployed/acme.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump({"data@h9:8700": entry}))
    problem = _stops_nobody_else(metis_orgs.read())["problem"]
    assert problem == f"is not known: {path} is damaged, in what it says of data@h9:8700"


# Encrypted values


@pytest.fixture(scope="module")
def gpg(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Encrypts for a key that is made for this, and has the folder of the keys as `home`."""
    # A socket's path may have 107 characters, and gpg's agent has one there.
    with tempfile.TemporaryDirectory(prefix="metis-gpg-") as home:

        def run(*words: str, text: str = "") -> str:
            command = ["gpg", "--homedir", home, "--batch", "--quiet", *words]
            done = subprocess.run(
                command, input=text, capture_output=True, text=True, check=True, timeout=60
            )
            return done.stdout

        for name in ("master", "stranger"):
            run("--passphrase", "", "--quick-generate-key", name, "default", "default", "never")
        fingerprint = run("--with-colons", "--list-secret-keys", "stranger").split("fpr")[1]
        run("--yes", "--delete-secret-keys", fingerprint.strip(":").split(":")[0])

        def encrypt(text: str, to: str = "master") -> str:
            words = ("--armor", "--trust-model", "always", "--encrypt", "--recipient", to)
            return run(*words, text=text)

        vars(encrypt)["home"] = home
        yield encrypt
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True, timeout=60)


@pytest.fixture
def keys(gpg: Callable[..., str]) -> None:
    vars(metis_orgs)["__opts__"]["gpg_keydir"] = vars(gpg)["home"]


@pytest.mark.usefixtures("keys")
def test_a_password_may_be_encrypted(roots: list[Path], gpg: Callable[..., str]) -> None:
    password = "kX9-vw2-pp0-Lq7: #ü"
    _write(roots[0], "acme", orgs.org_file(admin={"mysql_password": gpg(f"{password}\n")}))
    assert "kX9" not in (roots[0] / "orgs/acme.sls").read_text()
    assert metis_orgs.read()["acme"]["faults"] == []
    admin = metis_orgs.pillar("h2")["metis"]["roles"]["admin"]["instances"][0]
    assert admin["config"]["spring"]["datasource"]["druid"]["password"] == password


@pytest.mark.usefixtures("keys")
def test_an_encrypted_password_is_judged_as_any_other(
    roots: list[Path], gpg: Callable[..., str]
) -> None:
    _write(roots[0], "acme", orgs.org_file(admin={"mysql_password": gpg("admin_123456")}))
    fault = _only_fault("acme")
    assert "is an example" in fault["problem"]
    assert "admin_123456" not in repr(fault)


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize(
    ("spoiled", "problem"),
    [
        (lambda gpg: gpg("kX9-vw2-pp0-Lq7", "stranger"), "for a key that is not the master's"),
        (lambda gpg: gpg("kX9-vw2-pp0-Lq7").replace("-----END PGP", "END PGP"), "without an end"),
        (lambda gpg: re.sub("[a-z]", "A", gpg("kX9-vw2-pp0-Lq7"), count=40), "is damaged"),
        (lambda gpg: "-----BEGIN PGP MESSAGE-----\n-----END PGP MESSAGE-----", "is damaged"),
        (lambda gpg: gpg(""), "is damaged"),
    ],
)
def test_what_cannot_be_decrypted_is_a_fault_and_nobody_s_password(
    roots: list[Path],
    gpg: Callable[..., str],
    spoiled: Callable[[Callable[..., str]], str],
    problem: str,
) -> None:
    _write(roots[0], "acme", orgs.org_file(admin={"mysql_password": spoiled(gpg)}))
    fault = _only_fault("acme")
    assert fault["place"] == "admin.mysql_password"
    assert problem in fault["problem"]
    assert "encrypt it for the master's key" in fault["fix"]
    assert "PGP MESSAGE-----" not in repr(fault)
    assert metis_orgs.pillar("h2") == {}


@pytest.mark.usefixtures("keys")
def test_each_value_that_cannot_be_decrypted_is_named_beside_the_other_faults(
    roots: list[Path], gpg: Callable[..., str]
) -> None:
    lost = gpg("kX9-vw2-pp0-Lq7", "stranger")
    entry = {"admin": {"mysql_password": lost}}
    file = orgs.org_file(release=lost, hosts=orgs.hosts(entry), carrier={"rpc_prt": 1})
    _write(roots[0], "acme", file)
    assert [fault["place"] for fault in metis_orgs.read()["acme"]["faults"]] == [
        "release",
        "hosts.h1.roles[2].admin.mysql_password",
        "carrier.rpc_prt",
        "carrier.external_address",
    ]


@pytest.mark.usefixtures("keys")
def test_without_gpg_the_master_says_what_to_install(
    roots: list[Path], gpg: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(roots[0], "acme", orgs.org_file(admin={"mysql_password": gpg("kX9-vw2-pp0-Lq7")}))
    monkeypatch.setattr(salt.utils.path, "which", lambda name: None)
    fault = _only_fault("acme")
    assert fault["place"] == "admin.mysql_password"
    assert "the master has no gpg" in fault["problem"]
    assert fault["fix"] == "apt-get install gnupg"


def test_a_master_without_keys_says_so(roots: list[Path], gpg: Callable[..., str]) -> None:
    vars(metis_orgs)["__opts__"]["gpg_keydir"] = str(roots[0] / "no-keys")
    _write(roots[0], "acme", orgs.org_file(admin={"mysql_password": gpg("kX9-vw2-pp0-Lq7")}))
    assert _only_fault("acme")["place"] == "admin.mysql_password"


def test_an_unknown_release_hides_no_other_fault(roots: list[Path]) -> None:
    _write(roots[0], "acme", orgs.org_file(release="x", carrier={"rpc_prt": 1}, ice_via={}))
    assert {fault["place"] for fault in metis_orgs.read()["acme"]["faults"]} == {
        "release",
        "carrier.rpc_prt",
        "carrier.external_address",
        "ice_via.external_address",
    }


def test_a_missing_release_is_one_fault(roots: list[Path]) -> None:
    file = orgs.org_file()
    del file["release"]
    _write(roots[0], "acme", file)
    assert _only_fault("acme")["problem"] == "is missing"


def test_a_broken_release_file_is_a_fault_of_who_names_it_only(roots: list[Path]) -> None:
    (roots[1] / "releases/broken.yaml").write_text("release: [")
    _write(roots[0], "acme", orgs.org_file(release="broken"))
    _write(roots[0], "other", _other())
    assert "cannot be read" in _only_fault("acme")["problem"]
    assert metis_orgs.read()["other"]["faults"] == []


def test_what_is_wrong_in_a_release_file_is_told_of_who_names_it_only(roots: list[Path]) -> None:
    wrong = copy.deepcopy(orgs.RELEASE_FILE)
    del wrong["artifacts"]["carrier"], wrong["kv"]
    (roots[1] / "releases/mine.yaml").write_text(yaml.safe_dump(wrong))
    _write(roots[0], "acme", orgs.org_file(release="mine", carrier={"rpc_prt": 1}))
    other = orgs.one_host()
    other["hosts"] = {"o1": {"address": "10.9.0.1", "roles": ["consul", "carrier"]}}
    other["carrier"] = {"external_address": "198.51.100.9"}
    _write(roots[0], "other", other)
    read = metis_orgs.read()
    problems = {f"{fault['place']} {fault['problem']}" for fault in read["acme"]["faults"]}
    assert "release names mine, in whose file kv is missing" in problems
    assert any(problem.startswith("carrier.rpc_prt") for problem in problems)
    assert read["other"]["faults"] == []


def test_a_release_file_under_another_name_is_a_fault(roots: list[Path]) -> None:
    # Its release would be looked for in the other file.
    (roots[1] / "releases/mine.yaml").write_text(yaml.safe_dump(orgs.RELEASE_FILE))
    _write(roots[0], "acme", orgs.org_file(release="mine"))
    fault = _only_fault("acme")
    assert "release is 0.3.0, and the file is called mine.yaml" in fault["problem"]


def test_a_host_of_two_organizations_is_a_fault_of_both(roots: list[Path]) -> None:
    _write(roots[0], "acme", orgs.org_file())
    _write(roots[0], "other", _other("h1"))
    for name, other in (("acme", "other"), ("other", "acme")):
        fault = _only_fault(name)
        assert fault["place"] == "hosts.h1"
        assert f"organization {other} too" in fault["problem"]
    assert metis_orgs.pillar("h1") == {}


def test_a_clash_stops_the_organizations_that_have_it_and_no_third(roots: list[Path]) -> None:
    _write(roots[0], "acme", orgs.org_file())
    _write(roots[0], "other", _other(address="10.0.0.4"))
    third = _other("t1", "10.8.0.1", ice_via={"external_address": "198.51.100.8"})
    _write(roots[0], "third", third | {"carrier": {"external_address": "198.51.100.8"}})
    read = metis_orgs.read()
    assert {name: [fault["place"] for fault in org["faults"]] for name, org in read.items()} == {
        "acme": ["hosts.h4.address"],
        "other": ["hosts.o1.address"],
        "third": [],
    }
    assert [name for name, org in read.items() if org["topology"]] == ["third"]
    assert set(read["acme"]) == {"file", "topology", "faults"}


def test_an_organization_with_faults_of_its_own_stops_no_other(roots: list[Path]) -> None:
    _write(roots[0], "acme", orgs.org_file())
    before = metis_orgs.read()["acme"]
    _write(roots[1], "other", _other("h1", "10.0.0.4", relase=1) | {"carrier": {"rpc_prt": 1}})
    _write(roots[1], "unreadable", "metis: [")
    read = metis_orgs.read()
    assert read["acme"] == before
    assert before["faults"] == []
    assert {fault["place"] for fault in read["other"]["faults"]} == {
        "relase",
        "carrier.rpc_prt",
        "carrier.external_address",
        "hosts.h1",
    }


def test_the_master_sees_every_organization(roots: list[Path]) -> None:
    _write(roots[0], "acme", orgs.org_file())
    seen = metis_orgs.pillar("metis_master")["metis"]["orgs"]
    assert seen == metis_orgs.read()
    assert list(seen) == ["acme"]


def test_a_host_sees_its_view_with_a_password_that_stays(roots: list[Path]) -> None:
    _write(roots[0], "acme", orgs.org_file())
    seen = metis_orgs.pillar("h2")["metis"]
    assert (seen["org"], seen["host"], list(seen["roles"])) == ("acme", "h2", ["consul", "admin"])
    druid = seen["roles"]["admin"]["instances"][0]["config"]["spring"]["datasource"]["druid"]
    assert len(druid["password"]) == 32
    assert metis_orgs.pillar("h2")["metis"] == seen
    for host in ("h1", "h3", "h4"):
        assert druid["password"] not in repr(metis_orgs.pillar(host))


@pytest.mark.parametrize("minion", ["h9", "acme", "", "H1"])
def test_a_minion_of_no_organization_sees_nothing(roots: list[Path], minion: str) -> None:
    _write(roots[0], "acme", orgs.org_file())
    assert metis_orgs.pillar(minion) == {}


def test_a_faulty_file_keeps_no_other_organization_from_its_pillar(roots: list[Path]) -> None:
    _write(roots[0], "acme", orgs.org_file())
    _write(roots[0], "broken", "metis: [")
    assert metis_orgs.pillar("h1")["metis"]["org"] == "acme"


@pytest.mark.parametrize("function", ["metis_orgform.checked", "metis_progress.shown"])
def test_a_master_without_the_libraries_is_told_what_to_install(
    roots: list[Path], monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    _write(roots[0], "acme", orgs.org_file())
    monkeypatch.delitem(vars(metis_orgs)["__salt__"], function)
    with pytest.raises(CommandExecutionError, match=r"run salt-pip install pydantic rich zxcvbn"):
        metis_orgs.read()


class _Lazy(dict[str, Any]):
    """Functions as Salt has them: to ask which there are loads every module, with what it warns."""

    def __iter__(self) -> Iterator[str]:
        raise AssertionError


def test_modules_of_salt_that_nobody_needs_are_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    lazy = _Lazy(vars(metis_orgs)["__salt__"].items())
    monkeypatch.setitem(vars(metis_orgs), "__salt__", lazy)
    assert metis_orgs.form({"metis": orgs.org_file()})["faults"] == []


def test_a_release_is_read_by_its_name() -> None:
    assert metis_orgs.release("0.3.0") == orgs.RELEASE_FILE
    assert metis_orgs.release("0.9.9") is None


# Certificates


SECURED = {
    "admin": {"enable_tls": True, "server_name": "console.acme.example"},
    "ice_via": {"external_address": "ice.acme.example", "protocol": "ssl"},
}


def _tls(host: str, role: str) -> dict[str, Any]:
    tls: dict[str, Any] = metis_orgs.pillar(host)["metis"]["roles"][role]["instances"][0]["tls"]
    return tls


def test_who_speaks_tls_has_a_certificate_that_stays(roots: list[Path]) -> None:
    _write(roots[0], "acme", orgs.org_file(**SECURED))
    admin, ice_via = _tls("h2", "admin"), _tls("h3", "ice_via")
    for tls, names in (
        (admin, ["console.acme.example", "h2"]),
        (ice_via, ["ice.acme.example", "h3"]),
    ):
        assert tls["enabled"] is True
        found = x509.load_pem_x509_certificate(tls["certificate"].encode())
        alternative = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert alternative.get_values_for_type(x509.DNSName) == names
    assert admin["key"] != ice_via["key"]
    assert (_tls("h2", "admin"), _tls("h3", "ice_via")) == (admin, ice_via)


def test_a_key_is_seen_by_its_own_host_only(roots: list[Path], tmp_path: Path) -> None:
    _write(roots[0], "acme", orgs.org_file(**SECURED))
    keys = {"h2": _tls("h2", "admin")["key"], "h3": _tls("h3", "ice_via")["key"]}
    kept = yaml.safe_load((tmp_path / "pki/metis/acme.yaml").read_text())
    authority = kept["certificates"]["authority"]["key"]
    for host in ("h1", "h2", "h3", "h4", "metis_master"):
        seen = str(metis_orgs.pillar(host))
        assert {owner for owner, key in keys.items() if repr(key)[1:-1] in seen} <= {host}
        assert repr(authority)[1:-1] not in seen


def test_without_tls_no_authority_is_made(roots: list[Path], tmp_path: Path) -> None:
    _write(roots[0], "acme", orgs.org_file())
    assert _tls("h2", "admin")["enabled"] is False
    assert "certificates" not in yaml.safe_load((tmp_path / "pki/metis/acme.yaml").read_text())


@pytest.fixture
def own(tmp_path: Path) -> dict[str, str]:
    made = metis_certificates.issued("own", "admin", ["DNS:console.acme.example"])
    files = {"certificate": tmp_path / "own.crt", "certificate_key": tmp_path / "own.key"}
    files["certificate"].write_text(made["certificate"])
    files["certificate_key"].write_text(made["key"])
    return {setting: str(file) for setting, file in files.items()}


def test_the_operator_s_own_certificate_is_used(roots: list[Path], own: dict[str, str]) -> None:
    _write(roots[0], "acme", orgs.org_file(admin={"enable_tls": True} | own))
    tls = _tls("h2", "admin")
    assert tls["certificate"].split() == Path(own["certificate"]).read_text().split()
    assert tls["key"] == Path(own["certificate_key"]).read_text()


def test_an_own_certificate_that_cannot_be_used_is_a_fault(
    roots: list[Path], own: dict[str, str]
) -> None:
    Path(own["certificate_key"]).unlink()
    _write(roots[0], "acme", orgs.org_file(admin={"enable_tls": True} | own))
    fault = _only_fault("acme")
    assert fault["place"] == "hosts.h2.roles[1] (certificate)"
    assert f"{own['certificate_key']}: No such file" in fault["problem"]
    # Where no TLS is spoken, nobody reads it.
    _write(roots[0], "acme", orgs.org_file(admin=own))
    assert metis_orgs.read()["acme"]["faults"] == []


def test_an_own_certificate_that_has_ended_is_no_fault(
    roots: list[Path], own: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metis_certificates, "VALID", 0)
    made = metis_certificates.issued("own", "old", ["DNS:console.acme.example"])
    Path(own["certificate"]).write_text(made["certificate"])
    Path(own["certificate_key"]).write_text(made["key"])
    # It holds until the end of this second.
    time.sleep(1.1)
    _write(roots[0], "acme", orgs.org_file(admin={"enable_tls": True} | own))
    assert metis_orgs.read()["acme"]["faults"] == []
    assert _tls("h2", "admin")["certificate"].strip() == made["certificate"].strip()


@pytest.mark.parametrize("left_out", ["certificate", "certificate_key"])
def test_half_of_an_own_certificate_is_a_fault(
    roots: list[Path], own: dict[str, str], left_out: str
) -> None:
    del own[left_out]
    _write(roots[0], "acme", orgs.org_file(admin={"enable_tls": True} | own))
    fault = _only_fault("acme")
    assert fault["place"] == f"hosts.h2.roles[1] ({left_out})"
    assert "is missing" in fault["problem"]


# What is wanted, and what is deployed


def _next_release(root: Path, **changes: Any) -> None:
    content = copy.deepcopy(orgs.RELEASE_FILE) | {"release": "0.4.0"}
    content["artifacts"]["carrier"] |= changes
    (root / "releases/0.4.0.yaml").write_text(yaml.safe_dump(content))


def test_a_host_runs_what_is_deployed_until_it_is_upgraded(roots: list[Path]) -> None:
    _next_release(roots[0])
    _write(roots[0], "acme", orgs.org_file())
    metis_deployed.keep("acme", {"carrier@h1": {"release": "0.3.0"}})
    _write(roots[0], "acme", orgs.org_file(release="0.4.0"))
    carrier = metis_orgs.pillar("h1")["metis"]["roles"]["carrier"]
    assert carrier["instances"][0]["release"] == "0.3.0"
    # The wanted one can be laid down beside it.
    assert set(carrier["releases"]) == {"0.3.0", "0.4.0"}
    metis_deployed.keep("acme", {"carrier@h1": {"release": "0.4.0", "previous": "0.3.0"}})
    _write(roots[0], "acme", orgs.org_file(release="0.4.0"))
    carrier = metis_orgs.pillar("h1")["metis"]["roles"]["carrier"]
    assert carrier["instances"][0]["release"] == "0.4.0"
    # And the one before, for the way back.
    assert set(carrier["releases"]) == {"0.3.0", "0.4.0"}


def test_the_file_of_a_deployed_release_has_to_stay(roots: list[Path]) -> None:
    _next_release(roots[0])
    _write(roots[0], "acme", orgs.org_file(release="0.4.0"))
    metis_deployed.keep("acme", {"carrier@h1": {"release": "0.3.0"}})
    (roots[0] / "releases/0.3.0.yaml").unlink()
    fault = _only_fault("acme")
    assert (fault["place"], fault["value"]) == ("deployed", "0.3.0")
    assert "carrier@h1" in fault["fix"]
    assert "until metis.upgrade is through" in fault["fix"]


def test_the_file_of_the_release_before_may_go(roots: list[Path]) -> None:
    _next_release(roots[0])
    _write(roots[0], "acme", orgs.org_file(release="0.4.0"))
    entry = {"release": "0.4.0", "previous": "0.3.0"}
    metis_deployed.keep("acme", {"carrier@h1": entry})
    (roots[0] / "releases/0.3.0.yaml").unlink()
    carrier = metis_orgs.pillar("h1")["metis"]["roles"]["carrier"]
    assert set(carrier["releases"]) == {"0.4.0"}


def test_what_keeps_a_release_from_being_deployed_is_told(roots: list[Path]) -> None:
    _write(roots[0], "acme", orgs.org_file())
    topology = metis_orgs.read()["acme"]["topology"]
    assert metis_orgs.complete_release("0.3.0", topology) == []
    (missing,) = metis_orgs.complete_release("0.4.0", topology)
    assert "has no file" in missing
    _next_release(roots[0], sha256=None)
    (unknown,) = metis_orgs.complete_release("0.4.0", topology)
    assert "artifact carrier has no checksum" in unknown


def test_what_the_master_asks_for_keeps_the_end_of_salt_run_clean(
    roots: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Salt would load every returner then, to find out which want to be told.
    at_exit: list[Callable[[], None]] = []
    monkeypatch.setattr(metis_orgs.atexit, "register", at_exit.append)
    minion = object.__new__(salt.minion.MasterMinion)
    minion.returners = {"mysql.returner": None}
    metis_orgs.pillar("h1")
    assert at_exit == []
    metis_orgs.pillar(metis_orgs.MASTER_ID)
    for function in at_exit:
        function()
    assert minion.returners is None
    # It is finalized like any other.
    minion.destroy = lambda: None
