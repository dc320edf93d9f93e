"""An organization goes, from a host that others use too: what is theirs stays, and nothing else."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.fleet import Lab
from tests.lab.host import Host

ORG_FILE = Path(__file__).with_name("removed.sls")
IDENTITY = "identity:removed"
CONFIRMED = {"confirm": "removed", "keep": "data"}
TIMEOUT = 400
JOINED = f"INSERT INTO local_org (identity_id, name, status) VALUES ('{IDENTITY}', 'a', 1)"

Done = subprocess.CompletedProcess[str]

# What others had there before: a folder and an account that the organization wants, and a site.
STRANGER = """
mkdir -p /opt/metis /srv/theirs
echo theirs | tee /opt/metis/theirs.txt > /srv/theirs/file
useradd --system --no-create-home metis-carrier
apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -qy install nginx-light
cat > /etc/nginx/conf.d/theirs.conf <<'END'
server { listen 8081; location / { return 200 "theirs\\n"; } }
END
systemctl restart nginx
"""
# Every file but what programs write all the time, every account, package and unit.
LOOK = """
find / -xdev -not -path '/proc/*' -not -path '/var/log/*' -not -path '/var/cache/*' \
    -not -path '/tmp/*' -not -path '/run/*' -not -path '/var/lib/systemd/*' -printf '%p %s %m %u\\n'
getent passwd; getent group; dpkg-query -W
systemctl list-unit-files --no-legend --plain
systemctl list-units --no-legend --plain --type=service
"""
# What has the project's name; the minion keeps the master's modules, and the journal its lines.
NAMED = """
find / -xdev -name '*metis*' -not -path '/proc/*' -not -path '/var/cache/salt/*' \
    -not -path '/srv/metis*' -print
getent passwd | cut -d: -f1 | grep metis
systemctl list-unit-files --no-legend --plain | grep -E 'metis|icegrid|glacier'
dpkg-query -W -f '${Package} ${Status}\\n' | grep -E 'zeroc|openjdk'
mysql --execute 'SHOW DATABASES; SELECT User FROM mysql.user' | grep metis
true
"""


class Organization:
    """The organization of the test, and the host that it shares with others."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.host: Host = lab.host("removed1")

    def verb(self, verb: str, *options: str, **pillar: Any) -> Done:
        asked = json.dumps({"org": "removed"} | pillar)
        run = ["state.orchestrate", f"metis.{verb}", f"pillar={asked}", "--out=json", *options]
        return self.lab.salt_run(run, check=False, timeout=TIMEOUT)

    def shell(self, script: str) -> str:
        return self.host.run(["sh", "-c", script], timeout=TIMEOUT).stdout

    def secrets(self) -> str:
        files = "cat /etc/salt/pki/master/metis/*.yaml /etc/salt/pki/master/metis/deployed/*.yaml"
        return self.lab.master.run(["sh", "-c", f"{files}; true"]).stdout


def _states(done: Done) -> dict[str, dict[str, Any]]:
    (states,) = json.loads(done.stdout)["data"].values()
    return {state["__id__"]: state for state in states.values()}


def _well(done: Done) -> dict[str, dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    return _states(done)


def _refusal(done: Done) -> str:
    assert done.returncode == 1
    comment: str = _states(done)["It may go"]["comment"]
    return comment


@pytest.fixture(scope="module")
def org() -> Iterator[Organization]:
    lab = Lab("removed", ORG_FILE)
    lab.down()
    lab.up()
    found = Organization(lab)
    found.shell(STRANGER)
    _well(found.verb("deploy"))
    found.shell(f'mysql metis_admin --execute "{JOINED}"')
    found.shell("mysql --execute 'CREATE DATABASE shop; CREATE TABLE shop.theirs (a INT)'")
    found.shell("echo ours > /var/lib/metis/data/8700/data_root/dataset.csv")
    yield found
    lab.down()


@pytest.fixture(scope="module")
def refused_while_running(org: Organization) -> str:
    return _refusal(org.verb("cleanup", **CONFIRMED))


@pytest.fixture(scope="module")
def stopped(org: Organization, refused_while_running: str) -> Organization:
    _well(org.verb("stop"))
    return org


@pytest.fixture(scope="module")
def unconfirmed(stopped: Organization) -> tuple[str, str, Done]:
    """The host before and after what was only told, and how that ended."""
    before = stopped.shell(LOOK)
    done = stopped.verb("cleanup", keep="data", forget_identity=True)
    told = stopped.verb("cleanup", "test=True", keep="data", forget_identity=True)
    assert done.returncode == 1
    return before, stopped.shell(LOOK), told


@pytest.fixture(scope="module")
def blocked(stopped: Organization, unconfirmed: object) -> Done:
    """A run that could not remove a folder, as a disk is mounted there."""
    stopped.shell("mount -t tmpfs tmpfs /etc/metis/data")
    done = stopped.verb("cleanup", **CONFIRMED, forget_identity=True)
    stopped.shell("umount /etc/metis/data")
    return done


@pytest.fixture(scope="module")
def kept(stopped: Organization, blocked: Done) -> str:
    """What there is after a run that went on and kept the data."""
    done = stopped.verb("cleanup", **CONFIRMED, forget_identity=True)
    _well(done)
    return stopped.shell(NAMED)


@pytest.fixture(scope="module")
def removed(stopped: Organization, kept: str) -> Organization:
    """The organization, gone as a whole."""
    _well(stopped.verb("cleanup", confirm="removed"))
    return stopped


def test_nothing_goes_while_something_runs(refused_while_running: str) -> None:
    for unit in ("metis-consul", "metis-carrier", "metis-admin", "metis-data@8700"):
        assert f"{unit}.service" in refused_while_running
    # Others use these.
    assert "nginx.service" not in refused_while_running
    assert "mariadb.service" not in refused_while_running
    assert "run metis.stop first" in refused_while_running


def test_nothing_goes_while_the_organization_is_in_the_network(
    org: Organization, refused_while_running: str, unconfirmed: object
) -> None:
    assert IDENTITY in refused_while_running
    # MariaDB, which knows it, is stopped by now.
    text = _refusal(org.verb("cleanup", **CONFIRMED))
    assert IDENTITY in text
    assert "deregister it" in text


def test_without_confirmation_and_in_a_dry_run_it_is_only_told(
    unconfirmed: tuple[str, str, Done],
) -> None:
    before, after, told = unconfirmed
    assert after == before
    states = _well(told)
    text = states["It is told what goes"]["comment"]
    for thing in (
        "metis-carrier.service",
        "/etc/metis/carrier",
        "metis-data",
        "databases: metis_admin",
        "accounts: metis_admin",
        "zeroc-icegrid",
        "kept: tree /var/lib/metis/data",
        "stays: user metis-carrier was there before",
        "stays: folder /opt/metis was there before",
        "stays: service nginx.service was there before",
        "stays: mariadb.service is used by others: the database shop",
    ):
        assert thing in text
    assert states["It is gone from the hosts"]["changes"]


def test_a_run_that_could_not_remove_something_names_it(blocked: Done) -> None:
    assert blocked.returncode == 1
    comment = _states(blocked)["It is gone from the hosts"]["comment"]
    assert "removed1: /etc/metis/data is gone" in comment
    assert "metis.cleanup" in comment


def test_the_same_command_goes_on_and_keeps_what_is_kept(org: Organization, kept: str) -> None:
    left = set(kept.split())
    assert {"/var/lib/metis", "/etc/metis", "metis-data"} <= left
    assert not {"/var/log/metis", "/usr/local/lib/systemd/system/metis-carrier.service"} & left


def test_afterwards_nothing_is_left(removed: Organization) -> None:
    assert removed.shell(NAMED).split() == ["/opt/metis", "metis-carrier"]
    assert removed.secrets() == ""


def test_what_others_have_is_as_it_was(removed: Organization) -> None:
    assert removed.shell("cat /opt/metis/theirs.txt /srv/theirs/file").split() == ["theirs"] * 2
    assert removed.shell("ls /opt/metis").split() == ["theirs.txt"]
    assert removed.shell("curl -s --max-time 5 http://127.0.0.1:8081/").strip() == "theirs"
    assert removed.shell("mysql --batch --execute 'SHOW TABLES FROM shop'").split()[-1] == "theirs"
    assert removed.shell("ls /etc/nginx/conf.d /etc/nginx/sites-enabled").split() == [
        "/etc/nginx/conf.d:",
        "theirs.conf",
        "/etc/nginx/sites-enabled:",
        "default",
    ]


def test_it_can_be_deployed_again(removed: Organization) -> None:
    _well(removed.verb("deploy"))
    done = removed.lab.salt_run(["metis.status", "org=removed", "--out=json"], check=False)
    assert {row["health"] for row in json.loads(done.stdout)["data"]} == {"healthy"}
    assert "mysql_password" in removed.secrets()
