"""
The organization file: its form, its defaults, and every fault of its form.

An organization file is ``pillar/orgs/<org>.sls``. It is the only input of an operator. This module
knows what may stand in it; what must hold *between* its parts (ports that clash, the number of
consul servers) is checked where the parts come together, in ``metis_topology``.

Lives on the master only: it needs pydantic, which ``requirements/salt.txt`` has and a minion of an
organization need not have.
"""

import copy
import difflib
import ipaddress
import re
import ssl
import typing
from typing import Annotated, Any, Literal

try:
    import pydantic

    HAS_PYDANTIC = True
except ImportError:
    HAS_PYDANTIC = False

__virtualname__ = "metis_orgfile"
__func_alias__ = {"json_schema": "schema"}

# Bits of a cipher's key.
_CIPHER_BITS = 128
# For TLS 1.2; those of 1.3 are all good. Forward secrecy and authenticated encryption only, which
# every browser since 2016 has.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"

ROLES = ("consul", "carrier", "admin", "ice_via", "data", "compute")


def __virtual__() -> str | tuple[bool, str]:
    if HAS_PYDANTIC:
        return __virtualname__
    return False, "metis_orgfile runs on the master, whose Python needs pydantic"


if HAS_PYDANTIC:

    def _ip(value: Any) -> str:
        try:
            # As text: of a number, ipaddress makes an address too (5 is 0.0.0.5 to it).
            return str(ipaddress.IPv4Address(str(value)))
        except ValueError as err:
            raise ValueError("must be an IPv4 address such as 10.0.0.5") from err

    def _own_ip(value: Any) -> str:
        text = _ip(value)
        address = ipaddress.IPv4Address(text)
        if (
            address.is_loopback
            or address.is_unspecified
            or address.is_multicast
            or address.is_reserved
        ):
            raise ValueError("must be an address where other hosts reach this one")
        return text

    def _host_or_ip(value: Any) -> str:
        # The KV values are `<address>_<port>` and split on `_` (service-contract 2), so a name
        # with an underscore can never be read back.
        if re.fullmatch(r"[0-9.]+", str(value)):
            return _ip(value)
        name = r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?"
        if not isinstance(value, str) or not re.fullmatch(name, value):
            raise ValueError("must be an IPv4 address or a host name (letters, digits, - and .)")
        return value

    def _memory(value: Any) -> str:
        if not re.fullmatch(r"[1-9][0-9]*[mMgG]", str(value)):
            raise ValueError("must be a size such as 512m or 2g")
        return str(value).lower()

    def _ciphers(value: Any) -> str:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.set_ciphers(str(value))
        except ssl.SSLError as err:
            raise ValueError("selects no cipher of OpenSSL: see openssl ciphers -v") from err
        weak = [c["name"] for c in context.get_ciphers() if c["strength_bits"] < _CIPHER_BITS]
        if weak:
            raise ValueError(f"selects weak ciphers: {', '.join(weak)}")
        return str(value)

    # What an editor and docs/pillar.md can know of what only code can tell.
    _IPV4 = {"type": "string", "format": "ipv4"}
    _HOST = {"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "hostname"}]}
    _SIZE = {"type": "string", "pattern": "^[1-9][0-9]*[mMgG]$"}
    _Ip = Annotated[str, pydantic.BeforeValidator(_ip), pydantic.WithJsonSchema(_IPV4)]
    _OwnIp = Annotated[str, pydantic.BeforeValidator(_own_ip), pydantic.WithJsonSchema(_IPV4)]
    _Address = Annotated[str, pydantic.BeforeValidator(_host_or_ip), pydantic.WithJsonSchema(_HOST)]
    _Memory = Annotated[str, pydantic.BeforeValidator(_memory), pydantic.WithJsonSchema(_SIZE)]
    _Ciphers = Annotated[
        str, pydantic.BeforeValidator(_ciphers), pydantic.WithJsonSchema({"type": "string"})
    ]
    # Below 1024 a program needs rights that ours do not have; only nginx listens there.
    _Port = Annotated[int, pydantic.Field(ge=1025, le=65535)]
    _AnyPort = Annotated[int, pydantic.Field(ge=1, le=65535)]
    # YAML has lists only; strict would want a tuple.
    _Range = Annotated[tuple[_Port, _Port], pydantic.Field(strict=False)]
    _File = Annotated[str, pydantic.Field(pattern=r"^(/[A-Za-z0-9._-]+)+$")]
    _ServerName = Annotated[
        str, pydantic.Field(pattern=r"^(_|(\*\.)?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*)$")
    ]
    _CERTIFICATE: Any = pydantic.Field(
        None,
        description="File on the master with an own certificate and its chain, PEM. "
        "Where there is none, the organization's own authority issues one.",
    )
    _CERTIFICATE_KEY: Any = pydantic.Field(
        None, description="File on the master with the key of `certificate`, PEM."
    )
    _Directory = Annotated[str, pydantic.Field(pattern=r"^(/[A-Za-z0-9._-]+)+$")]
    _Name = Annotated[str, pydantic.Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")]
    # A minion's id: Salt's own choice is the full name of the machine.
    _HostName = Annotated[
        str, pydantic.Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")
    ]
    _Yaml = pydantic.ConfigDict(extra="forbid", strict=True)

    class _Section(pydantic.BaseModel):
        """A mapping of the file: nothing unknown, nothing of another type."""

        model_config = _Yaml

    class _Role(_Section):
        enabled: bool = pydantic.Field(True, description="Whether verbs touch this role at all.")

    class _Consul(_Role):
        """The registry where the programs find each other: 1, 3 or 5 servers, a host each."""

        server_port: _Port = pydantic.Field(8200, description="Raft between servers, TCP.")
        serf_lan_port: _Port = pydantic.Field(8300, description="Gossip between servers, TCP+UDP.")
        serf_wan_port: _Port = pydantic.Field(8400, description="Gossip across sites, TCP+UDP.")
        http_port: _Port = pydantic.Field(8500, description="HTTP API, TCP.")
        dns_port: _Port = pydantic.Field(8600, description="DNS, TCP+UDP.")

    class _Carrier(_Role):
        """The scheduler, and the node's face in the p2p network: one an organization."""

        external_address: _Address | None = pydantic.Field(
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
        bootstrap_nodes: list[str] = pydantic.Field(
            [], description="ENRs of nodes to join the p2p network through."
        )
        max_peers: int = pydantic.Field(45, ge=1, description="p2p peers at the most.")

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
        mysql_user: Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9_]{1,32}$")] = (
            pydantic.Field("metis_admin", description="The program's account in MariaDB.")
        )
        mysql_password: str | None = pydantic.Field(
            None,
            min_length=12,
            description="Of that account. Made on the master where none is given.",
        )
        heap: _Memory = pydantic.Field("1g", description="Java heap, such as `512m` or `2g`.")

    class _IceVia(_Role):
        """IceGrid's registry and the Glacier2 router, the way in for other organizations' tasks."""

        external_address: _Address | None = pydantic.Field(
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
        thread_pool_size: int = pydantic.Field(10, ge=1, description="Threads that serve requests.")
        total_bandwidth: int = pydantic.Field(
            10_000_000, ge=1, description="What the host's network carries, in bits a second."
        )

    class _Data(_Fighter):
        """fighter(data), which holds data: as many as are wanted, several a host too."""

        port: _Port = pydantic.Field(
            8700, description="gRPC, TCP, of a host's first instance; the next has the next one."
        )
        task_port_range: _Range = pydantic.Field(
            (31000, 31100), description="First and last port that running tasks listen on, TCP."
        )
        chunk_size: int = pydantic.Field(
            1_048_576, ge=1, description="Bytes of a piece, where data is sent in pieces."
        )

    class _Compute(_Fighter):
        """fighter(compute), which computes: as many as are wanted, several a host too."""

        port: _Port = pydantic.Field(
            8800, description="gRPC, TCP, of a host's first instance; the next has the next one."
        )
        task_port_range: _Range = pydantic.Field(
            (41000, 41100), description="First and last port that running tasks listen on, TCP."
        )

    # Looked at in _instances, one by one.
    _Entry = Annotated[Any, pydantic.WithJsonSchema({"type": ["string", "object"]})]

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
            description="What is deployed: names `pillar/releases/<release>.yaml`."
        )
        data_center: _Endpoint | None = pydantic.Field(
            None, description="The network's data center, gRPC. Required for carrier."
        )
        hosts: dict[_HostName, _Host] = pydantic.Field(
            min_length=1, description="The organization's machines, by the ids of their minions."
        )
        paths: _Paths = _Paths()
        consul: _Consul = _Consul()
        carrier: _Carrier = _Carrier()
        admin: _Admin = _Admin()
        ice_via: _IceVia = _IceVia()
        data: _Data = _Data()
        compute: _Compute = _Compute()

    _SETTINGS: dict[str, type[_Role]] = {
        role: _Org.model_fields[role].annotation  # type: ignore[misc]
        for role in ROLES
    }


def fault(place: str, problem: str, fix: str, value: Any = None) -> dict[str, Any]:
    """
    One fault of an organization file.

    place
        Where it is, as a path in the file (``hosts.demo1.roles[0]``).
    problem
        What is wrong, in a sentence without a full stop.
    fix
        What to do about it.
    value
        What stands there now; ``None`` where nothing does.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_orgfile.fault hosts "is empty" "name a host"
    """
    return {"place": place, "value": value, "problem": problem, "fix": fix}


def _place(location: tuple[str | int, ...]) -> str:
    place = ""
    for part in location:
        name = f"[{part}]" if isinstance(part, int) else part or "''"
        place += name if isinstance(part, int) or not place else f".{name}"
    return place


def _shown(place: str, value: Any) -> Any:
    # A password may stand in a mapping, under a key that is not the right one.
    items = value if isinstance(value, list) else [value]
    if "password" in place or any(item and isinstance(item, dict | list) for item in items):
        return "(not shown)"
    return value


def _nearest(name: Any, known: list[str]) -> str:
    near = difflib.get_close_matches(str(name), known, 1)
    return f"did you mean {near[0]}?" if near else "known are: " + ", ".join(known)


def _known_keys(model: Any, location: list[str | int]) -> list[str]:
    if location[:1] == ["hosts"]:
        model = _Host
    elif location:
        found = model.model_fields[location[0]].annotation
        # Of `section | None` the section.
        model = next(iter(typing.get_args(found)), found)
    return list(model.model_fields)


def _location(item: Any) -> list[str | int]:
    # pydantic's word for a mapping's key; the operator's file has no such place.
    return [part for part in item["loc"] if part != "[key]"]


def _faults_of(error: Any, model: Any, prefix: tuple[str | int, ...] = ()) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for item in error.errors(include_url=False):
        location = _location(item)
        place = _place((*prefix, *location))
        fix, value = "correct the value", _shown(place, item["input"])
        if item["type"] == "extra_forbidden":
            problem = "is not a setting known here"
            fix = _nearest(location[-1], _known_keys(model, location[:-1]))
            value = None
        elif item["type"] == "missing":
            problem, fix, value = "is missing", "add it", None
        elif item["type"] in ("dict_type", "model_type"):
            problem = "must be a mapping"
        else:
            problem = item["msg"].removeprefix("Value error, ")
            problem = problem[0].lower() + problem[1:]
        found.setdefault(place, fault(place, problem, fix, value))
    return list(found.values())


def _instances(name: str, host: Any, org: Any, faults: list[dict[str, Any]]) -> list[dict]:
    instances: list[dict[str, Any]] = []
    for number, entry in enumerate(host["roles"]):
        if entry is _LEFT_OUT:
            continue
        place: tuple[str | int, ...] = ("hosts", name, "roles", number)
        named = {entry: None} if isinstance(entry, str) else entry
        if not isinstance(named, dict) or len(named) != 1:
            problem, fix = "must name one role", "write `- role` or `- role: {setting: value}`"
            faults.append(fault(_place(place), problem, fix, _shown("", entry)))
            continue
        role, own = next(iter(named.items()))
        if role not in ROLES:
            fix = _nearest(role, list(ROLES))
            faults.append(fault(_place(place), "is not a role", fix, role))
            continue
        if own is not None and not isinstance(own, dict):
            where, problem = _place((*place, role)), "must be a mapping of settings"
            faults.append(fault(where, problem, "correct the value", _shown(where, own)))
            continue
        settings = {**org[role], **(own or {})}
        before = sum(1 for instance in instances if instance["role"] == role)
        if role in ("data", "compute") and "port" not in (own or {}):
            settings["port"] += before
        try:
            checked = _SETTINGS[role].model_validate(settings)
        except pydantic.ValidationError as err:
            faults += _faults_of(err, _SETTINGS[role], (*place, role))
            continue
        instances.append({"role": role, "place": _place(place), **checked.model_dump()})
    return instances


_LEFT_OUT = object()
# In place of what is missing and has no default, so that the rest can be looked at.
_STAND_INS = {"release": "", "address": "192.0.2.1", "port": 9090, "roles": [_LEFT_OUT]}


def _leave_out(given: dict[Any, Any], item: Any) -> None:
    way = _location(item)
    while len(way) > 1 and isinstance(given.get(way[0]), dict):
        given = given[way.pop(0)]
    if item["type"] != "missing":
        given.pop(way[0], None)
    elif len(way) == 1:
        given[way[0]] = _STAND_INS.get(str(way[0]))


def _form(given: dict[str, Any]) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """
    The file with every default, and its faults. Where it has some, they are left out of it, so that
    one look finds those of the rest too; ``None`` where too little is left.
    """
    faults: list[dict[str, Any]] = []
    given = copy.deepcopy(given)
    # Wrong values go, then what is missing for that gets a stand-in, then it is whole.
    for _ in range(4):
        try:
            return _Org.model_validate(given).model_dump(), faults
        except pydantic.ValidationError as err:
            faults = faults or _faults_of(err, _Org)
            for item in sorted(err.errors(include_url=False), key=_depth, reverse=True):
                _leave_out(given, item)
    return None, faults


def _depth(item: Any) -> int:
    return len(_location(item))


def read(data: Any) -> dict[str, Any]:
    """
    Check the form of an organization file and fill in every default.

    data
        What the file renders to: a mapping with the one key ``metis``.

    Returns ``{"org": ..., "faults": [...], "whole": ...}``. ``org`` is the file with every default
    filled in, and each host's ``roles`` replaced by ``instances``: mappings of every setting, with
    ``role`` and the ``place`` in the file. Where there are faults, ``org`` is without what is at
    fault, only good for finding more of them, and ``None`` where too little is left for that;
    ``whole`` tells whether it has every host and every instance.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_orgfile.read '{"metis": {"release": "0.3.0", "hosts": {}}}'
    """
    if not isinstance(data, dict) or set(data) != {"metis"} or not isinstance(data["metis"], dict):
        wrong = fault("metis", "must be the file's one top key, a mapping", "see docs/pillar.md")
        return {"org": None, "faults": [wrong], "whole": False}
    org, faults = _form(data["metis"])
    if org is None:
        return {"org": None, "faults": faults, "whole": False}
    whole = len(org["hosts"]) == len(data["metis"]["hosts"])
    for name, host in org["hosts"].items():
        host["instances"] = _instances(name, host, org, faults)
        whole = whole and len(host["instances"]) == len(host.pop("roles"))
    return {"org": org, "faults": faults, "whole": whole}


def json_schema() -> dict[str, Any]:
    """
    The JSON Schema of an organization file, for editors.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_orgfile.schema
    """
    return _Org.model_json_schema()
