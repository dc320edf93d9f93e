"""
The form of an organization file: what may stand where, and every default.

Lives on the master only: it needs pydantic and zxcvbn, which ``requirements/salt.txt`` has and a
minion of an organization need not have.
"""

import importlib.util
import ipaddress
import re
import ssl
import typing
from typing import Annotated, Any, Literal

try:
    import pydantic
    import pydantic_core

    HAS_PYDANTIC = True
except ImportError:
    HAS_PYDANTIC = False

__virtualname__ = "metis_orgform"
__func_alias__ = {"json_schema": "schema"}

# Bits of a cipher's key.
_CIPHER_BITS = 128
# For TLS 1.2; those of 1.3 are all good. Forward secrecy and authenticated encryption only, which
# every browser since 2016 has.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


def __virtual__() -> str | tuple[bool, str]:
    if not HAS_PYDANTIC:
        return False, "metis_orgform runs on the master, whose Python needs pydantic"
    # Found and not imported: that takes a moment, and only a file with a password needs it.
    if importlib.util.find_spec("zxcvbn") is None:
        return False, "metis_orgform runs on the master, whose Python needs zxcvbn"
    return __virtualname__


# Passwords that everyone can read: the seed's inventory has the first two.
_EXAMPLES = (
    "metis_root",
    "admin_123456",
    "changeme",
    "changeit",
    "change_me_please",
    "correct horse battery staple",
    "correcthorsebatterystaple",
)
_PASSWORD_LENGTH = 12
# zxcvbn's "safely unguessable: moderate protection from an offline attack", of 0 to 4.
_PASSWORD_SCORE = 3
# What an attacker of a MetisNode tries first.
_PASSWORD_WORDS = ["metis", "admin", "mysql", "mariadb", "carrier", "consul", "salt"]


_NAME = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"
_USER = "^[A-Za-z0-9_]{1,32}$"
# As it stands in nginx's own file.
_SERVER_NAME = r"^(_|(\*\.)?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*)$"
_FILE = "^(/[A-Za-z0-9._-]+)+$"
# The shortest record that there can be: a signature, a number and a key, in base64.
_ENR = "^enr:[A-Za-z0-9_-]{80,}$"
_PEER = (
    "^(enr:[A-Za-z0-9_-]{80,}"
    "|/(ip4|ip6|dns|dns4|dns6)/[A-Za-z0-9.:-]+/tcp/[0-9]{1,5}/p2p/[A-Za-z0-9]+)$"
)
# A minion's id: Salt's own choice is the full name of the machine.
_MINION = "^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$"
# What is wrong with a text of another form, and what to do.
_FORMS = {
    _NAME: ("must be lower-case letters, digits and -", "write one such as acme-cluster"),
    _USER: ("must be 1 to 32 letters, digits and _", "write one such as metis_admin"),
    _FILE: ("must be the absolute path of a file", "write one such as /srv/pki/console.pem"),
    _ENR: ("must be an ENR", "write the other node's record, which begins with enr:"),
    _PEER: (
        "must be the address of a peer",
        "write one such as /ip4/198.51.100.7/tcp/10036/p2p/16Uiu2..., or an ENR",
    ),
}


if HAS_PYDANTIC:

    def _wrong(problem: str, fix: str) -> Exception:
        words = {"problem": problem, "fix": fix}
        return pydantic_core.PydanticCustomError("metis", "{problem}", words)

    def _ip(value: Any) -> str:
        try:
            # A number is no address: to ipaddress, 5 is 0.0.0.5.
            return str(ipaddress.IPv4Address(value if isinstance(value, str) else ""))
        except ValueError as err:
            raise _wrong("must be an IPv4 address", "write one such as 10.0.0.5") from err

    def _of_a_host(text: str) -> ipaddress.IPv4Address:
        address = ipaddress.IPv4Address(text)
        if (
            address.is_unspecified
            or address.is_multicast
            or address.is_reserved
            or address in ipaddress.IPv4Network("0.0.0.0/8")
        ):
            raise _wrong("is an address that no host has", "write one such as 10.0.0.5")
        return address

    def _own_ip(value: Any) -> str:
        text = _ip(value)
        if _of_a_host(text).is_loopback:
            raise _wrong(
                "is an address that only the host itself reaches",
                "write the one where the other hosts reach it",
            )
        return text

    def _host_or_ip(value: Any) -> str:
        # The KV values are `<address>_<port>` and split on `_` (service-contract 2), so a name
        # with an underscore can never be read back.
        text = value if isinstance(value, str) else ""
        if re.fullmatch(r"[0-9.]+", text):
            text = _ip(text)
            _of_a_host(text)
            return text
        label = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
        if len(text) > 253 or not re.fullmatch(rf"{label}(\.{label})*", text):
            raise _wrong(
                "must be an IPv4 address or a host name",
                "write one such as 198.51.100.7 or node.acme.example, without _",
            )
        return text

    def _outside(value: Any) -> str:
        text = _host_or_ip(value)
        name = text.lower()
        if name.split(".")[-1] == "localhost" or name.startswith("localhost."):
            inside = True
        elif re.fullmatch(r"[0-9.]+", text):
            address = ipaddress.IPv4Address(text)
            inside = address.is_loopback or address.is_link_local
        else:
            inside = False
        if inside:
            raise _wrong(
                "is an address that other organizations cannot reach",
                "write the public address, such as 198.51.100.7 or node.acme.example",
            )
        return text

    def _memory(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(r"[1-9][0-9]{0,5}[mMgG]", value):
            raise _wrong("must be a size", "write one such as 512m or 2g")
        return value.lower()

    def _stack(value: Any) -> str:
        found = re.fullmatch(r"([1-9][0-9]{0,5})([kKmM])", value if isinstance(value, str) else "")
        if not found:
            raise _wrong("must be a size", "write one such as 256k or 1m")
        # Below this, Java 17 does not start.
        if found[2] in "kK" and int(found[1]) < _LEAST_STACK:
            raise _wrong("is less than Java needs", f"write {_LEAST_STACK}k or more")
        return found[0].lower()

    def _password(value: str) -> str:
        own = "write a better one, or remove the line: the master makes one then"
        if value.strip().lower() in _EXAMPLES:
            raise _wrong("is an example that everyone can read", own)
        if len(value) < _PASSWORD_LENGTH:
            raise _wrong(f"has less than {_PASSWORD_LENGTH} characters", own)
        if "${" in value:
            raise _wrong("holds ${, which admin would take for the name of a setting", own)
        if not value.isprintable():
            raise _wrong("holds a line break or another character that cannot be seen", own)
        # Takes a moment, and most files have no password.
        import zxcvbn

        # It takes no more than 72 characters; what begins strong is strong.
        judged = zxcvbn.zxcvbn(value[:72], _PASSWORD_WORDS)
        if judged["score"] < _PASSWORD_SCORE:
            raise _wrong("is easy to guess", own)
        return value

    def _two(value: Any) -> Any:
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise _wrong("must be two ports", "write first and last, such as [31000, 31100]")
        return value

    def _directory(value: Any) -> str:
        text = value if isinstance(value, str) else ""
        if not re.fullmatch(_DIRECTORY, text) or {".", ".."} & set(text.split("/")):
            raise _wrong(
                "must be an absolute path of letters, digits, ., _ and -",
                "write one such as /srv/metis/data, without / at the end and without ..",
            )
        return text

    def _ciphers(value: Any) -> str:
        text = value if isinstance(value, str) else ""
        if problem := ciphers_problem(text):
            raise _wrong(problem, f"write one such as {_CIPHERS}")
        return text

    def _server_name(value: Any) -> str:
        text = value if isinstance(value, str) else ""
        label = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
        name = rf"(\*\.)?({label}\.)*(?=[0-9-]*[A-Za-z]){label}"
        if text != "_" and (len(text) > 253 or not re.fullmatch(name, text)):
            raise _wrong("must be one domain, or _", "write one such as console.acme.example")
        return text

    def _peer(value: Any) -> str:
        text = value if isinstance(value, str) else ""
        words = text.split("/")
        try:
            if text.startswith("enr:"):
                right = re.fullmatch(_ENR, text) is not None
            else:
                # "", protocol, address, "tcp", port, "p2p", id
                _, protocol, address, _, port, _, _ = words
                right = re.fullmatch(_PEER, text) is not None and 1 <= int(port) <= 65535
                if protocol in ("ip4", "ip6"):
                    kinds = {"ip4": ipaddress.IPv4Address, "ip6": ipaddress.IPv6Address}
                    kinds[protocol](address)
        except ValueError:
            right = False
        if not right:
            raise _wrong(*_FORMS[_PEER])
        return text

    # What an editor and docs/pillar.md can know of what only code can tell.
    _IPV4 = {"type": "string", "format": "ipv4"}
    _HOST = {"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "hostname"}]}
    _SIZE = {"type": "string", "pattern": "^[1-9][0-9]{0,5}[mMgG]$"}
    _STACK = {"type": "string", "pattern": "^[1-9][0-9]{0,5}[kKmM]$"}
    _LEAST_STACK = 136
    _DIRECTORY = "(/[A-Za-z0-9._-]+)+"
    _PATH = {"type": "string", "pattern": f"^{_DIRECTORY}$"}
    _SECRET = {"type": "string", "minLength": _PASSWORD_LENGTH}
    _DOMAIN = {"type": "string", "pattern": _SERVER_NAME}
    _NODE = {"type": "string", "pattern": _PEER}
    _Ip = Annotated[str, pydantic.BeforeValidator(_ip), pydantic.WithJsonSchema(_IPV4)]
    _OwnIp = Annotated[str, pydantic.BeforeValidator(_own_ip), pydantic.WithJsonSchema(_IPV4)]
    _Address = Annotated[str, pydantic.BeforeValidator(_host_or_ip), pydantic.WithJsonSchema(_HOST)]
    _Outside = Annotated[str, pydantic.BeforeValidator(_outside), pydantic.WithJsonSchema(_HOST)]
    _Memory = Annotated[str, pydantic.BeforeValidator(_memory), pydantic.WithJsonSchema(_SIZE)]
    _Ciphers = Annotated[
        str, pydantic.BeforeValidator(_ciphers), pydantic.WithJsonSchema({"type": "string"})
    ]
    _Stack = Annotated[str, pydantic.BeforeValidator(_stack), pydantic.WithJsonSchema(_STACK)]
    _Password = Annotated[str, pydantic.AfterValidator(_password), pydantic.WithJsonSchema(_SECRET)]
    # Below 1024 a program needs rights that ours do not have; only nginx listens there.
    _Port = Annotated[int, pydantic.Field(ge=1025, le=65535)]
    _AnyPort = Annotated[int, pydantic.Field(ge=1, le=65535)]
    # YAML has lists only; strict would want a tuple.
    _File = Annotated[str, pydantic.Field(pattern=_FILE)]
    _ServerName = Annotated[
        str, pydantic.BeforeValidator(_server_name), pydantic.WithJsonSchema(_DOMAIN)
    ]
    _CERTIFICATE: Any = pydantic.Field(
        None,
        description="File on the master with an own certificate and its chain, PEM. "
        "Where there is none, the organization's own authority issues one.",
    )
    _CERTIFICATE_KEY: Any = pydantic.Field(
        None, description="File on the master with the key of `certificate`, PEM."
    )
    _Range = Annotated[
        tuple[_Port, _Port], pydantic.Field(strict=False), pydantic.BeforeValidator(_two)
    ]
    _Directory = Annotated[
        str, pydantic.BeforeValidator(_directory), pydantic.WithJsonSchema(_PATH)
    ]
    _Name = Annotated[str, pydantic.Field(pattern=_NAME)]
    _User = Annotated[str, pydantic.Field(pattern=_USER)]
    _Enr = Annotated[str, pydantic.Field(pattern=_ENR)]
    _Peer = Annotated[str, pydantic.BeforeValidator(_peer), pydantic.WithJsonSchema(_NODE)]
    _HostName = Annotated[str, pydantic.Field(pattern=_MINION)]
    # No more than the programs count to.
    _Count = Annotated[int, pydantic.Field(ge=1, le=10_000)]
    _Bytes = Annotated[int, pydantic.Field(ge=1, le=2**30)]
    _Bits = Annotated[int, pydantic.Field(ge=1, le=10**12)]
    _Yaml = pydantic.ConfigDict(extra="forbid", strict=True)

    class _Section(pydantic.BaseModel):
        """A mapping of the file: nothing unknown, nothing of another type."""

        model_config = _Yaml

    class _Role(_Section):
        enabled: bool = pydantic.Field(True, description="Whether verbs touch this role at all.")
        data_directory: _Directory | None = pydantic.Field(
            None,
            description="What it keeps, in a folder for it alone, such as one of another disk; "
            "fighters have one of their port in it. `<paths.data>/<role>` where not given.",
        )

    class _Consul(_Role):
        """The registry where the programs find each other: 1, 3 or 5 servers, a host each."""

        server_port: _Port = pydantic.Field(8200, description="Raft between servers, TCP.")
        serf_lan_port: _Port = pydantic.Field(8300, description="Gossip between servers, TCP+UDP.")
        serf_wan_port: _Port = pydantic.Field(8400, description="Gossip across sites, TCP+UDP.")
        http_port: _Port = pydantic.Field(8500, description="HTTP API, TCP.")
        dns_port: _Port = pydantic.Field(8600, description="DNS, TCP+UDP.")

    class _Carrier(_Role):
        """The scheduler, and the node's face in the p2p network: one an organization."""

        external_address: _Outside | None = pydantic.Field(
            None,
            description="Where other organizations reach the p2p ports. Required with carrier.",
        )
        rpc_port: _Port = pydantic.Field(10033, description="gRPC, TCP.")
        grpc_gateway_port: _Port = pydantic.Field(10034, description="REST gateway, TCP.")
        p2p_udp_port: _Port = pydantic.Field(10035, description="Discovery, UDP, public.")
        p2p_tcp_port: _Port = pydantic.Field(10036, description="libp2p, TCP, public.")
        # The seed's 10032 is also its IceGrid port: on one host they clash.
        pprof_port: _Port = pydantic.Field(10037, description="Go profiler, TCP.")
        pprof: bool = pydantic.Field(False, description="Whether the profiler listens.")
        pprof_address: _Ip = pydantic.Field("127.0.0.1", description="Where the profiler listens.")
        debug: bool = pydantic.Field(False, description="File and line in logs, debug RPC.")
        verbosity: Literal["trace", "debug", "info", "warn", "error", "fatal", "panic"] = (
            pydantic.Field("info", description="From which level on carrier logs.")
        )
        bootstrap_nodes: list[_Enr] = pydantic.Field(
            [], description="ENRs of nodes to join the p2p network through."
        )
        peers: list[_Peer] = pydantic.Field(
            [],
            description="Nodes to stay connected to: `/ip4/ADDRESS/tcp/PORT/p2p/ID`, or an ENR.",
        )
        max_peers: _Count = pydantic.Field(45, description="p2p peers at the most.")

    class _Admin(_Role):
        """The console for people: a Java program, MariaDB and nginx on one host."""

        web_port: _Port = pydantic.Field(9090, description="The Java program, TCP.")
        http_port: _AnyPort = pydantic.Field(80, description="nginx in front of it, TCP.")
        server_name: _ServerName = pydantic.Field(
            "_", description="nginx's server_name: the console's domain, or `_` for any."
        )
        enable_tls: bool = pydantic.Field(
            False, description="Whether nginx serves https; `http_port` then only leads there."
        )
        https_port: _AnyPort = pydantic.Field(443, description="nginx with TLS, TCP.")
        ssl_protocols: list[Literal["TLSv1.2", "TLSv1.3"]] = pydantic.Field(
            ["TLSv1.2", "TLSv1.3"], min_length=1, description="Which versions of TLS nginx takes."
        )
        ssl_ciphers: _Ciphers = pydantic.Field(
            _CIPHERS, description="Ciphers of TLS 1.2, in OpenSSL's form."
        )
        certificate: _File | None = _CERTIFICATE
        certificate_key: _File | None = _CERTIFICATE_KEY
        mysql_port: _Port = pydantic.Field(3306, description="MariaDB on loopback, TCP.")
        mysql_user: _User = pydantic.Field(
            "metis_admin", description="The program's account in MariaDB."
        )
        mysql_password: _Password | None = pydantic.Field(
            None, description="Of that account. Made on the master where none is given."
        )
        heap: _Memory = pydantic.Field("1g", description="Java heap, such as `512m` or `2g`.")
        metaspace: _Memory = pydantic.Field("512m", description="Java metaspace at the most.")
        thread_stack: _Stack = pydantic.Field("256k", description="Stack of a Java thread.")

    class _IceVia(_Role):
        """IceGrid's registry and the Glacier2 router, the way in for other organizations' tasks."""

        external_address: _Outside | None = pydantic.Field(
            None,
            description="Where other organizations reach Glacier2. Required with ice_via.",
        )
        glacier2_port: _Port = pydantic.Field(10031, description="Glacier2, TCP, public.")
        grid_port: _Port = pydantic.Field(10032, description="IceGrid registry, TCP.")
        protocol: Literal["tcp", "ssl"] = pydantic.Field(
            "tcp", description="How other organizations speak to Glacier2."
        )
        certificate: _File | None = _CERTIFICATE
        certificate_key: _File | None = _CERTIFICATE_KEY

    class _Fighter(_Role):
        thread_pool_size: _Count = pydantic.Field(10, description="Threads that serve requests.")
        total_bandwidth: _Bits = pydantic.Field(
            10_000_000, description="What the host's network carries, in bits a second."
        )

    class _Data(_Fighter):
        """fighter(data), which holds data: as many as are wanted, several a host too."""

        port: _Port = pydantic.Field(
            8700, description="gRPC, TCP, of a host's first instance; the next has the next one."
        )
        task_port_range: _Range = pydantic.Field(
            (31000, 31100), description="First and last port that running tasks listen on, TCP."
        )
        chunk_size: _Bytes = pydantic.Field(
            1_048_576, description="Bytes of a piece, where data is sent in pieces."
        )

    class _Compute(_Fighter):
        """fighter(compute), which computes: as many as are wanted, several a host too."""

        port: _Port = pydantic.Field(
            8800, description="gRPC, TCP, of a host's first instance; the next has the next one."
        )
        task_port_range: _Range = pydantic.Field(
            (41000, 41100), description="First and last port that running tasks listen on, TCP."
        )

    # Looked at by ``metis_orgfile``, one by one; json_schema tells editors what it may be.
    _Entry = Annotated[Any, pydantic.WithJsonSchema({})]

    class _Host(_Section):
        """A machine, under the id of its Salt minion."""

        address: _OwnIp = pydantic.Field(description="Where the other hosts reach it.")
        roles: list[_Entry] = pydantic.Field(
            min_length=1,
            description="What runs there: a role's name, or `role: {setting: value}`.",
        )

    class _Endpoint(_Section):
        """The data center of the network that the node joins."""

        address: _Address = pydantic.Field(description="Where carrier reaches it.")
        port: _AnyPort = pydantic.Field(description="gRPC, TCP.")

    class _Store(_Section):
        """The release's artifacts on the master, as hosts fetch them over HTTP."""

        address: _Address | None = pydantic.Field(
            None,
            description="Where the hosts reach it. Where they reach the master, where not given.",
        )
        port: _Port = pydantic.Field(8014, description="HTTP, TCP, on the master.")

    class _Paths(_Section):
        """Absolute paths on every host; each role has a folder of its name in each of these."""

        programs: _Directory = pydantic.Field(
            "/opt/metis", description="Programs, in `<role>/releases/<release>`."
        )
        configuration: _Directory = pydantic.Field(
            "/etc/metis", description="Configuration, and carrier's key."
        )
        data: _Directory = pydantic.Field(
            "/var/lib/metis", description="What the programs keep. MariaDB's data is Debian's."
        )
        logs: _Directory = pydantic.Field(
            "/var/log/metis", description="Logs of the programs that write files."
        )

    class _Org(_Section):
        """An organization: one MetisNode."""

        cluster_name: _Name | None = pydantic.Field(
            None,
            description="consul's name for its cluster. The organization's name where not given.",
        )
        release: str = pydantic.Field(
            description="What is wanted: names `pillar/releases/<release>.yaml`. The first deploy "
            "brings it; after that, `metis.upgrade` does."
        )
        releases_kept: _Count = pydantic.Field(
            2,
            description="How many releases an upgrade leaves on a host, and in the master's store: "
            "the one that runs, and those before it.",
        )
        data_center: _Endpoint | None = pydantic.Field(
            None, description="The network's data center, gRPC. Required for carrier."
        )
        hosts: dict[_HostName, _Host] = pydantic.Field(
            min_length=1, description="The organization's machines, by the ids of their minions."
        )
        store: _Store = _Store()
        paths: _Paths = _Paths()
        consul: _Consul = _Consul()
        carrier: _Carrier = _Carrier()
        admin: _Admin = _Admin()
        ice_via: _IceVia = _IceVia()
        data: _Data = _Data()
        compute: _Compute = _Compute()

    _SETTINGS: dict[str, type[_Role]] = {
        "consul": _Consul,
        "carrier": _Carrier,
        "admin": _Admin,
        "ice_via": _IceVia,
        "data": _Data,
        "compute": _Compute,
    }
    _SECTIONS: dict[str, type[_Section]] = {"metis": _Org, **_SETTINGS}


def checked(section: str, given: Any) -> dict[str, Any]:
    """
    Hold a section of an organization file to its form, and fill in every default.

    section
        A role; ``metis`` for the whole file.
    given
        What stands there. The entries of a host's ``roles`` are not looked at.

    Returns ``{"form": ..., "errors": [...]}``: the section as a mapping, ``None`` where there are
    errors, and these as pydantic tells them. One of type ``metis`` has a ``problem`` and a ``fix``
    in its ``ctx``.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_orgform.checked data '{port: 8700}'
    """
    try:
        return {"form": _SECTIONS[section].model_validate(given).model_dump(), "errors": []}
    except pydantic.ValidationError as err:
        errors = err.errors(include_url=False)
    for error in errors:
        if error["type"] == "string_pattern_mismatch" and error["ctx"]["pattern"] in _FORMS:
            problem, fix = _FORMS[error["ctx"]["pattern"]]
            error |= {"type": "metis", "ctx": {"problem": problem, "fix": fix}}
    return {"form": None, "errors": errors}


def ciphers_problem(text: str) -> str:
    """
    What is wrong with the ciphers of a server, or ``""``.

    text
        As OpenSSL and nginx's ``ssl_ciphers`` have them.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_orgform.ciphers_problem AES256-SHA
    """
    # nginx reads it as one word; OpenSSL would take other separators, and levels with @.
    if not re.fullmatch(r"[A-Za-z0-9!+_:-]+", text):
        return "must be ciphers in OpenSSL's form, with : between them"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.set_ciphers(text)
    except ssl.SSLError:
        return "selects no cipher of OpenSSL"
    weak = [
        cipher["name"]
        for cipher in context.get_ciphers()
        # A key exchange by RSA has no forward secrecy: who gets the key reads what was recorded.
        if cipher["strength_bits"] < _CIPHER_BITS
        or cipher["auth"] == "auth-null"
        or cipher["kea"] not in ("kx-ecdhe", "kx-dhe", "kx-any")
    ]
    return f"selects weak ciphers: {', '.join(weak)}" if weak else ""


def settings(section: str, location: list[str | int]) -> list[str]:
    """
    The settings that are known at a place.

    section
        A role; ``metis`` for the whole file.
    location
        The place in it.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_orgform.settings metis '[hosts, demo1]'
    """
    model: Any = _SECTIONS[section]
    if location[:1] == ["hosts"]:
        model = _Host
    elif location:
        found = model.model_fields[location[0]].annotation
        # Of `section | None` the section.
        model = next(iter(typing.get_args(found)), found)
    return list(model.model_fields)


def json_schema() -> dict[str, Any]:
    """
    The JSON Schema of an organization file, for editors.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_orgform.schema
    """
    org = _Org.model_json_schema()
    sections = org.pop("$defs")
    named = {role: org["properties"][role]["$ref"] for role in _SETTINGS}
    sections["_Host"]["properties"]["roles"]["items"] = {
        "anyOf": [
            {"enum": list(_SETTINGS)},
            {
                "type": "object",
                "properties": {
                    role: {"anyOf": [{"$ref": section}, {"type": "null"}]}
                    for role, section in named.items()
                },
                "additionalProperties": False,
                "minProperties": 1,
                "maxProperties": 1,
            },
        ]
    }
    # pydantic says by a pattern which names there may be, and nothing of the others.
    org["properties"]["hosts"]["additionalProperties"] = False
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"metis": {"$ref": "#/$defs/_Org"}},
        "required": ["metis"],
        "additionalProperties": False,
        "$defs": {"_Org": org, **sections},
    }
    return _untitled(whole)


def _untitled(schema: Any) -> Any:
    """A schema without pydantic's titles, which only repeat the names."""
    if isinstance(schema, list):
        return [_untitled(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _untitled(value)
        for key, value in schema.items()
        if key != "title" or not isinstance(value, str)
    }
