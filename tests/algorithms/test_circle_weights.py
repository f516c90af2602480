from __future__ import annotations

from pathlib import Path

import torch
from rounds import made_upload

from omnifm.algorithms.aggregation.aggregator import Mean
from omnifm.algorithms.circle_weights import CircleWeights, addressed, split_mean
from omnifm.checkpoint.file import write_checkpoint

INITIAL = {"w": torch.zeros(2), "steps": torch.tensor(0)}


def weights(*circles: float) -> CircleWeights:
    of = {number: {"w": torch.full((2,), value), "steps": torch.tensor(7)} for number, value in enumerate(circles)}
    return CircleWeights(INITIAL, of)


def test_the_memory_holds_one_set_for_each_circle() -> None:
    held = weights(1.0, 2.0)
    memory = {**held.to_memory(), "other": torch.ones(1)}
    assert len(memory) == 3 * len(INITIAL) + 1
    back = CircleWeights.from_memory(memory, [0, 1, 2])
    assert back.initial["w"].tolist() == [0, 0]
    assert [back.of[number]["w"].tolist() for number in back.of] == [[1, 1], [2, 2]]


def test_a_member_is_sent_its_circle_only() -> None:
    sent = weights(1.0, 2.0).message(1)
    assert sent.keys() == {"circle", "weights/w", "weights/steps"}
    assert sent["weights/w"].tolist() == [2, 2]


def test_the_first_members_are_sent_what_they_report_a_change_from() -> None:
    sent = weights().message(0)
    assert sent.keys() == {"circle", "reference/w", "reference/steps"}


def test_what_circles_average_is_addressed_and_taken_apart_again() -> None:
    upload = made_upload("a", 1, w=[1.0, 1.0], head=2.0)
    assert addressed(upload, 3, ["w"]).change.keys() == {"head", "circle.3/w"}
    assert addressed(upload, -1, ["w"]).change.keys() == {"head"}
    rest, own = split_mean(Mean(addressed(upload, 3, ["w"]).change, {}, 1))
    assert (rest.change.keys(), own.keys()) == ({"head"}, {"circle.3/w"})


def test_circles_move_each_by_its_own_mean() -> None:
    mean = {"circle.0/w": torch.ones(2), "circle.5/w": torch.full((2,), 3.0), "circle.5/steps": torch.tensor(9)}
    after = weights(1.0, 2.0).moved(mean)
    assert {number: held["w"][0].item() for number, held in after.of.items()} == {0: 2.0, 1: 2.0, 5: 3.0}
    assert after.of[5]["steps"].item() == 9


def test_new_circles_get_the_mean_of_the_old() -> None:
    after = weights(1.0, 3.0).regrouped({4: {0: 0.25, 1: 0.75}, 1: {1: 1.0}, 6: {}})
    assert {number: held["w"][0].item() for number, held in after.of.items()} == {4: 2.5, 1: 3.0}
    assert after.of[4]["steps"].item() == 7


def test_a_circle_without_weights_brings_none() -> None:
    after = weights(1.0).regrouped({0: {0: 0.25, 9: 0.75}, 3: {9: 1.0}})
    assert {number: held["w"][0].item() for number, held in after.of.items()} == {0: 1.0}


def test_both_halves_of_a_circle_can_be_stored(tmp_path: Path) -> None:
    halves = weights(1.0).regrouped({1: {0: 1.0}, 2: {0: 1.0}})
    assert [halves.of[number]["w"].tolist() for number in (1, 2)] == [[1, 1], [1, 1]]
    write_checkpoint(tmp_path / "round.safetensors", halves.to_memory(), {})
    both = weights(1.0, 2.0).regrouped({3: {0: 0.5, 1: 0.5}, 4: {0: 0.5, 1: 0.5}})
    write_checkpoint(tmp_path / "round.safetensors", both.to_memory(), {})
