"""The password of admin's account in MariaDB, and the account."""

from tests.fleet.organization import Organization


def test_a_new_password_and_a_new_account_are_an_edit_and_a_deploy(org: Organization) -> None:
    host = org.lab.host("fleet2")
    new = "violet-Anvil-93-quartz"

    def asked(statement: str) -> str:
        mysql = ["mysql", "--batch", "--skip-column-names", "--execute", statement]
        return host.run(mysql).stdout

    def denied() -> str:
        return asked("SHOW GLOBAL STATUS LIKE 'Access_denied_errors'")

    def accounts() -> list[str]:
        return asked("SELECT User FROM mysql.user WHERE Host = '127.0.0.1'").split()

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
    with org.edited(("admin: {", "admin: {mysql_user: fleet_console, ")):
        org.verb("deploy")
        assert denied() == before
        assert accounts() == ["fleet_console"]
        assert org.status()["admin@fleet2"]["health"] == "healthy"
        assert org.changes("deploy") == {}
        # Of metis_admin, which is not known any more.
        assert login(new) == 1
    before = denied()
    org.verb("deploy")
    assert accounts() == ["metis_admin"]
    assert denied() == before
    assert login(new) == 1
    assert org.changes("deploy") == {}
