from __future__ import annotations

from pathlib import Path

import pytest
from helpers import made_dataset, small_experiment

from omnifm.callbacks.callback import Callback, Stop
from omnifm.callbacks.events import ArmEnd, RoundStart
from omnifm.runs.arm_folder import ArmFolder
from omnifm.runs.backend import LocalBackend
from omnifm.runs.run_arm import run_arm
from omnifm.utils.errors import ExperimentError


class Early(Callback):
    """Lets one round begin, which is not evaluated."""

    error: BaseException | None = None

    def on_round_start(self, event: RoundStart) -> Stop | None:
        return Stop("that is enough") if event.round == 2 else None

    def on_arm_end(self, event: ArmEnd) -> None:
        self.error = event.error


def test_an_arm_that_stops_before_any_evaluation_says_so(tmp_path: Path) -> None:
    early, folder = Early(), ArmFolder(tmp_path / "fedavg")
    backend, experiment = LocalBackend(dataset=made_dataset()), small_experiment("fedavg")
    with pytest.raises(ExperimentError, match=r"'fedavg' ended before any round was evaluated \(that is enough\)"):
        run_arm("fedavg", experiment, backend, folder, callbacks=[early])
    assert isinstance(early.error, ExperimentError)
    assert not folder.result.exists()
    last = run_arm("fedavg", experiment, backend, folder)
    assert last.server.round == 2
    assert folder.result.exists()
