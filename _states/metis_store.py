"""
The web server that gives hosts what is in the master's store: an nginx of its own, on the master.
"""

from typing import Any

__virtualname__ = "metis_store"

State = dict[str, Any]

UNIT = "metis-store.service"
_UNIT_FILE = f"/usr/local/lib/systemd/system/{UNIT}"
_CONFIGURATION = "/etc/metis-store/nginx.conf"
# The package enables and starts its own service, on a port that may be another's: a mask that is
# there before it keeps this from ever starting. It is gone at the next boot at the latest.
_MASK = "/run/systemd/system/nginx.service"


def _installed() -> list[tuple[str, dict[str, Any]]]:
    if __salt__["cmd.which"]("nginx"):
        # Also the console's, on a master that is a host of admin.
        return []
    return [
        ("file.symlink", {"name": _MASK, "target": "/dev/null"}),
        ("pkg.installed", {"name": "nginx-light"}),
        ("file.absent", {"name": _MASK}),
        ("service.disabled", {"name": "nginx"}),
    ]


def served(name: str, stores: list[dict[str, Any]]) -> State:
    """
    The store is served over HTTP: its artifacts and nothing else, only to be read.

    name
        What the state is called.
    stores
        Of each organization of this master, where its hosts look: ``address`` (``None`` for every
        address of the master) and ``port``.

    .. code-block:: yaml

        The store is served:
          metis_store.served:
            - stores: [{address: null, port: 8014}]
    """
    ret: State = {"name": name, "result": True, "changes": {}, "comment": "the store is served"}
    listen = __salt__["metis_store.listen"](stores)
    known = {"listen": listen, "artifacts": __salt__["metis_store.path"]("")}
    file = {"template": "jinja", "mode": "0644", "user": "root", "group": "root", "makedirs": True}
    source = "salt://metis/store"
    steps = [
        *_installed(),
        (
            "file.managed",
            {"name": _CONFIGURATION, "source": f"{source}.nginx.conf.jinja", "context": known},
        ),
        ("file.managed", {"name": _UNIT_FILE, "source": f"{source}.service.jinja"}),
        ("metis_unit.running", {"name": UNIT, "files": [_CONFIGURATION, _UNIT_FILE]}),
    ]
    for function, arguments in steps:
        more = file if function == "file.managed" else {}
        if not _done(ret, function, {**arguments, **more}):
            return ret
    for address in [] if __opts__["test"] else listen:
        url = f"http://{address.replace('*', '127.0.0.1')}/"
        gate = {"name": name, "url": url, "body": "metis-store", "unit": UNIT, "timeout": 15}
        if not _done(ret, "metis_health.answers_http", gate):
            return ret
    if ret["changes"]:
        ret["comment"] = "the store's server would change" if __opts__["test"] else "is served now"
    return ret


def _done(ret: State, function: str, arguments: dict[str, Any]) -> bool:
    """Apply another state; whether that went well."""
    done = __states__[function](**arguments)
    if done["changes"]:
        ret["changes"][f"{function} {arguments['name']}"] = done["changes"]
    if done["result"] is False:
        ret["comment"] = f"{arguments['name']}: {done['comment']}"
        ret["result"] = False
    elif done["result"] is None:
        ret["result"] = None
    return done["result"] is not False
