"""The data sets by their ``kind``. A new one is one file and one line here."""

from __future__ import annotations

from typing import Annotated, Any, get_args

from pydantic import Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from omnifm.data.brats import BratsSource
from omnifm.data.breakhis import BreaKHisSource
from omnifm.data.image_folder import ImageFolderSource
from omnifm.data.image_pairs import ImagePairsSource
from omnifm.data.masked_folder import MaskedFolderSource
from omnifm.data.medmnist import MedMNISTSource
from omnifm.data.phantom.pairs import PhantomPairsSource
from omnifm.data.phantom.questions import PhantomQuestionsSource
from omnifm.data.phantom.regions import PhantomRegionsSource
from omnifm.data.phantom.source import PhantomSource
from omnifm.data.slake import SLAKESource
from omnifm.data.tile_folder import TileFolderSource
from omnifm.data.vqa_med import VQAMedSource
from omnifm.data.vqa_rad import VQARADSource


class _AsMade:
    """Lets a source pass that Python code has made, be it of a class that is not listed here."""

    def __get_pydantic_core_schema__(self, kind: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        read = handler(kind)
        made = core_schema.no_info_wrap_validator_function(
            lambda source, read: source if hasattr(source, "load") else read(source), read
        )
        return core_schema.json_or_python_schema(read, made)


AnySource = Annotated[
    PhantomSource
    | PhantomRegionsSource
    | PhantomPairsSource
    | PhantomQuestionsSource
    | MedMNISTSource
    | ImageFolderSource
    | TileFolderSource
    | BreaKHisSource
    | MaskedFolderSource
    | BratsSource
    | ImagePairsSource
    | VQARADSource
    | SLAKESource
    | VQAMedSource,
    Field(discriminator="kind"),
    _AsMade(),
]
SOURCES: dict[str, type] = {source.kind: source for source in get_args(get_args(AnySource)[0])}
