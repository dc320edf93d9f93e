"""What a release file says of its artifacts, to the store and to hosts."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from _modules import metis_release
from tests.render import matrix
from tests.unit import orgs


@pytest.fixture
def configure_loader_modules() -> dict[ModuleType, dict[str, Any]]:
    return orgs.wired()


ROSETTA = "latticex_rosetta-1.0.0-cp37-cp37m-linux_x86_64.whl"


@pytest.mark.parametrize("name", ["0.3.0", "0.4.0"])
def test_two_builds_have_a_place_each_in_the_store_and_one_name_on_a_host(name: str) -> None:
    release = matrix.release(name)
    stored = {key: artifact["stored"] for key, artifact in metis_release.all_of(release).items()}
    assert stored["carrier"] == f"{name}/carrier"
    assert stored["latticex_rosetta_avx2"] == f"{name}/avx2/{ROSETTA}"
    assert stored["latticex_rosetta_no_avx2"] == f"{name}/no_avx2/{ROSETTA}"
    assert len(set(stored.values())) == len(release["artifacts"])
    rosetta = metis_release.on_host(release, "data")["latticex_rosetta"]
    assert (rosetta["file"], rosetta["sha256"], rosetta["stored"]) == (ROSETTA, None, None)
    assert {cpu: build["stored"] for cpu, build in rosetta["builds"].items()} == {
        "avx2": f"{name}/avx2/{ROSETTA}",
        "no_avx2": f"{name}/no_avx2/{ROSETTA}",
    }


def test_a_role_has_only_its_own() -> None:
    release = matrix.release("0.4.0")
    assert list(metis_release.on_host(release, "carrier")) == ["carrier"]
    assert list(metis_release.needed(release, ["consul", "carrier"])) == ["consul", "carrier"]
    assert metis_release.on_host(release, "ice_via") == {}


def test_0_4_0_calls_things_otherwise() -> None:
    release = matrix.release("0.4.0")
    assert release["kv"] == {
        "datacenter": "datumnetwork/dataCenter_ip_port",
        "glacier2": "datumnetwork/glacier2_ip_port",
        "icegrid": "datumnetwork/icegrid_ip_port",
    }
    files = {artifact["file"] for artifact in metis_release.on_host(release, "compute").values()}
    assert files == {
        "fighter_dcv-0.9.1-py3-none-any.whl",
        "datum_network_channel_sdk-2.0.4-cp37-cp37m-linux_x86_64.whl",
        "latticex_psi-1.0.0-cp37-cp37m-linux_x86_64.whl",
        ROSETTA,
        "fighter_wheelhouse.tar",
        "Miniconda3-py37_4.12.0-Linux-x86_64.sh",
    }
