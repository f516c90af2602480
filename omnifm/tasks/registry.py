"""The tasks by name. A new task is one file and one line here, or, outside, ``register_task``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from omnifm.tasks.classification import Classification, ClassificationSettings
from omnifm.tasks.image_fusion import ImageFusion, ImageFusionSettings
from omnifm.tasks.segmentation import Segmentation, SegmentationSettings
from omnifm.tasks.super_resolution import SuperResolution, SuperResolutionSettings
from omnifm.tasks.task import DataShape, Task
from omnifm.tasks.vqa import VQA, VQASettings
from omnifm.utils.registration import class_decorator

DEFAULT = "classification"


class RegisteredTask(NamedTuple):
    """How a task is made, and the dataclass of its section in the experiment file."""

    make: Callable[[Any, DataShape], Task]
    settings: type


TASKS: dict[str, RegisteredTask] = {
    "classification": RegisteredTask(Classification, ClassificationSettings),
    "segmentation": RegisteredTask(Segmentation, SegmentationSettings),
    "super_resolution": RegisteredTask(SuperResolution, SuperResolutionSettings),
    "vqa": RegisteredTask(VQA, VQASettings),
    "image_fusion": RegisteredTask(ImageFusion, ImageFusionSettings),
}

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
        TASKS[name] = RegisteredTask(kind, settings)
        return kind

    return decorate


def make_task(name: str, settings: Any, shape: DataShape) -> Task:
    """Build the task called ``name`` from its settings and the shape of the data."""
    return TASKS[name].make(settings, shape)


def task_settings() -> dict[str, type]:
    """Return the settings of each task that is known now."""
    return {name: task.settings for name, task in TASKS.items()}
