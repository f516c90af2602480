"""What is handed to W&B, by a module in its place: the real one is optional, and large."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from events_of import arm_in, evaluation, round_of, start

from omnifm.callbacks import wandb as callback
from omnifm.callbacks.events import ArmEnd
from omnifm.callbacks.registry import make_callbacks
from omnifm.callbacks.wandb import WandB
from omnifm.utils.errors import ExperimentError, OutOfTime


class FakeRun:
    def __init__(self, about: dict[str, Any]) -> None:
        self.about, self.logged = about, list[dict[str, Any]]()
        self.exit_code: int | None = None

    def log(self, values: dict[str, Any]) -> None:
        self.logged.append(values)

    def finish(self, exit_code: int) -> None:
        self.exit_code = exit_code


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[FakeRun]:
    """The runs that W&B has been asked for."""
    found: list[FakeRun] = []

    def init(**about: Any) -> FakeRun:
        found.append(FakeRun(about))
        return found[-1]

    fake: Any = ModuleType("wandb")
    fake.init, fake.Settings = init, lambda **settings: settings
    fake.util = SimpleNamespace(generate_id=lambda: "id-of-the-run")
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.setattr(callback, "find_spec", lambda name: object())
    return found


def test_an_arm_is_one_run_that_a_resumed_one_continues_with(tmp_path: Path, runs: list[FakeRun]) -> None:
    arm = arm_in(tmp_path)
    (first,) = make_callbacks({"callbacks": [{"kind": "wandb"}]})
    first.on_arm_start(start(arm))
    first.on_round_end(round_of(arm, 1, 2.0))
    first.on_arm_end(ArmEnd(arm, OutOfTime("Time is up")))
    again = WandB(clients=True)
    again.on_arm_start(start(arm, 1))
    again.on_evaluate(evaluation(arm, 2, 0.5))
    again.on_arm_end(ArmEnd(arm))
    assert [run.about["id"] for run in runs] == ["id-of-the-run"] * 2
    assert [run.exit_code for run in runs] == [1, 0]
    about = runs[0].about
    assert (about["mode"], about["dir"], about["project"], about["name"]) == (
        "offline",
        str(tmp_path),
        "tiny",
        "fedavg",
    )
    assert about["config"] == {"arm": "fedavg", "seed": 3, "federation": {"rounds": 4, "personal": []}}
    assert runs[0].logged == [
        {
            "round": 1,
            "train/loss": 2.0,
            "train/clients": 2,
            "train/bytes_down": 200,
            "train/bytes_up": 100,
            "train/seconds": 0.5,
        }
    ]
    assert runs[1].logged[0]["validation/before_local_training/accuracy/CT"] == 0.25


def test_it_is_online_only_where_asked_for(tmp_path: Path, runs: list[FakeRun]) -> None:
    arm = arm_in(tmp_path)
    for mode, resume in (("offline", None), ("online", "allow")):
        (made,) = make_callbacks({"callbacks": [{"kind": "wandb", "mode": mode, "project": "p"}]})
        made.on_arm_start(start(arm))
        about = runs[-1].about
        assert (about["mode"], about["resume"], about["project"]) == (mode, resume, "p")
    with pytest.raises(ExperimentError, match=r"mode: must be 'offline' or 'online'"):
        make_callbacks({"callbacks": [{"kind": "wandb", "mode": "disabled"}]})
