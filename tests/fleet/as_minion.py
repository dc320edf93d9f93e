"""Runs on a host, as its minion: asks the master for what a minion should not get.

It speaks to the master as a minion does, without what salt-call would refuse by itself. Reads
`{"paths": [[saltenv, path]...], "forged": {name: fields...}, "prefixes": [...]}` from standard
input and prints what the master gave, JSON.
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any

import salt.channel.client
import salt.config
import salt.exceptions

import salt.minion

_LISTS = ("_file_list", "_dir_list", "_symlink_list", "_file_list_emptydirs")


def _pillar(channel: Any, minion_id: str, fields: dict[str, Any]) -> Any:
    """The pillar that the master makes for a request with some fields of one's own."""
    load = {
        "cmd": "_pillar",
        "id": minion_id,
        "grains": {"id": minion_id},
        "saltenv": None,
        "pillarenv": None,
        "pillar_override": {},
        "extra_minion_data": {},
        "ver": "2",
        **fields,
    }
    try:
        return channel.crypted_transfer_decode_dictentry(load, dictkey="pillar", tries=1)
    except salt.exceptions.SaltException as error:
        return f"refused: {type(error).__name__}"


def _file(channel: Any, saltenv: str, path: str) -> str | None:
    """The checksum of a file that the master serves; None where it serves none."""
    got = channel.send({"cmd": "_serve_file", "saltenv": saltenv, "path": path, "loc": 0})
    if not isinstance(got, dict) or not got.get("dest"):
        return None
    data = got["data"]
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def main() -> None:
    """Ask for everything."""
    wanted = json.load(sys.stdin)
    options = salt.config.minion_config("/etc/salt/minion")
    options.update(salt.minion.resolve_dns(options))
    with salt.channel.client.ReqChannel.factory(options) as channel:
        pillars = {
            name: _pillar(channel, options["id"], fields)
            for name, fields in wanted["forged"].items()
        }
        files = [[*asked, _file(channel, *asked)] for asked in wanted["paths"]]
        names: set[str] = set()
        for command in _LISTS:
            for prefix in wanted["prefixes"]:
                names |= set(channel.send({"cmd": command, "saltenv": "base", "prefix": prefix}))
    served = [asked for asked in files if asked[2] is not None]
    json.dump({"pillars": pillars, "served": served, "names": sorted(names)}, sys.stdout)


if __name__ == "__main__":
    main()
