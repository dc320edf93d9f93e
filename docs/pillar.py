"""The tables of docs/pillar.md, and the schema of an organization file that they are made from.

``python -m docs.pillar`` writes both, in an environment of requirements/test.txt.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _modules import metis_orgform

PAGE = Path(__file__).with_name("pillar.md")
SCHEMA = Path(__file__).with_name("pillar.schema.json")
_BEGIN = "<!-- what follows is made by docs/pillar.py -->\n"
_END = "<!-- what is above is made by docs/pillar.py -->\n"
_FORMATS = {"ipv4": "IPv4 address", "hostname": "host name"}

Schema = dict[str, Any]


def page(text: str) -> str:
    """
    The page with its tables as the schema says now.

    Args:
        text: the page, whose tables may be old.

    Returns:
        The page; what stands outside of the two marks is as it was.
    """
    before, rest = text.split(_BEGIN)
    _, after = rest.split(_END)
    tables = "\n".join(_tables())
    return f"{before}{_BEGIN}\n{tables}\n{_END}{after}"


def schema_text() -> str:
    """Give the content of the schema's file."""
    return json.dumps(metis_orgform.json_schema(), indent=2, ensure_ascii=False) + "\n"


def _tables() -> Iterator[str]:
    schema = metis_orgform.json_schema()
    org = schema["$defs"]["_Org"]
    yield from _table("metis", org)
    for name, setting in org["properties"].items():
        section = _section(schema, setting)
        if section is not None:
            yield from _table("hosts.<name>" if name == "hosts" else name, section)


def _section(schema: Schema, setting: Schema) -> Schema | None:
    """The mapping that a setting holds, where it holds one."""
    inner = [*setting.get("patternProperties", {}).values(), *setting.get("anyOf", []), setting]
    for candidate in inner:
        if "$ref" in candidate:
            found: Schema = schema["$defs"][candidate["$ref"].rsplit("/", 1)[-1]]
            return found
    return None


def _table(place: str, section: Schema) -> Iterator[str]:
    yield f"### `{place}`"
    yield ""
    yield section["description"]
    yield ""
    yield "| setting | value | default | what it is |"
    yield "| --- | --- | --- | --- |"
    for name, setting in section["properties"].items():
        default = "required" if name in section.get("required", ()) else _default(setting)
        if "$ref" in setting:
            what, default = f"See [`{name}`](#{name}).", "as there"
        else:
            what = setting["description"]
        yield f"| `{name}` | {_value(setting)} | {default} | {what} |"
    yield ""


def _default(setting: Schema) -> str:
    default = setting.get("default")
    return "none" if default is None else f"`{json.dumps(default).strip(chr(34))}`"


def _value(setting: Schema) -> str:
    """What may be written, in words."""
    options = [option for option in setting.get("anyOf", []) if option.get("type") != "null"]
    if options:
        return " or ".join(_value(option) for option in options)
    if "format" in setting:
        return _FORMATS[setting["format"]]
    if "enum" in setting:
        return ", ".join(f"`{word}`" for word in setting["enum"])
    if "pattern" in setting:
        # Else a cell of the table would end there.
        pattern = setting["pattern"].strip("^$").replace("|", "\\|")
        return f"text, `{pattern}`"
    if "minLength" in setting:
        return f"text, {setting['minLength']} characters or more"
    if "prefixItems" in setting:
        return f"list of {setting['minItems']}: {_value(setting['prefixItems'][0])}"
    if "maximum" in setting:
        return f"{setting['minimum']} to {setting['maximum']}"
    if "minimum" in setting:
        return f"{setting['minimum']} or more"
    kind = setting.get("type", "object")
    return {"boolean": "`true` or `false`", "string": "text", "array": "list"}.get(kind, "mapping")


def main() -> int:
    """Write the page and the schema.

    Returns:
        The exit status.
    """
    SCHEMA.write_text(schema_text(), "utf-8")
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
