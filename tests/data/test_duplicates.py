from __future__ import annotations

import logging

import pytest
import torch

from omnifm.data.columns import Column, Shared
from omnifm.data.duplicates import warn_of_duplicates
from omnifm.data.packed import Packed
from omnifm.data.patient_rows import ClientSplit


def images(*numbers: int) -> torch.Tensor:
    """Return images of which those of one number are the same."""
    different = torch.rand(max(numbers) + 1, 1, 20, 20, generator=torch.Generator().manual_seed(0))
    different[-1] = different[0]
    different[-1, 0, 3, 5] += 0.5  # differs from the first at one place only
    return different[list(numbers)]


def warning(column: Column, *shares: ClientSplit) -> str:
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("omnifm")
    log.addHandler(handler)
    try:
        warn_of_duplicates(column, shares)
    finally:
        log.removeHandler(handler)
    assert len(records) < 2
    return "".join(records)


SHARES = (ClientSplit("a", (0, 1), (2,), (3,)), ClientSplit("b", (4,), (5,), (6,)))


def test_different_images_are_no_matter() -> None:
    assert not warning(images(0, 1, 2, 3, 4, 5, 6), *SHARES)


def test_the_same_image_twice_in_training_is_no_matter() -> None:
    assert not warning(images(0, 0, 2, 3, 0, 5, 6), *SHARES)


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((0, 1, 2, 0, 4, 5, 6), "1 images for validation or test are also in training (1 of them at client 'a')"),
        ((0, 1, 2, 3, 4, 5, 1), "1 images for validation or test are also in training (1 of them at client 'b')"),
        ((0, 1, 4, 3, 4, 0, 1), "3 images for validation or test are also in training (2 of them at client 'b')"),
    ],
)
def test_an_image_in_training_and_in_test_is_told(numbers: tuple[int, ...], words: str) -> None:
    assert warning(images(*numbers), *SHARES).startswith(words)


def test_images_in_the_cache_are_compared_too() -> None:
    values = (images(0, 1, 2, 0, 4, 5, 6) * 100).to(torch.uint8).numpy()
    assert warning(Packed(values, unit=True), *SHARES).startswith("1 images for validation or test")


def test_of_questions_the_image_counts() -> None:
    index = torch.tensor([0, 0, 1, 1, 2, 3, 0])
    assert warning(Shared(images(0, 1, 2, 3), index), *SHARES).startswith("1 images for validation or test")
    assert not warning(Shared(images(0, 1, 2, 3), torch.tensor([0, 0, 1, 1, 2, 3, 3])), *SHARES)
