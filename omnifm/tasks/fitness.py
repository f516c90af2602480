"""Whether data can serve a task, told before anything runs."""

from __future__ import annotations

from collections.abc import Collection

from omnifm.tasks.registry import TASKS
from omnifm.tasks.task import Task
from omnifm.utils.errors import ExperimentError
from omnifm.utils.words import joined

KINDS = {
    "question": "questions and answers",
    "chroma": "pairs of images",
    "mask": "masks",
    "exclusive": "labels",
}
"""What sources can say of their images, by the field that holds it; the first of which there is one names the data."""


def check_data_serve(name: str, fields: Collection[str], axes: int) -> None:
    """Check that data have what a task needs, as far as the task states it.

    Args:
        name: of the task.
        fields: of the data, as all sources have them.
        axes: how many spatial axes the images have.

    Raises:
        ExperimentError: they do not; says what they have, and which tasks they serve.
    """
    task = TASKS[name].make
    needs = getattr(task, "needs", Task.needs)
    kind = next((field for field in KINDS if field in fields), "image")
    if needs in KINDS and needs != kind:
        serves = [repr(other) for other in TASKS if getattr(TASKS[other].make, "needs", Task.needs) == kind]
        held = f"the sources have {KINDS[kind]}" if kind in KINDS else "the sources do not all have them"
        remedy = f"set task = {joined(serves)}, or choose other sources" if serves and kind in KINDS else "add sources"
        raise ExperimentError(f"task = {name!r} needs {KINDS[needs]}, and {held}: {remedy}.")
    if needs not in KINDS and needs not in fields:
        raise ExperimentError(f"task = {name!r} needs the field {needs!r}, which the sources do not all have.")
    if axes not in getattr(task, "axes", Task.axes):
        takes = joined(str(count) for count in getattr(task, "axes", Task.axes))
        raise ExperimentError(
            f"task = {name!r} takes images of {takes} axes, and these have {axes}: set pages = 'slices', 'first' or "
            "'middle' in the sources."
        )
