"""The data sets by their ``kind``. A new one is one file and one line here."""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import Field

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
]
SOURCES: dict[str, type] = {source.kind: source for source in get_args(get_args(AnySource)[0])}
