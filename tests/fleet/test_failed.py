"""A verb that fails says where, why, and with an exit code."""

from tests.fleet.organization import NAME, Organization


def test_an_organization_file_with_faults_stops_every_verb(org: Organization) -> None:
    folder = org.lab.master.root / "srv/metis-local/pillar/orgs"
    good = (folder / f"{NAME}.sls").read_text(encoding="utf-8")
    starts = org.starts()
    bad = good.replace("roles: [consul, carrier]", "roles: [carrier]").replace(
        "roles: [consul, ice_via]", "roles: [consul, ice_via: {grid_port: 8300}, carrier]"
    )
    bad = bad.replace("ice_via: {external_address: 10.77.0.23}", "")
    try:
        (folder / f"{NAME}.sls").write_text(bad, encoding="utf-8")
        for verb in ("deploy", "start", "stop"):
            done = org.verb(verb, check=False)
            assert done.returncode == 1
            for words in (
                "has 4 faults",
                "2 consul servers",
                "2 instances of carrier",
                "is tcp port 8300 on fleet3, which is serf_lan_port of hosts.fleet3.roles[0] too",
                "ice_via.external_address is missing",
            ):
                assert words in done.stdout
            assert "Traceback" not in done.stdout + done.stderr
    finally:
        (folder / f"{NAME}.sls").write_text(good, encoding="utf-8")
    assert org.starts() == starts


def test_of_two_organizations_one_must_be_named(org: Organization) -> None:
    done = org.lab.salt_run(["state.orchestrate", "metis.deploy"], check=False, timeout=120)
    assert done.returncode == 1
    assert "known are demo, fleet" in done.stdout
