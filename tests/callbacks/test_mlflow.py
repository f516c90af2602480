"""What MLflow itself reads of what was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from events_of import arm_in, evaluation, round_of, start

from omnifm.callbacks.events import ArmEnd
from omnifm.callbacks.mlflow import MLflow
from omnifm.utils.errors import OutOfTime

pytest.importorskip("mlflow", reason="needs the package mlflow: pip install 'omnifm[tracking]'")
pytestmark = pytest.mark.filterwarnings("ignore")


def runs(folder: Path) -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def test_an_arm_is_one_run_that_a_resumed_one_continues_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    arm, stopped, resumed = arm_in(tmp_path), MLflow(), MLflow(clients=True)
    stopped.on_run_start(arm.run)
    stopped.on_arm_start(start(arm))
    stopped.on_round_end(round_of(arm, 1, 2.0))
    stopped.on_arm_end(ArmEnd(arm, OutOfTime("Time is up")))
    (first,) = runs(tmp_path)
    assert (first.info.run_name, first.info.status) == ("fedavg", "KILLED")
    assert first.data.params == {"arm": "fedavg", "seed": "3", "federation.rounds": "4", "federation.personal": "[]"}
    resumed.on_run_start(arm.run)
    resumed.on_arm_start(start(arm, number=1))
    resumed.on_round_end(round_of(arm, 2, 1.0))
    resumed.on_evaluate(evaluation(arm, 2, 0.5))
    resumed.on_arm_end(ArmEnd(arm))
    (second,) = runs(tmp_path)
    assert (second.info.run_id, second.info.status) == (first.info.run_id, "FINISHED")
    assert second.data.metrics == {
        "train/loss": 1.0,
        "train/clients": 2.0,
        "train/bytes_down": 200.0,
        "train/bytes_up": 100.0,
        "train/seconds": 0.5,
        "validation/before_local_training/accuracy": 0.5,
        "validation/before_local_training/accuracy/CT": 0.25,
        "validation/before_local_training/accuracy/PET/CT_ 1": 0.75,
        "validation/before_local_training/auc": 0.5,
        "validation/before_local_training/auc/PET/CT_ 1": 0.5,
    }
    resumed.on_arm_start(start(arm, number=2))
    resumed.on_arm_end(ArmEnd(arm, ValueError()))
    assert runs(tmp_path)[0].info.status == "FAILED"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fedavg", "mlflow.db"], "nothing beside the run's files"
