from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Annotated, Any

import pytest
from pydantic import ValidationError

from omnifm.config.experiment import Experiment, FederationSettings
from omnifm.data.partition import PartitionSettings
from omnifm.training.settings import TrainingSettings
from omnifm.utils.settings import Count, Distinct, MultipleOf4, OneOf, Some, settings

KNOWN = {"one": 1}


@settings
class Example:
    count: Count = 1
    width: MultipleOf4 = 4
    some: Some[Annotated[str, OneOf(KNOWN, "*")]] = ("one",)
    any: Distinct[int] = ()

    def __post_init__(self) -> None:
        if self.count > self.width:
            raise ValueError("count is above width")


@pytest.mark.parametrize(
    ("values", "place", "reason"),
    [
        ({"count": 0}, ("count",), "greater than or equal to 1"),
        ({"count": "1"}, ("count",), "valid integer"),
        ({"count": True}, ("count",), "valid integer"),
        ({"width": 0}, ("width",), "greater than or equal to 4"),
        ({"width": 6}, ("width",), "multiple of 4"),
        ({"some": ()}, ("some",), "at least 1 item"),
        ({"some": ("on",)}, ("some", 0), "unknown name 'on'. Did you mean 'one'?"),
        ({"some": ("*", "*")}, ("some",), "'*' is listed twice"),
        ({"any": (1, 2, 1)}, ("any",), "1 is listed twice"),
        ({"other": 1}, ("other",), "Unexpected keyword"),
        ({"count": 9}, (), "count is above width"),
    ],
    ids=str,
)
def test_nonsense_is_refused_when_it_is_made(values: dict[str, Any], place: tuple[Any, ...], reason: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Example(**values)
    first = caught.value.errors()[0]
    assert first["loc"] == place
    assert reason in first["msg"]


def test_a_change_is_checked_as_well() -> None:
    with pytest.raises(ValidationError, match="count is above width"):
        replace(Example(), count=5)


def test_what_is_added_later_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KNOWN, "two", 2)
    assert Example(some=("two", "*")).some == ("two", "*")


def test_it_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Example().count = 2  # type: ignore[misc]


def test_an_experiment_made_in_python_is_checked_too() -> None:
    made = Experiment(training=TrainingSettings(epochs=3), partition=PartitionSettings(kind="iid"))
    assert replace(made, seed=4).training.epochs == 3
    with pytest.raises(ValidationError, match=r"seed\n.*greater than or equal to 0"):
        replace(made, seed=-1)
    with pytest.raises(ValidationError, match=r"task\n.*unknown name 'classificaton'"):
        Experiment(task="classificaton")
    with pytest.raises(ValidationError, match=r"training\n"):
        Experiment(training=FederationSettings())  # type: ignore[arg-type]
