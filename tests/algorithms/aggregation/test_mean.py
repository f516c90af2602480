from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import torch

from omnifm.algorithms.aggregation.mean import RunningMean, WeightedMean
from omnifm.core.records import Upload


def upload(client: str, samples: int, **change: list[float]) -> Upload:
    return Upload(client, samples, 0.0, {name: torch.tensor(value) for name, value in change.items()})


def by_samples(upload: Upload) -> float:
    return float(upload.samples)


def test_mean_is_weighted_by_samples() -> None:
    mean = WeightedMean().aggregate([upload("a", 1, w=[4.0, 0.0]), upload("b", 3, w=[0.0, 8.0])], by_samples).change
    assert mean["w"].tolist() == [1.0, 6.0]
    assert mean["w"].dtype == torch.float32


def test_each_name_over_the_clients_that_hold_it() -> None:
    mean = (
        WeightedMean()
        .aggregate([upload("a", 1, w=[4.0], head=[5.0]), upload("b", 3, w=[8.0]), upload("c", 4, v=[2.0])], by_samples)
        .change
    )
    assert {name: value.tolist() for name, value in mean.items()} == {"w": [7.0], "head": [5.0], "v": [2.0]}


def test_integer_buffers_are_copied_from_the_first() -> None:
    first, second = torch.tensor(10), torch.tensor(20)
    mean = RunningMean()
    mean.add({"batches": first}, 1.0)
    mean.add({"batches": second}, 99.0)
    first.zero_()
    assert torch.equal(mean.result()["batches"], torch.tensor(10))


def test_no_uploads_are_no_change() -> None:
    assert WeightedMean().aggregate([], by_samples) == ({}, {}, 0)


def test_many_small_shares_do_not_drown() -> None:
    # In float32 a sum that has reached 2^24 no longer grows by ones, and the mean of ones would fall below one.
    mean = RunningMean()
    for weight in (2.0**24, *[1.0] * 64):
        mean.add({"w": torch.tensor([1.0])}, weight)
    assert mean.result()["w"].item() == 1.0


def test_mean_does_not_change_what_it_was_given() -> None:
    change = torch.tensor([1.0])
    mean = RunningMean()
    for _ in range(3):
        mean.add({"w": change}, 2.0)
    mean.result()
    assert change.tolist() == [1.0]


def test_uploads_are_let_go_one_by_one() -> None:
    alive: list[weakref.ref[torch.Tensor]] = []

    def streaming() -> Iterator[Upload]:
        for number in range(5):
            gc.collect()
            assert sum(ref() is not None for ref in alive) <= 1, "earlier uploads are still in memory"
            value = torch.full((4,), float(number))
            alive.append(weakref.ref(value))
            yield Upload(str(number), 1, 0.0, {"w": value})
            del value

    assert WeightedMean().aggregate(streaming(), by_samples).change["w"].tolist() == [2.0] * 4
