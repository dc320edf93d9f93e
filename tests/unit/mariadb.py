"""A MariaDB that knows what `metis_schema` asks it."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

NAME = "metis_admin"


class MariaDB:
    """Databases with the table of their changes, and with content that is one text."""

    def __init__(self) -> None:
        self.content = "as created"
        self.there = True
        self.rows: dict[tuple[str, str], tuple[str, str]] | None = None
        self.restoring: str | None = None
        self.dumps: dict[str, Any] = {}
        # What a change must hold to fail.
        self.fails = "FAILS"
        # What a statement must hold that the server does not live to see.
        self.ends = ""
        # What ends a restore in the middle.
        self.dies = False

    def ask(self, words: list[str], stdin: str | None = None, timeout: int = 60) -> str:
        """Stand in for `metis_mysql.ask`."""
        assert timeout > 0
        if words[0] == "--database":
            assert stdin is not None
            # A server cannot undo what changed a table.
            self.content += f", {stdin}"
            if self.fails in stdin:
                raise CommandExecutionError("MariaDB cannot be asked: ERROR 1146")
            return ""
        statement = words[1]
        if statement == "SHOW DATABASES":
            found = [NAME] if self.there else []
            return "\n".join(found + (["metis_restoring"] if self.restoring else []))
        if statement.startswith("SHOW TABLES"):
            return "a_table" if self.rows is None else "a_table\nmetis_schema"
        if statement.startswith("SELECT TABLE_COMMENT"):
            return self.restoring or ""
        if statement.startswith("SELECT"):
            rows = self.rows or {}
            return "\n".join("\t".join((*key, *value)) for key, value in rows.items())
        if "metis_restoring.dump" in statement:
            (self.restoring,) = re.findall("COMMENT '(.*)'", statement)
            return ""
        if statement == "DROP DATABASE metis_restoring":
            self.restoring = None
            return ""
        if self.ends and self.ends in statement:
            raise CommandExecutionError("MariaDB cannot be asked: the server has gone away")
        self._write(statement)
        return ""

    def _write(self, statements: str) -> None:
        if "CREATE TABLE" in statements and self.rows is None:
            self.rows = {}
        assert self.rows is not None
        if "DELETE" in statements:
            self.rows = {key: row for key, row in self.rows.items() if key[0] != "release"}
        for row in re.findall(r"REPLACE INTO \S+ VALUES \((.*)\)", statements):
            kind, name, dump, ended = (word.strip("'") for word in row.split(", "))
            self.rows[kind, name] = (dump, ended)

    def run_all(self, argv: list[str], **given: Any) -> dict[str, Any]:
        """Stand in for `cmd.run_all`: dumps, and dumps that are read back."""
        assert given["python_shell"] is False
        assert given["timeout"] > 0
        if "mariadb-dump" in argv:
            # Nobody else may read it.
            assert given["umask"] == "077"
            Path(argv[4]).touch()
            now = (self.content, copy.deepcopy(self.rows))
            self.dumps[Path(argv[4]).name.removeprefix(".").removesuffix(".part")] = now
        else:
            self.there = False
            if self.dies:
                self.dies = False
                return {"retcode": 1, "stdout": "", "stderr": "Terminated"}
            self.content, rows = self.dumps[Path(argv[4]).name]
            self.rows = copy.deepcopy(rows)
            self.there = True
        return {"retcode": 0, "stdout": "", "stderr": ""}
