"""A verb that fails says where, why, and with an exit code."""

from tests.fleet.organization import NAME, UNITS, Organization


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


def test_a_gate_that_does_not_hold_names_host_cause_and_journal(org: Organization) -> None:
    org.lab.master.run(["systemctl", "stop", "sandbox-datacenter.service"])
    host = org.lab.host("fleet1")
    host.run(["systemctl", "stop", "metis-carrier.service"])
    try:
        # A deploy would see this before it touches a host, as test_checked shows.
        done = org.verb("start", check=False)
        assert done.returncode == 1
        assert "fleet1: carrier is registered and passes: carrierService_10.77.0.21" in done.stdout
        assert "metis-carrier.service ended" in done.stdout
        assert "the end of its journal:" in done.stdout
        # What carrier itself says of a data center that is not there.
        assert "data" in done.stdout.split("the end of its journal:")[1]
        assert "admin runs" not in done.stderr
    finally:
        org.lab.master.run(["systemctl", "start", "sandbox-datacenter.service"])
        org.verb("deploy")


def test_a_port_that_a_stranger_has_is_no_carrier_s(org: Organization) -> None:
    # carrier logs that, and goes on without it (service-contract 2): it is registered and passes.
    host = org.lab.host("fleet1")
    host.run(["systemctl", "stop", "metis-carrier.service"])
    listen = ["python3", "-m", "http.server", "10036", "--bind", "10.77.0.21"]
    host.run(["systemd-run", "--unit=stranger", "--property=Type=exec", *listen])
    try:
        # A deploy would see this before it touches a host, as test_checked shows.
        done = org.verb("start", check=False)
        assert done.returncode == 1
        words = "carrier@fleet1: it does not listen on tcp port 10036, which python3 (process "
        assert words in done.stdout
        assert "the end of its journal:" in done.stdout
        assert "admin runs" not in done.stderr
    finally:
        host.run(["systemctl", "stop", "stranger.service"])
        host.run(["systemctl", "restart", "metis-carrier.service"])
        org.verb("deploy")


def test_a_silent_host_is_named_and_nothing_is_touched(org: Organization) -> None:
    host = org.lab.host("fleet4")
    starts = org.starts()
    host.run(["systemctl", "stop", "salt-minion.service"])
    try:
        done = org.verb("deploy", check=False)
        assert done.returncode == 1
        assert "fleet4 does not answer" in done.stdout
        assert "Everything is installed" not in done.stderr
        assert {name for name, row in org.status().items() if row["state"] == "unknown"} == {
            "data@fleet4:8700",
            "data@fleet4:8711",
            "compute@fleet4:8800",
        }
    finally:
        host.run(["systemctl", "start", "salt-minion.service"])
        org.lab.await_minions(["fleet4"])
    assert org.starts() == starts
    assert list(UNITS) == list(org.lab.hosts)
