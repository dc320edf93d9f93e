"""What a terminal shows of a runner's rows."""

from __future__ import annotations

from _output import metis_table


def test_rows_are_columns_as_wide_as_their_widest() -> None:
    rows = [
        {"instance": "consul@h1", "up": "3 d"},
        {"instance": "data@h4:8700", "up": None},
    ]
    assert metis_table.output({"data": rows}).splitlines() == [
        "INSTANCE      UP",
        "consul@h1     3 d",
        "data@h4:8700  None",
    ]


def test_no_line_ends_in_blanks() -> None:
    rows = [{"a": "long enough", "b": ""}, {"a": "x", "b": "y"}]
    assert not [
        line for line in metis_table.output({"data": rows}).splitlines() if line.endswith(" ")
    ]


def test_a_text_is_shown_as_it_is() -> None:
    text = "there is no organization amce\n  known are acme"
    assert metis_table.output({"data": text}) == text


def test_what_salt_passes_along_changes_nothing() -> None:
    assert metis_table.output({"data": "text"}, _retcode=1, jid="1") == "text"
