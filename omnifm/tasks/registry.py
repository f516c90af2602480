"""The tasks by name. A new task is one file and one line here."""

from __future__ import annotations

from typing import Any

from omnifm.tasks.classification import Classification, ClassificationSettings
from omnifm.tasks.task import DataShape, Task
from omnifm.tasks.vqa import VQA, VQASettings

DEFAULT = "classification"
SETTINGS: dict[str, type] = {"classification": ClassificationSettings, "vqa": VQASettings}
_TASKS: dict[str, Any] = {"classification": Classification, "vqa": VQA}


def make_task(name: str, settings: Any, shape: DataShape) -> Task:
    """Build the task called ``name`` from its settings and the shape of the data."""
    task: Task = _TASKS[name](settings, shape)
    return task
