from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from omnifm.data.columns import Shared, as_tensor, read_texts
from omnifm.data.phantom.anatomy import Anatomy
from omnifm.data.phantom.dataset import PhantomSource
from omnifm.data.phantom.question_set import PHRASINGS, TYPES, PhantomQuestionsSource, answers, ventricles
from omnifm.data.source import Loading

SETTINGS = {"modalities": ("T2", "CT"), "classes": ("healthy", "ms"), "patients": 4, "slices": 2}


def loading(cache: Path, seed: int = 1) -> Loading:
    return Loading(root=cache, size=32, channels=1, seed=seed, cache=cache)


def head(size: int = 20) -> np.ndarray:
    """A square brain of white matter in a skull of bone, with 4 x 4 of fluid in its middle and fluid around it."""
    tissue = np.full((size, size), 4, np.uint8)
    tissue[1:-1, 1:-1] = 1
    tissue[2:-2, 2:-2] = 3
    tissue[8:12, 8:12] = 1
    return tissue


def lesions(*places: tuple[slice, slice]) -> np.ndarray:
    lesion = np.zeros((20, 20), np.uint8)
    for number, place in enumerate(places):
        lesion[place] = (2, 4, 7)[number % 3]
    return lesion


def told(lesion: np.ndarray, disease: str = "ms") -> dict[str, str]:
    return dict(answers("FLAIR", disease, head(), lesion))


def test_a_slice_without_lesion() -> None:
    assert told(lesions()) == {"modality": "flair", "presence": "no", "kind": "none", "count": "0"}


def test_one_lesion_on_the_patients_left() -> None:
    # The right half of the picture; five by five is more than the ventricle's four by four.
    assert told(lesions((slice(5, 10), slice(13, 18))), "glioma") == {
        "modality": "flair",
        "presence": "yes",
        "kind": "glioma",
        "count": "1",
        "side": "left",
        "size": "yes",
    }


def test_pieces_that_touch_by_a_corner_are_one() -> None:
    assert told(lesions((slice(4, 6), slice(2, 4)), (slice(6, 8), slice(4, 6)))) == {
        "modality": "flair",
        "presence": "yes",
        "kind": "ms",
        "count": "1",
        "side": "right",
        "size": "no",
    }


def test_both_sides_and_many() -> None:
    apart = lesions(*((slice(y, y + 1), slice(x, x + 1)) for y in (4, 8, 14) for x in (4, 15)))
    assert (told(apart)["side"], told(apart)["count"]) == ("both", "5 or more")
    assert told(lesions(*((slice(y, y + 1), slice(4, 5)) for y in (4, 8, 14))))["count"] == "3"


def test_the_ventricle_is_deep() -> None:
    found = ventricles(head())
    assert found.sum() == 16
    assert found[8:12, 8:12].all()


def test_the_pool(anatomy: Anatomy, cache: Path) -> None:
    table = PhantomQuestionsSource(**SETTINGS).load(loading(cache))
    plain = PhantomSource(**SETTINGS).load(loading(cache))
    assert table.label_names == TYPES
    image = table.fields["image"]
    assert isinstance(image, Shared)
    assert torch.equal(image.values, plain.fields["image"])
    types = [table.label_names[label] for label in as_tensor(table.fields["label"]).tolist()]
    questions, said = (read_texts(as_tensor(table.fields[name])) for name in ("question", "answer"))
    assert all(question in PHRASINGS[kind] for question, kind in zip(questions, types, strict=True))
    assert len({question for question, kind in zip(questions, types, strict=True) if kind == "count"}) == 3
    lesion = plain.fields["lesion"][image.index].flatten(1).any(dim=1).tolist()
    for kind, answer, row in zip(types, said, lesion, strict=True):
        if kind == "presence":
            assert answer == ("yes" if row else "no")
    of_image = [plain.patients[number] for number in image.index.tolist()]
    assert list(table.patients) == of_image
    closed = as_tensor(table.fields["closed"]).tolist()
    assert closed == [kind in ("presence", "size") for kind in types]


def test_same_seed_same_questions_whoever_else_is_asked(anatomy: Anatomy, cache: Path) -> None:
    one = PhantomQuestionsSource(**{**SETTINGS, "modalities": ("CT",)})
    asked = read_texts(as_tensor(one.load(loading(cache)).fields["question"]))
    both = read_texts(as_tensor(PhantomQuestionsSource(**SETTINGS).load(loading(cache)).fields["question"]))
    assert both[-len(asked) :] == asked
    assert read_texts(as_tensor(one.load(loading(cache, seed=2)).fields["question"])) != asked


def test_fewer_questions_are_drawn_from_all(anatomy: Anatomy, cache: Path) -> None:
    table = PhantomQuestionsSource(**SETTINGS, questions=2).load(loading(cache))
    image, label = table.fields["image"], as_tensor(table.fields["label"])
    assert isinstance(image, Shared)
    assert torch.bincount(image.index).tolist() == [2] * 16
    assert all(label[2 * row] != label[2 * row + 1] for row in range(16))
    assert len(label.unique()) > 3


@pytest.mark.parametrize(("number", "message"), [(0, "greater than or equal to 1"), (7, "less than or equal to 6")])
def test_the_number_of_questions_is_checked(number: int, message: str) -> None:
    with pytest.raises(ValueError, match=f"questions\n.*{message}"):
        PhantomQuestionsSource(questions=number)
