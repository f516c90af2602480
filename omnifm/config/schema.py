"""The experiment file as a JSON schema, by which editors complete keys and mark mistakes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from omnifm.algorithms import registry as algorithms
from omnifm.config.checking import validator
from omnifm.config.experiment import Experiment
from omnifm.tasks import registry as tasks
from omnifm.utils.registration import load_plugins


class _Described(GenerateJsonSchema):
    """Pydantic's schema, with what the docstrings say of a dataclass and of its fields."""

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> JsonSchemaValue:
        """Describe a dataclass by its docstring, and each field by the part of it that names the field."""
        found, kind = super().dataclass_schema(schema), schema["cls"]
        docs = [_plain(inspect.cleandoc(c.__doc__)) for c in kind.__mro__[:-1] if "__doc__" in vars(c) and c.__doc__]
        found["description"] = docs[0] if docs else ""
        parts = [part for doc in docs for part in re.split(r"(?<=[.;:])\s+", " ".join(doc.split()))]
        for name, place in found.get("properties", {}).items():
            said = [part for part in parts if re.search(rf"`{name}\b", part)]
            if said:
                place["description"] = said[0].rstrip(";:")
        return found


def experiment_schema(more: Mapping[str, type]) -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of an experiment file.

    It has a section for every task and algorithm, registered ones too; ``more`` are the sections that are for other
    commands, by name.
    """
    load_plugins()
    kinds: dict[str, type] = {**tasks.task_settings(), **algorithms.ALGORITHM_SETTINGS, **more}
    inputs = [(name, "validation", validator(kind)) for name, kind in {"": Experiment, **kinds}.items()]
    schemas, shared = TypeAdapter.json_schemas(inputs, schema_generator=_Described)  # type: ignore[arg-type]
    found = {name: schema for (name, _), schema in schemas.items()}
    definitions = shared["$defs"]
    arm = definitions.pop("Experiment")
    arm["properties"].pop("sections")
    arm["properties"] |= {name: found[name] for name in (*tasks.TASKS, *algorithms.ALGORITHM_SETTINGS)}
    for kind in definitions.values():
        if "const" in kind.get("properties", {}).get("kind", {}):  # what distinguishes sources
            kind["required"] = ["kind", *kind.get("required", [])]
    arms = {"type": "object", "additionalProperties": {"$ref": "#/$defs/Arm"}, "description": "What each arm changes."}
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        **arm,
        "title": "OmniFM experiment",
        "description": "All that a run depends on.",
        "properties": {**arm["properties"], "arms": arms, **{name: found[name] for name in more}},
        "$defs": {**definitions, "Arm": {**arm, "title": "Arm"}},
    }


def _plain(text: str) -> str:
    """Return the text of a docstring without its markup."""
    return re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text.replace("``", "`"))
