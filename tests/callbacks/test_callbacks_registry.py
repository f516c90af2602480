"""``[[callbacks]]`` of an experiment file: what is made of it, and what is said when it does not fit."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
from diary import Diary, known_diary

from omnifm.callbacks.callback import Callback
from omnifm.callbacks.registry import CALLBACKS, make_callbacks, register_callback
from omnifm.config.experiment import make_plan
from omnifm.utils.errors import ExperimentError


def made(*tables: Any) -> list[Callback]:
    return make_callbacks({"callbacks": list(tables)})


def test_they_are_made_in_the_order_of_the_file() -> None:
    with known_diary():
        found = made({"kind": "diary", "file": "a"}, {"kind": "diary", "file": "b", "pause": 2})
    assert found == [Diary("a"), Diary("b", 2)]
    assert make_callbacks({}) == []


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"kind": "diary"}, "give a table for each callback, as [[callbacks]]"),
        (["diary"], "give a table for each callback, as [[callbacks]]"),
        ([{"kind": "dairy", "file": "a"}], "callbacks.0.kind: there is no 'dairy'. Did you mean 'diary'?"),
        ([{"kind": ["diary"]}], "callbacks.0.kind: there is no ['diary']"),
        ([{"file": "a"}], "callbacks.0.kind: this key is required. Known: diary, mlflow, tensorboard, wandb."),
        ([{"kind": "diary"}], "callbacks.0.file: this key is required"),
        ([{"kind": "diary", "file": "a", "pauze": 1}], "Unknown key 'callbacks.0.pauze'. Did you mean 'pause'?"),
        ([{"kind": "diary", "file": "a"}, {"kind": "diary", "file": 1}], "callbacks.1.file: must be a valid"),
    ],
)
def test_what_does_not_fit_is_named(tables: Any, words: str) -> None:
    with known_diary(), pytest.raises(ExperimentError) as caught:
        make_callbacks({"callbacks": tables})
    assert words in str(caught.value)


@pytest.mark.parametrize(("kind", "package"), [("tensorboard", "TensorBoard"), ("mlflow", "MLflow"), ("wandb", "W&B")])
def test_a_package_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, kind: str, package: str) -> None:
    monkeypatch.setattr(f"omnifm.callbacks.{kind}.find_spec", lambda name: None)
    with pytest.raises(ExperimentError, match=rf"{package} is not installed here: pip install 'omnifm\[tracking\]'"):
        made({"kind": kind})


@pytest.mark.parametrize("kind", ["tensorboard", "mlflow", "wandb"])
def test_what_is_shipped_is_made_from_its_name_alone(kind: str) -> None:
    if importlib.util.find_spec(kind) is None:
        pytest.skip(f"needs the package {kind}: pip install 'omnifm[tracking]'")
    (found,) = made({"kind": kind})
    assert type(found) is CALLBACKS[kind]


def test_a_name_is_given_once_and_to_a_dataclass() -> None:
    with pytest.raises(ValueError, match="Callback 'mlflow' exists already"):
        register_callback("mlflow")(Diary)
    with pytest.raises(ValueError, match="Callback must be a dataclass"):
        register_callback("plain")(Callback)
    assert "plain" not in CALLBACKS


def test_they_are_no_part_of_what_determines_a_run() -> None:
    plain, told = ({"algorithm": "fedavg", **more} for more in ({}, {"callbacks": [{"kind": "tensorboard"}]}))
    assert make_plan(plain).arms == make_plan(told).arms
