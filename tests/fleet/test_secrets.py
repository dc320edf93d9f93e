"""Where the password of the database and carrier's key stand, and where they do not."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

from tests.fleet.organization import NAME, Organization
from tests.lab.host import Host

KEPT = f"/etc/salt/pki/master/metis/{NAME}.yaml"
CONFIGURATION = "/etc/metis/admin/application-admin.yml"
KEY = "/etc/metis/carrier/p2p.key"
# All that is written to on a host, but for MariaDB's own data, where Salt's caches and logs are.
PLACES = ["/etc", "/home", "/opt/metis", "/root", "/run", "/srv/metis-local", "/tmp", "/usr/local"]
PLACES += ["/var/cache", "/var/lib/metis", "/var/log", "/var/tmp"]
# Every command that is started while this runs, again and again: what it has as arguments.
WATCH = """
cat > /run/looked-for
touch /run/watching
found=0
while [ -e /run/watching ]; do
    grep -qsF --file=/run/looked-for /proc/[0-9]*/cmdline && found=1
done
rm /run/looked-for
exit $found
"""


@pytest.fixture(scope="module")
def secrets(org: Organization) -> dict[str, str]:
    """Each secret of the organization: the file where it belongs, to what it is."""
    password = yaml.safe_load(org.lab.master.run(["cat", KEPT]).stdout)["mysql_password"]
    key = org.lab.host("fleet1").run(["cat", KEY]).stdout.strip()
    assert (len(password), len(key)) == (32, 64)
    return {CONFIGURATION: password, KEY: key}


def machines(org: Organization) -> dict[str, Host]:
    return {**org.lab.hosts, "master": org.lab.master}


def holding(org: Organization, secret: str) -> dict[str, list[str]]:
    """The files that hold a secret, by their hosts."""
    hosts = machines(org)
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda host: _files(host, secret), hosts.values())
        return {host: files for host, files in zip(hosts, found, strict=True) if files}


def _files(host: Host, secret: str) -> list[str]:
    """The files of a host that hold a secret; it is handed over where no list of processes is."""
    options = ["--recursive", "--files-with-matches", "--fixed-strings", "--devices=skip"]
    grep = ["grep", "--no-messages", *options, "--file=-", *PLACES]
    return host.run(grep, check=False, input=secret, timeout=120).stdout.split()


@pytest.mark.parametrize(
    ("place", "owner", "more"), [(CONFIGURATION, "fleet2", {"master": [KEPT]}), (KEY, "fleet1", {})]
)
def test_a_secret_is_in_no_file_but_its_own(
    org: Organization, secrets: dict[str, str], place: str, owner: str, more: dict[str, list[str]]
) -> None:
    assert holding(org, secrets[place]) == {owner: [place], **more}


def test_a_secret_is_in_no_journal_and_no_list_of_processes(
    org: Organization, secrets: dict[str, str]
) -> None:
    for name, host in machines(org).items():
        # With every field of every entry, such as the command line of who wrote it.
        journal = host.run(["journalctl", "--output=export", "--no-pager"]).stdout
        assert "salt-" in journal, name
        processes = host.run(["ps", "-eo", "args="]).stdout
        for place, secret in secrets.items():
            assert secret not in journal, (name, place)
            assert secret not in processes, (name, place)


def test_no_command_is_given_the_password_that_it_sets(
    org: Organization, secrets: dict[str, str]
) -> None:
    host = org.lab.host("fleet2")
    host.run(["mysql", "--execute", "DROP USER metis_admin@127.0.0.1"])
    with ThreadPoolExecutor() as pool:
        watch = ["sh", "-c", WATCH]
        watching = pool.submit(
            host.run, watch, input=secrets[CONFIGURATION] + "\n", check=False, timeout=120
        )
        try:
            changed = org.highstate("fleet2")
        finally:
            host.run(["rm", "/run/watching"])
        assert watching.result().returncode == 0
    assert all(state["result"] for state in changed.values())
    assert any("account" in name for name in changed), changed
    shown = str(changed)
    assert secrets[CONFIGURATION] not in shown


def test_files_with_secrets_are_for_their_reader_only(org: Organization) -> None:
    def mode(host: Host, file: str) -> list[str]:
        return host.run(["stat", "--format=%a %U %G", file]).stdout.split()

    assert mode(org.lab.host("fleet2"), CONFIGURATION) == ["640", "root", "metis-admin"]
    assert mode(org.lab.master, KEPT)[0] == "600"
