"""A package with entry points, as another's would be installed: a module and what pip writes beside it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from omnifm.algorithms.aggregation.registry import AGGREGATORS
from omnifm.algorithms.registry import ALGORITHM_SETTINGS
from omnifm.callbacks.registry import CALLBACKS
from omnifm.data.sources import SOURCES
from omnifm.tasks.registry import TASKS
from omnifm.utils import registration

REGISTRIES: tuple[dict[str, Any], ...] = (
    ALGORITHM_SETTINGS,
    AGGREGATORS,
    CALLBACKS,
    SOURCES,
    TASKS,
)

MODULE = '''
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch

from omnifm import Aggregator, Algorithm, Callback, register_source, register_task
from omnifm.algorithms.aggregation.aggregator import TensorAggregator
from omnifm.data.subset import SourceTable
from omnifm.tasks.classification import Classification, ClassificationSettings


@dataclass(frozen=True)
class Fair(Algorithm):
    q: float = 1.0

    def weight(self, upload):
        return upload.samples * upload.loss**self.q


@dataclass(frozen=True)
class Largest(TensorAggregator):
    def combine(self, values, weights):
        return values.amax(dim=0)


@dataclass
class Diary(Callback):
    file: str = "diary"

    def __getattribute__(self, name):
        found = super().__getattribute__(name)
        if name.startswith("on_"):
            with Path(super().__getattribute__("file")).open("a") as file:
                file.write(name + "\\n")
        return found


@dataclass(frozen=True)
class CoarseSettings(ClassificationSettings):
    """Nothing else to set."""


@register_task("coarse", CoarseSettings)
class Coarse(Classification):
    pass


@register_source("stripes")
@dataclass(frozen=True)
class Stripes:
    kind: Literal["stripes"] = "stripes"
    modality: str = "CT"
    images: int = 20

    def load(self, loading):
        label = torch.arange(self.images) % 2
        image = torch.rand(self.images, loading.channels, loading.size, loading.size)
        image[label == 1, :, ::2] = 1.0
        names = tuple(f"{self.modality}/{row}" for row in range(self.images))
        count = self.images
        many = (self.modality,) * count, ("x",) * count
        return SourceTable({"image": image, "label": label}, ("lying", "none"), names, *many)
'''
EVENTS = {
    f"on_{name}"
    for name in (
        *("run_start", "arm_start", "round_start", "upload", "round_end"),
        *("evaluate", "checkpoint", "arm_end", "run_end"),
    )
}
"""All events that a callback is told of."""

ENTRIES = """
[omnifm.algorithms]
fairest = omnifm_example_plugin:Fair
[omnifm.aggregators]
largest = omnifm_example_plugin:Largest
[omnifm.callbacks]
every-event = omnifm_example_plugin:Diary
[omnifm.tasks]
coarse = omnifm_example_plugin:Coarse
[omnifm.sources]
any-name = omnifm_example_plugin
"""


def write_plugin(folder: Path, module: str = MODULE, entries: str = ENTRIES) -> Path:
    """Write the package ``omnifm-example`` into a folder; return the folder."""
    info = folder / "omnifm_example-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "omnifm_example_plugin.py").write_text(module, encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: omnifm-example\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(entries, encoding="utf-8")
    return folder


@contextmanager
def installed(folder: Path) -> Iterator[None]:
    """Let Python find the package in a folder; afterwards nothing of it is known any more."""
    before = [dict(known) for known in REGISTRIES]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setattr(registration, "_loaded", set())
        registration.load_plugins.cache_clear()
        try:
            yield
        finally:
            registration.load_plugins.cache_clear()
            sys.modules.pop("omnifm_example_plugin", None)
            for known, old in zip(REGISTRIES, before, strict=True):
                known.clear()
                known.update(old)
