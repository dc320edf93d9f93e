"""
Certificates for TLS: an organization's own authority on the master, or the operator's own files.

Keys and certificates of the authority are kept with the organization's other secrets
(``metis_secrets``). A certificate and its key reach a host through its pillar, and the authority's
key reaches none. Made by Salt's own x509 module.
"""

import hashlib
import re
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import salt.exceptions

__virtualname__ = "metis_certificates"

AUTHORITY = "authority"
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
# What an operator would say of OpenSSL's words.
_REASONS = {
    "KEY_VALUES_MISMATCH": "the key is that of another certificate",
    "EE_KEY_TOO_SMALL": "its key is too short to be safe",
    "CA_MD_TOO_WEAK": "its signature is too weak to be safe",
    "UNKNOWN_CERTIFICATE_TYPE": "they are of a kind that cannot be used",
    None: "one of them is damaged, or the latter holds no key without a passphrase",
}
# Days. Renewed certificates get to the hosts with the next deploy or highstate, so there has to be
# time for one. Browsers refuse what is valid for more than 398 days.
VALID = 397
RENEWED_BEFORE = 90
AUTHORITY_VALID = 3650
# A certificate must not outlive the authority.
AUTHORITY_RENEWED_BEFORE = VALID + 30
# From which on the end is worth a word: a deploy renews what the authority issued long before.
_ENDING = 30


def _key() -> str:
    return __salt__["x509.create_private_key"](algo="ec", keysize=256)


def _ends_within(certificate: str, days: int) -> bool:
    return __salt__["x509.expires"](certificate, days)


def _authority(org: str, known: dict[str, Any]) -> dict[str, str]:
    """The authority, made or renewed. It keeps its key, so that what it issued stays good."""
    found = known.setdefault("certificates", {}).setdefault(AUTHORITY, {})
    found.setdefault("key", _key())
    if "certificate" not in found or _ends_within(found["certificate"], AUTHORITY_RENEWED_BEFORE):
        found["certificate"] = __salt__["x509.create_certificate"](
            signing_private_key=found["key"],
            CN=f"Metis {org}"[:64],
            basicConstraints="critical, CA:TRUE, pathlen:0",
            keyUsage="critical, cRLSign, keyCertSign",
            subjectKeyIdentifier="hash",
            days_valid=AUTHORITY_VALID,
        )
    return found


def _text(file: str) -> str:
    try:
        # What stands between the certificates may be in any language.
        return Path(file).read_bytes().decode("utf-8", "replace")
    except OSError as err:
        raise salt.exceptions.CommandExecutionError(f"{file}: {err.strerror}") from err


def authority(org: str) -> str:
    """
    The certificate of an organization's authority, which clients have to trust, PEM. It is made
    where there is none.

    org
        The organization.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_certificates.authority acme
    """
    return __salt__["metis_secrets.edit"](org, lambda known: _authority(org, known)["certificate"])


def issued(org: str, name: str, names: list[str]) -> dict[str, str]:
    """
    A server's certificate and key, issued by the organization's authority: made where there is
    none for these names, or where it ends soon.

    org
        The organization.
    name
        Whose certificate it is, such as ``admin``.
    names
        What clients call the server, as subject alternative names (``DNS:console.acme.example``,
        ``IP:10.0.0.2``).

    Returns ``{"certificate": ..., "key": ...}``, PEM.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_certificates.issued acme admin '["IP:10.0.0.2"]'
    """

    def change(known: dict[str, Any]) -> dict[str, str]:
        signing = _authority(org, known)
        last = known["certificates"].get(name, {})
        # An edit that is only looked at asks for other names, and may be undone.
        every = [*filter(None, [last]), *last.pop("others", [])]
        good = [one for one in every if not _ends_within(one["certificate"], RENEWED_BEFORE)]
        found: dict[str, Any] = next((one for one in good if one["names"] == names), {})
        others = [one for one in good if one is not found]
        if not found:
            found = {"names": list(names), "key": _key()}
            found["certificate"] = __salt__["x509.create_certificate"](
                signing_private_key=signing["key"],
                signing_cert=signing["certificate"],
                private_key=found["key"],
                # Nobody looks at it any more, and it holds 64 characters only.
                CN=f"Metis {name}",
                subjectAltName=names,
                basicConstraints="critical, CA:FALSE",
                keyUsage="critical, digitalSignature",
                extendedKeyUsage="serverAuth",
                subjectKeyIdentifier="hash",
                authorityKeyIdentifier="keyid:always",
                days_valid=VALID,
            )
        known["certificates"][name] = found | ({"others": others} if others else {})
        return {"certificate": found["certificate"], "key": found["key"]}

    return __salt__["metis_secrets.edit"](org, change)


def given(certificate: str, key: str) -> dict[str, str]:
    """
    The operator's own certificate and key, from files on the master.

    certificate
        Absolute path of the certificate, PEM, the server's first and then the chain to it.
    key
        Absolute path of its private key, PEM, without a passphrase.

    Returns ``{"certificate": ..., "key": ...}``, PEM.

    Raises ``CommandExecutionError`` where a file cannot be read, is not what it should be, does not
    belong to the other, or does not hold yet. One that has ended is given: what is up goes on, and
    ``ending`` tells.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_certificates.given /etc/ssl/acme.pem /etc/ssl/private/acme.key
    """
    # Only certificates: a file may hold the key too, and a certificate is for everybody to read.
    found = {"certificate": "\n".join(_certificates(certificate)) + "\n", "key": _text(key)}
    try:
        # As a server reads them: that they belong to each other, are of a kind that it knows, and
        # strong enough. No passphrase is asked for.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, lambda: "")
        read = __salt__["x509.read_certificate"](found["certificate"])
    except ssl.SSLError as err:
        why = _REASONS.get(err.reason, f"OpenSSL says {err.reason}")
        raise salt.exceptions.CommandExecutionError(f"{certificate} with {key}: {why}") from err
    # Salt's module raises what cryptography does of kinds that it does not know, such as SM2.
    except Exception as err:
        raise salt.exceptions.CommandExecutionError(
            f"{certificate} is of a kind that cannot be used: {err}"
        ) from err
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
    if now < read["not_before"]:
        raise salt.exceptions.CommandExecutionError(f"{certificate} does not hold yet")
    return found


def ending(certificate: str) -> str:
    """
    Whether a certificate is at its end.

    certificate
        PEM, or the path of a file with it.

    Returns ``ends soon`` in its last 30 days, ``has ended``, or ``""``.

    CLI Example:

    .. code-block:: bash

        salt demo2 metis_certificates.ending /etc/metis/admin/server.crt
    """
    if _ends_within(certificate, 0):
        return "has ended"
    return "ends soon" if _ends_within(certificate, _ENDING) else ""


def _certificates(file: str) -> list[str]:
    found = re.findall(f"{_BEGIN}.*?{_END}", _text(file), re.DOTALL)
    if not found:
        raise salt.exceptions.CommandExecutionError(f"{file} holds no certificate")
    return found


def fingerprint(file: str) -> str:
    """
    The SHA-256 of a file's first certificate, in hex: how a client knows the server that has it.

    file
        An absolute path; PEM.

    Raises ``CommandExecutionError`` where it cannot be read or holds no certificate.

    CLI Example:

    .. code-block:: bash

        salt demo2 metis_certificates.fingerprint /etc/metis/admin/server.crt
    """
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(_certificates(file)[0])).hexdigest()
