"""Settings as frozen dataclasses that check themselves, whether a file or Python code makes them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Annotated, Any, TypeVar, dataclass_transform

import pydantic.dataclasses
from pydantic import AfterValidator, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.dataclasses import is_pydantic_dataclass
from pydantic_core import CoreSchema, core_schema

from omnifm.utils.errors import did_you_mean

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
"""No unknown key, no text for a number, nothing infinite."""

_Class = TypeVar("_Class", bound=type)
Item = TypeVar("Item")


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def settings(kind: _Class) -> _Class:
    """Make a class a frozen dataclass whose values are checked against their annotations when it is made.

    A range belongs into the annotation (``Annotated[int, Field(ge=1)]`` or a name below); ``__post_init__`` is for
    rules across fields, and raises ValueError. What is wrong is a ``pydantic.ValidationError``, which is one too.
    """
    return pydantic.dataclasses.dataclass(frozen=True, config=STRICT)(kind)  # type: ignore[return-value]


def strict(kind: _Class) -> _Class:
    """Have pydantic check a dataclass of a user's own as it does those of :func:`settings`."""
    if not is_pydantic_dataclass(kind):
        pydantic.with_config(STRICT)(kind)  # in place
    return kind


class OneOf:
    """In an annotation: the text must be one of ``known``, or of ``also``; the error suggests the nearest.

    ``known`` is read each time: users add algorithms of their own.
    """

    def __init__(self, known: Collection[str], *also: str) -> None:
        self.known, self.also = known, also

    def check(self, name: str) -> str:
        """Let a known name pass."""
        if name not in self.known and name not in self.also:
            raise ValueError(f"unknown name {name!r}. {did_you_mean(name, self.known)}")
        return name

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "enum": sorted({*self.known, *self.also})}


def _distinct(items: tuple[Item, ...]) -> tuple[Item, ...]:
    if twice := [item for item in items if items.count(item) > 1]:
        raise ValueError(f"{twice[0]!r} is listed twice")
    return items


NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
Between = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
MultipleOf4 = Annotated[int, Field(ge=4, multiple_of=4)]
MultipleOf8 = Annotated[int, Field(ge=8, multiple_of=8)]
Text = Annotated[str, Field(min_length=1)]
Distinct = Annotated[tuple[Item, ...], AfterValidator(_distinct)]
"""Distinct items."""
Some = Annotated[tuple[Item, ...], Field(min_length=1), AfterValidator(_distinct)]
"""At least one item, and none twice."""
