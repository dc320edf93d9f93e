"""Certificates of an organization's own authority, and files of the operator's own."""

from __future__ import annotations

import hashlib
import stat
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store
from salt.exceptions import CommandExecutionError

from _modules import metis_certificates
from tests.unit import certificates

NAMES = ["DNS:console.acme.example", "IP:10.0.0.2"]


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    found = tmp_path / "pki"
    found.mkdir()
    return found


@pytest.fixture
def configure_loader_modules(pki: Path) -> dict[ModuleType, dict[str, Any]]:
    return certificates.wired(pki)


def _certificate(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def _days(pem: str) -> int:
    found = _certificate(pem)
    return (found.not_valid_after_utc - found.not_valid_before_utc).days


def _kept(pki: Path) -> dict[str, Any]:
    kept: dict[str, Any] = yaml.safe_load((pki / "metis/acme.yaml").read_text())
    return kept


def test_a_client_that_trusts_the_authority_takes_the_server() -> None:
    made = metis_certificates.issued("acme", "admin", NAMES)
    store = Store([_certificate(metis_certificates.authority("acme"))])
    verifier = PolicyBuilder().store(store).build_server_verifier(x509.DNSName(NAMES[0][4:]))
    chain = verifier.verify(_certificate(made["certificate"]), [])
    assert len(chain) == 2
    alternative = chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(ip) for ip in alternative.get_values_for_type(x509.IPAddress)] == ["10.0.0.2"]
    usage = chain[0].extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    own = serialization.load_pem_private_key(made["key"].encode(), None).public_key()
    assert own == chain[0].public_key()


def test_a_certificate_is_kept_as_it_is() -> None:
    made = metis_certificates.issued("acme", "admin", NAMES)
    authority = metis_certificates.authority("acme")
    assert metis_certificates.issued("acme", "admin", NAMES) == made
    other = metis_certificates.issued("acme", "ice_via", ["IP:10.0.0.3"])
    assert other["key"] != made["key"]
    assert metis_certificates.issued("acme", "admin", NAMES) == made
    assert metis_certificates.authority("acme") == authority


def test_the_authority_s_key_stays_on_the_master(pki: Path) -> None:
    made = metis_certificates.issued("acme", "admin", NAMES)
    key = _kept(pki)["certificates"]["authority"]["key"]
    assert "PRIVATE KEY" in key
    assert key not in made.values()
    assert "PRIVATE KEY" not in metis_certificates.authority("acme")
    assert stat.S_IMODE((pki / "metis/acme.yaml").stat().st_mode) == 0o600


def test_organizations_share_no_authority() -> None:
    assert metis_certificates.authority("acme") != metis_certificates.authority("other")


def test_another_name_is_another_certificate() -> None:
    made = metis_certificates.issued("acme", "admin", NAMES)
    renamed = metis_certificates.issued("acme", "admin", ["DNS:new.acme.example"])
    assert renamed["certificate"] != made["certificate"]
    assert renamed["key"] != made["key"]


def test_names_that_come_back_have_the_certificate_that_they_had(pki: Path) -> None:
    made = metis_certificates.issued("acme", "admin", NAMES)
    kept = _kept(pki)
    tried = metis_certificates.issued("acme", "admin", ["DNS:new.acme.example"])
    again = metis_certificates.issued("acme", "admin", ["DNS:third.acme.example"])
    assert metis_certificates.issued("acme", "admin", NAMES) == made
    assert metis_certificates.issued("acme", "admin", ["DNS:new.acme.example"]) == tried
    assert metis_certificates.issued("acme", "admin", NAMES) == made
    # The one in use stands where it always did.
    now = _kept(pki)["certificates"]["admin"]
    others = [other["certificate"] for other in now.pop("others")]
    assert now == kept["certificates"]["admin"]
    assert sorted(others) == sorted([tried["certificate"], again["certificate"]])


def test_what_ends_soon_is_not_kept_for_names_that_nobody_has(
    pki: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as old:
        old.setattr(metis_certificates, "VALID", metis_certificates.RENEWED_BEFORE - 1)
        before = metis_certificates.issued("acme", "admin", ["DNS:old.acme.example"])
    metis_certificates.issued("acme", "admin", NAMES)
    assert set(_kept(pki)["certificates"]["admin"]) == {"names", "key", "certificate"}
    assert metis_certificates.issued("acme", "admin", ["DNS:old.acme.example"]) != before


@pytest.mark.parametrize(
    ("days", "renewed"),
    [
        (metis_certificates.RENEWED_BEFORE + 1, False),
        (metis_certificates.RENEWED_BEFORE - 1, True),
        (0, True),
    ],
)
def test_a_certificate_is_renewed_before_it_ends(
    monkeypatch: pytest.MonkeyPatch, days: int, renewed: bool
) -> None:
    with monkeypatch.context() as old:
        old.setattr(metis_certificates, "VALID", days)
        made = metis_certificates.issued("acme", "admin", NAMES)
    authority = metis_certificates.authority("acme")
    again = metis_certificates.issued("acme", "admin", NAMES)
    assert (again != made) is renewed
    assert metis_certificates.authority("acme") == authority
    if renewed:
        assert _days(again["certificate"]) == metis_certificates.VALID


def test_a_renewed_authority_keeps_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as old:
        old.setattr(metis_certificates, "AUTHORITY_VALID", 400)
        made = metis_certificates.issued("acme", "admin", NAMES)
        before = _certificate(metis_certificates._authority("acme", {})["certificate"])
    assert before.not_valid_after_utc < datetime.now(UTC) + timedelta(days=401)
    # What clients trusted goes on to hold, as does what it issued.
    renewed = metis_certificates.authority("acme")
    assert _days(renewed) == metis_certificates.AUTHORITY_VALID
    _certificate(made["certificate"]).verify_directly_issued_by(_certificate(renewed))
    assert metis_certificates.issued("acme", "admin", NAMES) == made


def test_there_is_time_to_renew_and_browsers_take_it() -> None:
    assert metis_certificates.RENEWED_BEFORE == 90
    assert metis_certificates.VALID <= 398


@pytest.mark.parametrize("org", ["acme", "x" * 80])
def test_long_names_have_certificates_too(org: str) -> None:
    name = f"{'a' * 60}.{'b' * 60}.example"
    made = metis_certificates.issued(org, "admin", [f"DNS:{name}", "IP:10.0.0.2"])
    found = _certificate(made["certificate"])
    alternative = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert alternative.get_values_for_type(x509.DNSName) == [name]


def test_a_certificate_does_not_outlive_its_authority() -> None:
    assert metis_certificates.VALID < metis_certificates.AUTHORITY_RENEWED_BEFORE


# The operator's own


@pytest.fixture
def own(tmp_path: Path) -> dict[str, Path]:
    made = metis_certificates.issued("own", "admin", NAMES)
    files = {"certificate": tmp_path / "own.crt", "key": tmp_path / "own.key"}
    for what, file in files.items():
        file.write_text(made[what])
    return files


def _given(own: dict[str, Path]) -> dict[str, str]:
    return metis_certificates.given(str(own["certificate"]), str(own["key"]))


def test_an_own_certificate_is_taken_with_its_chain(own: dict[str, Path]) -> None:
    chain = own["certificate"].read_text() + metis_certificates.authority("own")
    own["certificate"].write_text(chain)
    given = _given(own)
    assert given["certificate"].split() == chain.split()
    assert given["key"] == own["key"].read_text()


@pytest.mark.parametrize("what", ["certificate", "key"])
def test_an_own_file_that_is_not_there(own: dict[str, Path], what: str) -> None:
    own[what].unlink()
    with pytest.raises(CommandExecutionError, match=f"{own[what]}: No such file"):
        _given(own)


@pytest.mark.parametrize(
    ("what", "words"),
    [("certificate", "holds no certificate|is damaged"), ("key", "is damaged, or .* holds no key")],
)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nothing",
        b"\x30\x82\xff",
        b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----",
    ],
)
def test_an_own_file_that_holds_something_else(
    own: dict[str, Path], what: str, words: str, data: bytes
) -> None:
    own[what].write_bytes(data)
    with pytest.raises(CommandExecutionError, match=words):
        _given(own)


def test_a_key_of_another_certificate(own: dict[str, Path]) -> None:
    own["key"].write_text(metis_certificates.issued("own", "ice_via", NAMES)["key"])
    with pytest.raises(CommandExecutionError, match="the key is that of another certificate"):
        _given(own)


def test_an_own_certificate_that_has_ended_goes_on_to_be_used(
    own: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metis_certificates, "VALID", 0)
    made = metis_certificates.issued("own", "old", NAMES)
    own["certificate"].write_text(made["certificate"])
    own["key"].write_text(made["key"])
    # It holds until the end of this second.
    time.sleep(1.1)
    given = _given(own)
    assert given["certificate"].strip() == made["certificate"].strip()
    assert metis_certificates.ending(given["certificate"]) == "has ended"


@pytest.mark.parametrize(("days", "ending"), [(29, "ends soon"), (31, "")])
def test_the_end_of_a_certificate_is_told_in_its_last_days(
    own: dict[str, Path], monkeypatch: pytest.MonkeyPatch, days: int, ending: str
) -> None:
    monkeypatch.setattr(metis_certificates, "VALID", days)
    own["certificate"].write_text(metis_certificates.issued("own", "new", NAMES)["certificate"])
    assert metis_certificates.ending(str(own["certificate"])) == ending


def test_a_key_in_the_file_of_the_certificate_is_not_handed_on_with_it(
    own: dict[str, Path],
) -> None:
    certificate, key = own["certificate"].read_text(), own["key"].read_text()
    own["certificate"].write_text(f"# 证书\n{key}{certificate}", "utf-8")
    assert _given(own)["certificate"].strip() == certificate.strip()


def _openssl(own: dict[str, Path], key: list[str], *words: str) -> None:
    make = ["openssl", "genpkey", "-out", str(own["key"]), "-algorithm", *key]
    subprocess.run(make, check=True, capture_output=True, timeout=20)
    sign = ["openssl", "req", "-x509", "-days", "9", "-subj", "/CN=own", "-key", str(own["key"])]
    sign += ["-out", str(own["certificate"]), "-passin", "pass:secret", *words]
    subprocess.run(sign, check=True, capture_output=True, timeout=20)


@pytest.mark.parametrize(
    ("key", "words", "said"),
    [
        (["RSA", "-pkeyopt", "rsa_keygen_bits:1024"], [], "its key is too short"),
        (["RSA", "-aes256", "-pass", "pass:secret"], [], "holds no key without a passphrase"),
        # The seed's web certificate is of this kind.
        (["SM2"], ["-sm3", "-sigopt", "distid:1"], "of a kind that cannot be used"),
        (["EC", "-pkeyopt", "ec_paramgen_curve:sect233k1"], [], "of a kind that cannot be used"),
    ],
)
def test_a_certificate_that_no_server_takes(
    own: dict[str, Path], key: list[str], words: list[str], said: str
) -> None:
    _openssl(own, key, *words)
    with pytest.raises(CommandExecutionError, match=said):
        _given(own)


def test_another_authority_s_certificate_is_taken(own: dict[str, Path]) -> None:
    _openssl(own, ["RSA"])
    assert _given(own)["certificate"] == own["certificate"].read_text()


# On a host


def test_the_fingerprint_is_that_of_the_first_certificate(own: dict[str, Path]) -> None:
    first = own["certificate"].read_text()
    der = _certificate(first).public_bytes(serialization.Encoding.DER)
    own["certificate"].write_text(f"A comment\n{first}{metis_certificates.authority('own')}")
    found = metis_certificates.fingerprint(str(own["certificate"]))
    assert found == hashlib.sha256(der).hexdigest()


def test_a_file_without_a_certificate_has_no_fingerprint(tmp_path: Path) -> None:
    with pytest.raises(CommandExecutionError, match="No such file"):
        metis_certificates.fingerprint(str(tmp_path / "none"))
    (tmp_path / "empty").write_text("")
    with pytest.raises(CommandExecutionError, match="holds no certificate"):
        metis_certificates.fingerprint(str(tmp_path / "empty"))
