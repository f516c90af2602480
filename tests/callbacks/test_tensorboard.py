"""What TensorBoard itself reads of what was written."""

from __future__ import annotations

from pathlib import Path

import pytest
from events_of import arm_in, evaluation, round_of, start

from omnifm.callbacks.events import ArmEnd
from omnifm.callbacks.tensorboard import TensorBoard

pytest.importorskip("tensorboard", reason="needs the package tensorboard: pip install 'omnifm[tracking]'")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def read(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return {tag: [(one.step, one.value) for one in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_rounds_and_scores_are_there_when_the_arm_has_ended(tmp_path: Path) -> None:
    arm, board = arm_in(tmp_path), TensorBoard()
    board.on_arm_start(start(arm))
    board.on_round_end(round_of(arm, 1, 2.0))
    board.on_round_end(round_of(arm, 2, 1.0))
    board.on_evaluate(evaluation(arm, 2, 0.5))
    board.on_arm_end(ArmEnd(arm))
    assert read(arm.folder / "tensorboard") == {
        "train/loss": [(1, 2.0), (2, 1.0)],
        "train/clients": [(1, 2), (2, 2)],
        "train/bytes_down": [(1, 200), (2, 200)],
        "train/bytes_up": [(1, 100), (2, 100)],
        "train/seconds": [(1, 0.5), (2, 0.5)],
        "validation/before_local_training/accuracy": [(2, 0.5)],
        "validation/before_local_training/auc": [(2, 0.5)],
    }


def test_each_client_too_where_it_is_asked_for(tmp_path: Path) -> None:
    arm, board = arm_in(tmp_path), TensorBoard(clients=True)
    board.on_arm_start(start(arm))
    board.on_evaluate(evaluation(arm, 2, 0.5))
    board.on_arm_end(ArmEnd(arm))
    found = read(arm.folder / "tensorboard")
    assert found["validation/before_local_training/accuracy/CT"] == [(2, 0.25)]
    assert found["validation/before_local_training/accuracy/PET/CT, 1"] == [(2, 0.75)]
    assert "validation/before_local_training/auc/CT" not in found


def test_rounds_that_are_run_again_replace_those_before(tmp_path: Path) -> None:
    arm, killed, resumed = arm_in(tmp_path), TensorBoard(), TensorBoard()
    killed.on_arm_start(start(arm))
    for number in (1, 2, 3):
        killed.on_round_end(round_of(arm, number, 9.0))
    killed.on_arm_end(ArmEnd(arm, KeyboardInterrupt()))
    resumed.on_arm_start(start(arm, number=2))  # the checkpoint of round 3 was not written
    for number in (3, 4):
        resumed.on_round_end(round_of(arm, number, 1.0))
    resumed.on_arm_end(ArmEnd(arm))
    assert read(arm.folder / "tensorboard")["train/loss"] == [(1, 9.0), (2, 9.0), (3, 1.0), (4, 1.0)]
