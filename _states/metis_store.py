"""
The web server that gives hosts what is in the master's store: an nginx of its own, on the master.
"""

import json
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


def _unserved(listen: list[str], stores: list[dict[str, Any]], artifacts: str) -> str:
    """What does not answer, and what root can do about it, or ``""``."""
    urls = [f"http://{address.replace('*', '127.0.0.1')}/" for address in listen]
    wrong = [said for url in urls if (said := __salt__["metis_health.http"](url, "metis-store"))]
    if not wrong:
        return ""
    places = {
        "--file-root": __opts__["file_roots"]["base"][0],
        "--module-dirs": __opts__["module_dirs"][0],
        "--states-dir": __opts__["states_dirs"][0],
    }
    options = " ".join(f"{option}={place}" for option, place in places.items())
    return (
        f"{'; '.join(wrong)}: hosts get programs from Salt's file server, which is slower. "
        "salt-run is not root, which alone can set up a web server; to have one, run as root: "
        f"salt-call --local {options} state.single metis_store.served store "
        f"stores='{json.dumps(stores)}' artifacts={artifacts}"
    )


def served(name: str, stores: list[dict[str, Any]], artifacts: str | None = None) -> State:
    """
    The store is served over HTTP: its artifacts and nothing else, only to be read.

    Who is not root cannot have it served, and only looks; hosts have Salt's file server too.

    name
        What the state is called.
    stores
        Of each organization of this master, where its hosts look: ``address`` (``None`` for every
        address of the master) and ``port``.
    artifacts
        The folder that is served; that of the master's store where not given.

    .. code-block:: yaml

        The store is served:
          metis_store.served:
            - stores: [{address: null, port: 8014}]
    """
    ret: State = {"name": name, "result": True, "changes": {}, "comment": "the store is served"}
    listen = __salt__["metis_store.listen"](stores)
    folder = artifacts or __salt__["metis_store.path"]("")
    if not __salt__["metis_store.may_serve"]():
        unserved = _unserved(listen, stores, folder)
        return ret | ({"comment": unserved, "warnings": [unserved]} if unserved else {})
    known = {"listen": listen, "artifacts": folder}
    file = {"template": "jinja", "mode": "0644", "user": "root", "group": "root", "makedirs": True}
    source = "salt://store"
    steps = [
        *_installed(),
        (
            "file.managed",
            {"name": _CONFIGURATION, "source": f"{source}/nginx.conf.jinja", "context": known},
        ),
        ("file.managed", {"name": _UNIT_FILE, "source": f"{source}/metis-store.service.jinja"}),
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
