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
    places = _resolved({name: place for name, place in schema["properties"].items() if name != "arms"}, schema["$defs"])
    choices = {"aggregation": "rule", "callbacks": "kind"}
    single = {name: place for name, place in places.items() if "properties" not in place and name not in choices}
    yield "## Top of the file\n"
    yield _table({name: place for name, place in single.items() if place.get("type") != "object"}, schema)
    for name, place in places.items():
        if place.get("properties"):
            yield from _tables(f"[{name}]", place, 2)
        if name == "data":
            for source in place["properties"]["sources"]["items"]["oneOf"]:
                kind = source["properties"]["kind"]["const"]
                yield from _tables(f'[[data.sources]] kind = "{kind}"', source, 3)
    yield "## `[aggregation]`\n\nHow the uploads of a round are combined. Its other keys depend on `rule`.\n"
    for rule in places["aggregation"]["oneOf"]:
        yield from _tables(f'rule = "{rule["title"]}"', rule, 3)
    yield "## `[[callbacks]]`\n\nWho hears of a run's progress. The other keys of a callback depend on its `kind`.\n"
    for kind in places["callbacks"]["items"]["oneOf"]:
        yield from _tables(f'kind = "{kind["title"]}"', kind, 3)
    arms = _sentence(schema["properties"]["arms"]["description"])
    yield f"## `[arms.NAME]`\n\n{arms} Any of the keys above, for one arm.\n"


def _resolved(place: Any, definitions: Schema) -> Any:
    """Return a part of the schema with what it refers to in the place of references."""
    if isinstance(place, list):
        return [_resolved(inner, definitions) for inner in place]
    if not isinstance(place, Mapping):
        return place
    if "$ref" in place:
        more = {key: value for key, value in place.items() if key != "$ref"}
        return _resolved({**definitions[place["$ref"].rpartition("/")[2]], **more}, definitions)
    return {key: value if key == "default" else _resolved(value, definitions) for key, value in place.items()}


def _tables(title: str, place: Schema, level: int) -> Iterator[str]:
    """Yield the section of a table, then those of the tables in it."""
    yield _section(title, place, level)
    for key, inner in place["properties"].items():
        for found in (inner.get("items", inner), *inner.get("anyOf", ())):
            if found.get("properties"):
                name = f"{title[:-1]}.{key}]" if title.endswith("]") and "items" not in inner else f"{title}: {key}"
                yield from _tables(name, found, level + 1)


def _section(title: str, place: Schema, level: int) -> str:
    text = f"{'#' * level} `{title}`\n\n{_prose(place.get('description', ''))}\n"
    return text + "\n" + (_table(place["properties"], place) if place["properties"] else "There is nothing to set.\n")


def _prose(text: str) -> str:
    """Return the first paragraph of a docstring; the table says what the others say of keys."""
    return _sentence(" ".join(text.partition("\n\n")[0].split()))


def _table(properties: Mapping[str, Any], owner: Schema) -> str:
    rows = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    for name, place in properties.items():
        known = place.get("default") is not None and "const" not in place and "properties" not in place
        default = f"`{_toml(place['default'])}`" if known else ""
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
    if "anyOf" in place:
        return " or ".join(dict.fromkeys(_type(inner) for inner in place["anyOf"] if inner.get("type") != "null"))
    if "items" in place:
        words = f"list of: {'table, below' if 'oneOf' in place['items'] else _type(place['items'])}"
    else:
        words = {
            "object": "table, below" if place.get("properties") else "table",
            "boolean": "`true`, `false`",
            "number": "number",
        }.get(place.get("type", ""), place.get("type", "any"))
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
