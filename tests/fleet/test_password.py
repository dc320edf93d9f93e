"""The password of admin's account in MariaDB."""

from tests.fleet.organization import Organization


def test_a_new_password_is_an_edit_and_a_deploy(org: Organization) -> None:
    host = org.lab.host("fleet2")
    new = "violet-Anvil-93-quartz"

    def denied() -> str:
        ask = "SHOW GLOBAL STATUS LIKE 'Access_denied_errors'"
        return host.run(["mysql", "--batch", "--skip-column-names", "--execute", ask]).stdout

    def login(password: str) -> int:
        # By a file: a password on a command line is everybody's.
        (host.root / "root/login.cnf").write_text(f"[client]\npassword={password}\n")
        mysql = ["mysql", "--defaults-extra-file=/root/login.cnf", "--user=metis_admin"]
        mysql.append("--host=127.0.0.1")
        done = host.run(
            [*mysql, "--execute", "SELECT COUNT(*) FROM metis_admin.sys_user"],
            check=False,
        )
        (host.root / "root/login.cnf").unlink()
        return done.returncode

    before, starts = denied(), org.starts()
    with org.edited(("admin: {", f"admin: {{mysql_password: {new}, ")):
        changes = org.changes("deploy")
        assert list(changes) == ["Everything is installed and configured", "admin runs"]
        assert new not in str(changes)
        assert denied() == before
        assert org.status()["admin@fleet2"]["health"] == "healthy"
        after = org.starts()
        assert after["fleet2"].pop("metis-admin.service") != starts["fleet2"]["metis-admin.service"]
        assert {**starts["fleet2"], **after["fleet2"]} == starts["fleet2"]
        assert after["fleet1"] == starts["fleet1"]
        assert login(new) == 0
    org.verb("deploy")
    assert denied() == before
    assert login(new) == 1
    assert org.changes("deploy") == {}
