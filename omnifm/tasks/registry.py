"""The tasks by name. A new task is one file and one line here."""

from __future__ import annotations

from typing import Any

from omnifm.tasks.classification import Classification, ClassificationSettings
from omnifm.tasks.image_fusion import ImageFusion, ImageFusionSettings
from omnifm.tasks.segmentation import Segmentation, SegmentationSettings
from omnifm.tasks.super_resolution import SuperResolution, SuperResolutionSettings
from omnifm.tasks.task import DataShape, Task
from omnifm.tasks.vqa import VQA, VQASettings

DEFAULT = "classification"

_TASKS: dict[str, tuple[type, Any]] = {
    "classification": (ClassificationSettings, Classification),
    "segmentation": (SegmentationSettings, Segmentation),
    "super_resolution": (SuperResolutionSettings, SuperResolution),
    "vqa": (VQASettings, VQA),
    "image_fusion": (ImageFusionSettings, ImageFusion),
}

SETTINGS: dict[str, type] = {name: settings for name, (settings, _) in _TASKS.items()}
"""What each task's section in the experiment file may hold."""


def make_task(name: str, settings: Any, shape: DataShape) -> Task:
    """Build the task called ``name`` from its settings and the shape of the data."""
    task: Task = _TASKS[name][1](settings, shape)
    return task
