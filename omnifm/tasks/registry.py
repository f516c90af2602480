"""The tasks by name. A new task is one file and a line in each dictionary here, or, outside, ``register_task``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from omnifm.tasks.classification import Classification, ClassificationSettings
from omnifm.tasks.image_fusion import ImageFusion, ImageFusionSettings
from omnifm.tasks.segmentation import Segmentation, SegmentationSettings
from omnifm.tasks.super_resolution import SuperResolution, SuperResolutionSettings
from omnifm.tasks.task import DataShape, Task
from omnifm.tasks.vqa import VQA, VQASettings
from omnifm.utils.registration import class_decorator

DEFAULT = "classification"

TASKS: dict[str, Any] = {
    "classification": Classification,
    "segmentation": Segmentation,
    "super_resolution": SuperResolution,
    "vqa": VQA,
    "image_fusion": ImageFusion,
}

TASK_SETTINGS: dict[str, type] = {
    "classification": ClassificationSettings,
    "segmentation": SegmentationSettings,
    "super_resolution": SuperResolutionSettings,
    "vqa": VQASettings,
    "image_fusion": ImageFusionSettings,
}
"""What each task's section in the experiment file may hold."""

TaskClass = TypeVar("TaskClass", bound=type[Task])


def register_task(name: str, settings: type | None = None) -> Callable[[TaskClass], TaskClass]:
    """Return a class decorator that makes a task known as ``task = name``.

    The class is made with its checked settings and a :class:`~omnifm.tasks.task.DataShape`. ``settings`` is the
    dataclass of them, whose fields, all with defaults, are the keys of ``[name]`` in an experiment.

    Raises:
        ValueError: (from the decorator) no settings are given or they are no dataclass, or the name is taken.
    """

    def decorate(kind: TaskClass) -> TaskClass:
        if settings is None:
            raise ValueError(f'name the settings of {kind.__name__}: @register_task("{name}", ITS_SETTINGS)')
        class_decorator(TASKS, name, "Task", settings)(kind)
        TASK_SETTINGS[name] = settings
        return kind

    return decorate


def make_task(name: str, settings: Any, shape: DataShape) -> Task:
    """Build the task called ``name`` from its settings and the shape of the data."""
    task: Task = TASKS[name](settings, shape)
    return task
