"""The experiment file as a JSON schema, by which editors complete keys and mark mistakes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Mapping
from itertools import takewhile
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from omnifm.algorithms import registry as algorithms
from omnifm.algorithms.aggregation.registry import AGGREGATORS
from omnifm.config.checking import validator
from omnifm.config.experiment import Experiment
from omnifm.tasks import registry as tasks
from omnifm.utils.registration import load_plugins

_OF_SOURCES = {
    "kind": "Chooses this source.",
    "folder": "The folder below `data.root`.",
    "modality": "The modality of all images.",
    "name": "The name of the institution that the images come from.",
}
"""What keys mean that many sources have, where the docstring of one does not say it."""


class _Described(GenerateJsonSchema):
    """Pydantic's schema, with what the docstrings say of a dataclass and of its fields."""

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> JsonSchemaValue:
        """Describe a dataclass by its docstring, and each field by the part of it that names the field."""
        found, kind = super().dataclass_schema(schema), schema["cls"]
        docs = [_plain(inspect.cleandoc(c.__doc__)) for c in kind.__mro__[:-1] if "__doc__" in vars(c) and c.__doc__]
        found["description"] = docs[0] if docs else ""
        names = found.get("properties", {})
        for name, place in names.items():
            said = [words for say in (_listed, _named) for doc in docs if (words := say(name, names, doc))]
            if said:
                place["description"] = said[0]
        return found


def experiment_schema(more: Mapping[str, type], callbacks: Mapping[str, type]) -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of an experiment file.

    It has a section for every task and algorithm, registered ones too; ``more`` are the sections that are for other
    commands, by name, and ``callbacks`` the kinds of ``[[callbacks]]``.
    """
    load_plugins()
    kinds: dict[str, type] = {**tasks.task_settings(), **algorithms.ALGORITHM_SETTINGS, **more}
    chosen: dict[tuple[str, str], type] = {("rule", name): kind for name, kind in AGGREGATORS.items()}
    chosen |= {("kind", name): kind for name, kind in callbacks.items()}
    every: dict[Any, type] = {"": Experiment, **kinds, **chosen}
    inputs = [(name, "validation", validator(kind)) for name, kind in every.items()]
    schemas, shared = TypeAdapter.json_schemas(inputs, schema_generator=_Described)  # type: ignore[arg-type]
    found = {name: schema for (name, _), schema in schemas.items()}
    definitions = shared["$defs"]
    arm = definitions.pop("Experiment")
    arm["properties"].pop("sections")
    arm["properties"] |= {name: found[name] for name in (*tasks.TASKS, *algorithms.ALGORITHM_SETTINGS)}
    for kind in definitions.values():
        if "const" in kind.get("properties", {}).get("kind", {}):  # what distinguishes sources
            kind["required"] = ["kind", *kind.get("required", [])]
            for name, meaning in _OF_SOURCES.items():
                kind["properties"].get(name, {}).setdefault("description", meaning)
            kind["properties"]["kind"]["description"] = _OF_SOURCES["kind"]
    choices = {key: _choice(definitions[found[key]["$ref"].rpartition("/")[2]], *key) for key in chosen}
    for key in chosen:
        definitions.pop(found[key]["$ref"].rpartition("/")[2], None)
    choices["rule", "mean"]["required"].remove("rule")  # it is the default
    arm["properties"]["aggregation"] |= {"oneOf": [choices["rule", name] for name in AGGREGATORS]}
    listeners = {"type": "array", "items": {"oneOf": [choices["kind", name] for name in callbacks]}}
    arms = {"type": "object", "additionalProperties": {"$ref": "#/$defs/Arm"}, "description": "What each arm changes."}
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        **arm,
        "title": "OmniFM experiment",
        "description": "All that a run depends on.",
        "properties": {
            **arm["properties"],
            "arms": arms,
            "callbacks": {**listeners, "description": "Who hears of a run's progress."},
            **{name: found[name] for name in more},
        },
        "$defs": {**definitions, "Arm": {**arm, "title": "Arm"}},
    }


def _listed(name: str, names: Collection[str], doc: str) -> str:
    """Return what stands of a field under "Attributes" in a docstring."""
    found = re.search(rf"^ {{4}}{name}: (.*(?:\n {{8}}.*)*)", doc.partition("\nAttributes:\n")[2], re.MULTILINE)
    return " ".join(found[1].split()) if found else ""


def _named(name: str, names: Collection[str], doc: str) -> str:
    """Return what the sentences of a docstring say of a field: the clauses from the one that names it.

    A clause ends with a semicolon outside brackets; those that follow in the sentence are of the field too until one
    names another.
    """
    others = set(names) - {name}
    for sentence in re.split(r"(?<=\.)\s+(?![^()]*\))", " ".join(doc.partition("\nAttributes:")[0].split())):
        clauses = re.split(r"(?<=;)\s+(?![^()]*\))", sentence)
        for place, clause in enumerate(clauses):
            if re.search(rf"`{name}\b", clause):
                more = takewhile(lambda text: others.isdisjoint(re.findall(r"`(\w+)", text)), clauses[place + 1 :])
                return " ".join([clause, *more]).rstrip(";")
    return ""


def _choice(schema: Mapping[str, Any], key: str, name: str) -> dict[str, Any]:
    """Return the schema of a table whose ``key`` is the ``name`` of a class that has the other keys."""
    properties = {key: {"const": name, "type": "string", "description": f"Chooses `{name}`."}, **schema["properties"]}
    return {**schema, "title": name, "properties": properties, "required": [key, *schema.get("required", [])]}


def _plain(text: str) -> str:
    """Return the text of a docstring without its markup."""
    return re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text.replace("``", "`"))
