"""The reference of the experiment file, made from its JSON schema: every key, its type, default, range and meaning."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from omnifm.cli.schema_command import whole_schema

Schema = Mapping[str, Any]
_BOUNDS = {"minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}"}
_MORE = {"multipleOf": "a multiple of {}", "minItems": "at least {}", "minLength": "not empty"}


def markdown() -> str:
    """Return the reference: a table of keys for each table of the file."""
    return "\n".join(_sections(whole_schema()))


def _sections(schema: Schema) -> Iterator[str]:
    definitions: Schema = schema["$defs"]

    def resolved(place: Schema) -> Schema:
        return {**definitions[place["$ref"].rpartition("/")[2]], **place} if "$ref" in place else place

    places = {name: resolved(place) for name, place in schema["properties"].items()}
    tables = {name: place for name, place in places.items() if place.get("properties")}
    single = {name: place for name, place in places.items() if name not in tables and "$ref" not in place}
    yield "## Top of the file\n"
    yield _table({n: p for n, p in single.items() if n not in ("aggregation", "arms", "callbacks")}, schema)
    for name, place in tables.items():
        keys = {key: resolved(inner) for key, inner in place["properties"].items()}
        plain = {key: inner for key, inner in keys.items() if not inner.get("properties")}
        yield _section(f"[{name}]", {**place, "properties": plain}, 2)
        for key, inner in keys.items():
            if inner.get("properties"):
                yield _section(f"[{name}.{key}]", inner, 3)
        if name == "data":
            sources = place["properties"]["sources"]["items"]["discriminator"]["mapping"]
            for kind, reference in sources.items():
                yield _section(f'[[data.sources]] kind = "{kind}"', resolved({"$ref": reference}), 3)
    yield "## `[aggregation]`\n\nHow the uploads of a round are combined. Its other keys depend on `rule`.\n"
    for rule in places["aggregation"]["oneOf"]:
        yield _section(f'rule = "{rule["title"]}"', rule, 3)
    yield "## `[[callbacks]]`\n\nWho hears of a run's progress. The other keys of a callback depend on its `kind`.\n"
    for kind in places["callbacks"]["items"]["oneOf"]:
        yield _section(f'kind = "{kind["title"]}"', kind, 3)
    yield "## `[arms.NAME]`\n\n" + _sentence(places["arms"]["description"]) + " Any of the keys above, for one arm.\n"


def _section(title: str, place: Schema, level: int) -> str:
    text = f"{'#' * level} `{title}`\n\n{_prose(place.get('description', ''))}\n"
    return text + "\n" + (_table(place["properties"], place) if place["properties"] else "There is nothing to set.\n")


def _prose(text: str) -> str:
    """Return the first paragraph of a docstring; the table says what the others say of keys."""
    return _sentence(" ".join(text.partition("\n\n")[0].split()))


def _table(properties: Mapping[str, Any], owner: Schema) -> str:
    rows = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    for name, place in properties.items():
        default = f"`{_toml(place['default'])}`" if "default" in place and "const" not in place else ""
        default = "**required**" if name in owner.get("required", []) else default
        rows.append(
            f"| `{name}` | {_type(place)} | {_cell(default)} | {_cell(_sentence(place.get('description', '')))} |"
        )
    return "\n".join(rows) + "\n"


def _type(place: Schema) -> str:
    """Say in words what a value may be."""
    if "const" in place:
        return f"`{_toml(place['const'])}`"
    if "enum" in place:
        return ", ".join(f"`{_toml(value)}`" for value in place["enum"])
    if "items" in place:
        words = "table of its own" if "discriminator" in place["items"] else _type(place["items"])
        words = f"list of: {words}"
    else:
        words = {"object": "table", "boolean": "`true`, `false`", "number": "number"}.get(
            place.get("type", ""), place.get("type", "any")
        )
    ranges = [text.format(_toml(place[key])) for key, text in (_BOUNDS | _MORE).items() if place.get(key) is not None]
    return ", ".join([words, *ranges])


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _sentence(text: str) -> str:
    """Return a text that begins with a capital, unless it begins with code, and ends with a full stop."""
    text = " ".join(text.split())
    return text and text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
