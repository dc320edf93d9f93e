"""Who gets to know what."""

import json
import stat
from typing import Any

import pytest

from tests.integration.site import REPOSITORY, Site


@pytest.mark.parametrize(
    ("host", "address", "role"), [("one", "192.0.2.1", "consul"), ("two", "192.0.2.2", "ice_via")]
)
def test_a_minion_has_its_view_and_nothing_else(
    site: Site, host: str, address: str, role: str
) -> None:
    pillar = site.salt(host, "pillar.items", "unmask=True")
    assert list(pillar) == ["metis"]
    view = pillar["metis"]
    assert (view["org"], view["host"], view["address"]) == ("small", host, address)
    assert list(view["roles"]) == [role]
    assert [i["id"] for i in view["roles"][role]["instances"]] == [f"{role}@{host}"]
    text = json.dumps(pillar)
    assert "password" not in text
    assert "demo" not in text


def _shown(site: Site, minion: str) -> Any:
    return json.loads(site.salt_run("pillar.show_pillar", minion, "--out=json").out)


def test_the_password_is_made_on_the_master_and_goes_to_the_host_of_admin(site: Site) -> None:
    [admin] = _shown(site, "gone")["metis"]["roles"]["admin"]["instances"]
    password = admin["config"]["spring"]["datasource"]["druid"]["password"]
    assert len(password) == 32
    files = [file for file in site.secrets.rglob("*") if file.is_file()]
    [file] = [file for file in files if password in file.read_text()]
    assert file.name == "small.yaml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(site.secrets.stat().st_mode) == 0o700


def test_a_minion_of_no_organization_gets_nothing(site: Site) -> None:
    assert _shown(site, "passer-by") == {}


def test_the_file_server_has_states_and_modules_only(site: Site) -> None:
    listed = set(site.salt("one", "cp.list_master"))
    tops = {name.partition("/")[0] for name in listed}
    assert tops == {"_modules", "_states", "metis", "minion", "roles", "store", "top.sls"}
    folders = ("metis", "minion", "roles", "store")
    present = {
        str(file.relative_to(REPOSITORY / "salt"))
        for folder in folders
        for file in (REPOSITORY / "salt" / folder).rglob("*")
        if file.is_file()
    }
    assert {name for name in listed if name.partition("/")[0] in folders} == present


@pytest.mark.parametrize(
    "path",
    [
        "pillar/orgs/small.sls",
        "roles/../../pillar/orgs/demo.sls",
        "../../../../../../../../{secrets}/small.yaml",
    ],
)
def test_a_minion_cannot_fetch_what_others_have(site: Site, path: str) -> None:
    fetched = site.salt("one", "cp.get_file_str", f"salt://{path.format(secrets=site.secrets)}")
    # Salt answers with an empty name where there is no such file.
    assert fetched in ("", False, None)
