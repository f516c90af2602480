from __future__ import annotations

import pytest

from omnifm.tasks.fitness import KINDS, check_data_serve
from omnifm.tasks.registry import TASKS
from omnifm.utils.errors import ExperimentError

SERVES = {
    "classification": "exclusive",
    "segmentation": "mask",
    "vqa": "question",
    "image_fusion": "chroma",
    "super_resolution": "image",
}
FIELDS = {
    "exclusive": ["image", "target", "allowed", "exclusive"],
    "mask": ["image", "mask", "target", "allowed"],
    "question": ["image", "question", "answer", "closed", "exclusive", "target", "allowed"],
    "chroma": ["image", "chroma"],
    "image": ["image"],
}


@pytest.mark.parametrize("kind", FIELDS)
@pytest.mark.parametrize("task", SERVES)
def test_every_task_on_every_kind_of_data(task: str, kind: str) -> None:
    if SERVES[task] in (kind, "image"):
        check_data_serve(task, FIELDS[kind], 2)
        return
    with pytest.raises(ExperimentError) as caught:
        check_data_serve(task, FIELDS[kind], 2)
    said = str(caught.value)
    assert said.startswith(f"task = {task!r} needs {KINDS[SERVES[task]]}, and the sources ")
    if kind in KINDS:
        assert f"have {KINDS[kind]}: set task = " in said


def test_every_task_of_the_house_is_in_the_table() -> None:
    assert {"Classification", "Segmentation", "VQA", "ImageFusion", "SuperResolution"} <= {
        task.make.__name__ for name, task in TASKS.items() if name in SERVES
    }


def test_volumes_are_for_networks_that_take_them() -> None:
    check_data_serve("segmentation", FIELDS["mask"], 3)
    with pytest.raises(ExperimentError, match="'classification' takes images of 2 axes, and these have 3: set pages"):
        check_data_serve("classification", FIELDS["exclusive"], 3)
