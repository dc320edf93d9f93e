"""TLS for the console and for Ice: real clients, which trust the organization's authority."""

import ssl
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from tests.fleet.organization import NAME, RECORD, Organization
from tests.fleet.test_secrets import KEPT, holding

ADMIN = "10.77.0.22"
SERVERS = [(ADMIN, 443), ("10.77.0.23", 10031)]
CA = "/root/ca.pem"
TLS_FILES = ["/etc/metis/admin/server.key", "/etc/metis/ice_via/server.key"]
ICE_CLIENT = """
import sys
import Ice
import Glacier2
import IceGrid

data = Ice.InitializationData()
data.properties = Ice.createProperties()
for line in sys.argv[1:]:
    data.properties.setProperty(*line.split("=", 1))
with Ice.initialize(data) as communicator:
    proxy = communicator.stringToProxy("ChannelGlacier2/router:ssl -h 10.77.0.23 -p 10031")
    router = Glacier2.RouterPrx.checkedCast(proxy)
    communicator.setDefaultRouter(Ice.RouterPrx.checkedCast(router))
    print(router.ice_getConnection().getInfo().cipher)
    router.createSession("anybody", "anything")
    locator = communicator.stringToProxy("ChannelIceGrid/Locator:tcp -h 10.77.0.23 -p 10032")
    locator = locator.ice_router(Ice.RouterPrx.uncheckedCast(router))
    through = IceGrid.LocatorPrx.checkedCast(locator)
    print(through.getLocalRegistry().ice_getIdentity().name)
    router.destroySession()
"""
ICE_SSL = ["Ice.Plugin.IceSSL=IceSSL:createIceSSL", "IceSSL.VerifyPeer=2", "IceSSL.CheckCertName=1"]


@pytest.fixture(scope="module")
def secured(org: Organization) -> Iterator[Organization]:
    tls = (
        ("admin: {", "admin: {enable_tls: true, "),
        ("ice_via: {external", "ice_via: {protocol: ssl, external"),
    )
    with org.edited(*tls):
        org.verb("deploy")
        authority = org.lab.salt_run(["metis.ca", f"org={NAME}"]).stdout
        (org.lab.master.root / CA.lstrip("/")).write_text(authority, encoding="ascii")
        install = ["apt-get", "install", "--yes", "--no-install-recommends", "python3-zeroc-ice"]
        org.lab.master.run(["env", "DEBIAN_FRONTEND=noninteractive", *install], timeout=120)
        yield org
    org.verb("deploy")
    # What can be switched on can be switched off.
    assert set(org.everywhere(["find", *TLS_FILES]).values()) == {""}
    assert _curl(org, f"http://{ADMIN}/metis-admin/health").stdout == "Hello, Metis-Admin"
    assert _curl(org, "--insecure", f"https://{ADMIN}/").returncode == 7
    assert org.status()["ice_via@fleet3"]["health"] == "healthy"


def _curl(org: Organization, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["curl", "--silent", "--show-error", "--max-time", "10", *words]
    return org.lab.master.run(command, check=False)


def _ice(org: Organization, *properties: str) -> subprocess.CompletedProcess[str]:
    command = ["/usr/bin/python3", "-", *ICE_SSL, *properties]
    return org.lab.master.run(command, input=ICE_CLIENT, check=False, timeout=60)


def test_a_client_that_trusts_the_authority_sees_the_console(secured: Organization) -> None:
    for name in (ADMIN, "fleet2"):
        done = _curl(secured, "--cacert", CA, f"https://{name}/metis-admin/health")
        assert (done.returncode, done.stdout) == (0, "Hello, Metis-Admin"), done.stderr
    assert "<title>Metis Admin" in _curl(secured, "--cacert", CA, f"https://{ADMIN}/").stdout


def test_a_client_that_does_not_trust_it_is_warned(secured: Organization) -> None:
    done = _curl(secured, f"https://{ADMIN}/")
    assert done.returncode == 60
    assert "certificate" in done.stderr


def test_the_console_without_tls_leads_to_the_one_with_it(secured: Organization) -> None:
    done = _curl(secured, "--cacert", CA, "--location", f"http://{ADMIN}/metis-admin/health")
    assert done.stdout == "Hello, Metis-Admin"


def test_the_console_refuses_old_tls(secured: Organization) -> None:
    old = ["--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0", "--cacert", CA]
    assert _curl(secured, *old, f"https://{ADMIN}/").returncode == 35


def test_an_ice_client_that_trusts_the_authority_reaches_the_locator(
    secured: Organization,
) -> None:
    done = _ice(secured, f"IceSSL.CAs={CA}")
    assert done.returncode == 0, done.stderr
    cipher, registry = done.stdout.split()
    assert "AES" in cipher
    assert registry == "Registry"


def test_an_ice_client_that_does_not_trust_it_is_warned(secured: Organization) -> None:
    done = _ice(secured)
    assert done.returncode != 0
    assert "certificate" in done.stderr


def test_glacier2_refuses_old_tls(secured: Organization) -> None:
    def ask(*options: str) -> subprocess.CompletedProcess[str]:
        words = ["openssl", "s_client", "-connect", "10.77.0.23:10031", "-CAfile", CA, *options]
        return secured.lab.master.run(words, input="", check=False, timeout=20)

    assert "Verification: OK" in ask("-tls1_2").stdout
    # Debian's own OpenSSL offers it at this level only.
    old = ask("-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0")
    assert old.returncode != 0
    assert "alert protocol version" in old.stderr


def test_with_tls_all_is_well_and_stays_as_it_is(secured: Organization) -> None:
    assert {row["health"] for row in secured.status().values()} == {"healthy"}
    assert secured.changes("deploy") == {}


def test_a_key_is_its_roles_alone(secured: Organization) -> None:
    seen = secured.everywhere(["find", *TLS_FILES, "-printf", "%p %m %u %g\\n"])
    assert seen["fleet2"].split() == [TLS_FILES[0], "640", "root", "metis-admin"]
    assert seen["fleet3"].split() == [TLS_FILES[1], "640", "root", "metis-ice-via"]
    assert seen["fleet1"] == seen["fleet4"] == ""


def test_the_operator_s_own_certificate_takes_its_place(secured: Organization) -> None:
    certificate, key = "/etc/salt/own.crt", "/etc/salt/own.key"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "60"]
    make += ["-subj", "/CN=own", "-addext", f"subjectAltName=IP:{ADMIN}"]
    secured.lab.master.run([*make, "-out", certificate, "-keyout", key])
    own = f"admin: {{certificate: {certificate}, certificate_key: {key}, "
    with secured.edited(("admin: {", own)):
        foretold = secured.changes("deploy", "test=True")
        changed = secured.changes("deploy")
        assert list(changed) == [RECORD, "Everything is installed and configured", "admin runs"]
        assert foretold.keys() == changed.keys()
        url = f"https://{ADMIN}/metis-admin/health"
        assert _curl(secured, "--cacert", certificate, url).stdout == "Hello, Metis-Admin"
        assert _curl(secured, "--cacert", CA, url).returncode == 60
        assert secured.status()["admin@fleet2"]["health"] == "healthy"
    secured.verb("deploy")
    assert _curl(secured, "--cacert", CA, url).stdout == "Hello, Metis-Admin"


def test_a_certificate_that_was_changed_by_hand_is_not_well(secured: Organization) -> None:
    host = secured.lab.host("fleet2")
    host.run(["cp", "/etc/metis/admin/server.crt", "/root/server.crt"])
    try:
        text = secured.lab.master.run(["cat", CA]).stdout
        host.run(["tee", "/etc/metis/admin/server.crt"], input=text)
        health = secured.status()["admin@fleet2"]["health"]
        assert "does not show the certificate of /etc/metis/admin/server.crt" in health
        changed = secured.highstate("fleet2")
        assert set(changed) == {"The certificate of admin is written", "nginx runs"}
    finally:
        host.run(["rm", "/root/server.crt"])
    assert secured.status()["admin@fleet2"]["health"] == "healthy"


def _left(org: Organization) -> list[timedelta]:
    """How long the certificates hold that servers show to a client that trusts the authority."""
    trusted = str(org.lab.master.root / CA.lstrip("/"))
    shown = [ssl.get_server_certificate(server, ca_certs=trusted) for server in SERVERS]
    certificates = [x509.load_pem_x509_certificate(pem.encode()) for pem in shown]
    return [found.not_valid_after_utc - datetime.now(UTC) for found in certificates]


def test_a_certificate_that_ends_soon_is_renewed(secured: Organization) -> None:
    file = secured.lab.master.root / KEPT.lstrip("/")
    kept = yaml.safe_load(file.read_text(encoding="utf-8"))
    authority = load_pem_private_key(kept["certificates"]["authority"]["key"].encode(), None)
    assert isinstance(authority, EllipticCurvePrivateKey)
    for name in ("admin", "ice_via"):
        made = kept["certificates"][name]
        old = x509.load_pem_x509_certificate(made["certificate"].encode())
        soon = x509.CertificateBuilder(
            old.issuer,
            old.subject,
            old.public_key(),
            old.serial_number,
            old.not_valid_before_utc,
            datetime.now(UTC) + timedelta(days=30),
            list(old.extensions),
        ).sign(authority, SHA256())
        made["certificate"] = soon.public_bytes(Encoding.PEM).decode()
    before = _left(secured)
    file.write_text(yaml.safe_dump(kept), encoding="utf-8")
    foretold = secured.changes("deploy", "test=True")
    changed = secured.changes("deploy")
    assert foretold == changed
    assert changed["admin runs"] == {"fleet2": ["nginx runs"]}
    assert changed["ice_via runs"] == {"fleet3": ["glacier2 runs"]}
    for old_left, left in zip(before, _left(secured), strict=True):
        assert left > max(old_left, timedelta(days=390))
    assert secured.changes("deploy") == {}


def test_private_keys_are_in_no_file_but_their_own(secured: Organization) -> None:
    kept = yaml.safe_load(secured.lab.master.run(["cat", KEPT]).stdout)["certificates"]
    # However a file writes a key, a line of it stands there in one piece.
    lines = {name: made["key"].splitlines()[2] for name, made in kept.items()}
    admin, ice_via = TLS_FILES
    assert {name: holding(secured, line) for name, line in lines.items()} == {
        "authority": {"master": [KEPT]},
        "admin": {"fleet2": [admin], "master": [KEPT]},
        "ice_via": {"fleet3": [ice_via], "master": [KEPT]},
    }
