"""The data sets by their ``kind``. A new one is one file and one line here, or, outside, ``register_source``."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar, Union, get_type_hints

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter
from pydantic_core import CoreSchema, core_schema

from omnifm.data.brats import BratsSource
from omnifm.data.breakhis import BreaKHisSource
from omnifm.data.image_folder import ImageFolderSource
from omnifm.data.image_pairs import ImagePairsSource
from omnifm.data.manifest.manifest_source import ManifestSource
from omnifm.data.masked_folder import MaskedFolderSource
from omnifm.data.medmnist import MedMNISTSource
from omnifm.data.phantom.dataset import PhantomSource
from omnifm.data.phantom.masks import PhantomRegionsSource
from omnifm.data.phantom.pairs import PhantomPairsSource
from omnifm.data.phantom.question_set import PhantomQuestionsSource
from omnifm.data.slake import SLAKESource
from omnifm.data.source import Source
from omnifm.data.tile_folder import TileFolderSource
from omnifm.data.vqa_med import VQAMedSource
from omnifm.data.vqa_rad import VQARADSource
from omnifm.utils.errors import did_you_mean
from omnifm.utils.registration import class_decorator
from omnifm.utils.settings import strict

SOURCES: dict[str, type] = {
    "phantom": PhantomSource,
    "phantom_regions": PhantomRegionsSource,
    "phantom_pairs": PhantomPairsSource,
    "phantom_questions": PhantomQuestionsSource,
    "medmnist": MedMNISTSource,
    "image_folder": ImageFolderSource,
    "tile_folder": TileFolderSource,
    "breakhis": BreaKHisSource,
    "masked_folder": MaskedFolderSource,
    "brats": BratsSource,
    "image_pairs": ImagePairsSource,
    "vqa_rad": VQARADSource,
    "slake": SLAKESource,
    "vqa_med": VQAMedSource,
    "manifest": ManifestSource,
}
"""The known kinds of sources."""

SourceClass = TypeVar("SourceClass", bound=type)


def register_source(name: str) -> Callable[[SourceClass], SourceClass]:
    """Return a class decorator that makes a data set known: ``[[data.sources]]`` with ``kind = "name"``.

    The class is a frozen dataclass of settings as :class:`~omnifm.data.source.Source` says, its ``kind`` annotated as
    ``Literal["name"]``.

    Raises:
        ValueError: (from the decorator) the name is taken, the class is no dataclass, or its kind is another.
    """

    def decorate(kind: SourceClass) -> SourceClass:
        if get_type_hints(kind).get("kind") != Literal[name] or getattr(kind, "kind", None) != name:
            raise ValueError(f'{kind.__name__} needs the field  kind: Literal["{name}"] = "{name}"')
        return class_decorator(SOURCES, name, "Source")(kind)

    return decorate


class _Registered:
    """Validates a table as the source of its registered kind; objects made in Python pass unchanged."""

    def __get_pydantic_core_schema__(self, kind: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(_read)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(_adapter(tuple(SOURCES.values())).core_schema)


def _read(value: Any) -> Any:
    if hasattr(value, "load"):
        return value
    if isinstance(value, dict) and (kind := str(value.get("kind", ""))) not in SOURCES:
        raise ValueError(f"there is no kind {kind!r}. {did_you_mean(kind, SOURCES)}")
    return _adapter(tuple(SOURCES.values())).validate_json(json.dumps(value, default=str))


@lru_cache(maxsize=1)
def _adapter(kinds: tuple[type, ...]) -> TypeAdapter[Any]:
    every: Any = Annotated[Union[tuple(map(strict, kinds))], Field(discriminator="kind")]  # noqa: UP007
    return TypeAdapter(every)


AnySource = Annotated[Source, _Registered()]
