"""A private run promises what it keeps, or does not begin."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import made_dataset, small_arm, small_experiment

from omnifm.algorithms.algorithm import Algorithm
from omnifm.algorithms.registry import ALGORITHM_SETTINGS
from omnifm.runs.arm import make_arm
from omnifm.training.private import Release
from omnifm.utils.errors import IncompatibleError

GROUP: dict[str, Any] = {"classification": {"norm": "group"}}
PRIVATE: dict[str, Any] = {"privacy": {"epsilon": 3.0, "sampling": 0.5}}
REFUSED = {
    "gpfl": "how frequent each class is among all patients",
    "centralised": "it pools the images of all hospitals",
}


@pytest.mark.parametrize("algorithm", ALGORITHM_SETTINGS)
def test_every_algorithm_is_private_or_refused_in_a_sentence(algorithm: str) -> None:
    if algorithm in REFUSED:
        with pytest.raises(IncompatibleError, match=f"algorithm '{algorithm}': .*{REFUSED[algorithm]}"):
            small_arm(algorithm, **GROUP, **PRIVATE)
    else:
        arm = small_arm(algorithm, **GROUP, **PRIVATE)
        assert arm.runtime.privacy
        assert arm.runtime.privacy.budget.epsilon == pytest.approx(3.0, rel=1e-3)
        assert arm.runtime.acceptance is None
        assert arm.origin.privacy == {"epsilon": 3.0, "delta": 1e-5}
    assert small_arm(algorithm).origin.privacy == {}


def test_an_algorithm_that_says_nothing_is_refused() -> None:
    assert "does not declare" in Algorithm().private_reason


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, r"batch normalisation mixes the patients.*set norm = 'group' in \[classification\]"),
        ({"classification": {"norm": "group", "class_weights": "balanced"}}, "class_weights counts the classes"),
        ({**GROUP, "federation": {"acceptance": "on"}}, "federation.acceptance = 'on' tells what validation patients"),
    ],
)
def test_what_leaves_without_noise_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(IncompatibleError, match=f"cannot keep its promise: .*{message}"):
        make_arm(small_experiment("fedavg", **changes, **PRIVATE), made_dataset())


def test_what_can_leave_is_counted() -> None:
    def times(algorithm: str, **changes: Any) -> dict[str, int]:
        arm = small_arm(algorithm, **GROUP, **{**PRIVATE, **changes})
        assert arm.runtime.privacy
        return {str(release): charge.times for release, charge in arm.runtime.privacy.budget.charges.items()}

    fedavg = times("fedavg", federation={"rounds": 5, "evaluate_every": 2})
    assert fedavg["weights"] == (5 + 1) * 2, "after the last round clients train once more, to be evaluated"
    assert (fedavg["validation scores"], fedavg["test scores"]) == (3 * 2, 2)
    assert Release.PROTOTYPES not in fedavg
    before = {"rounds": 5, "evaluate": ["before_local_training"]}
    assert times("fedavg", federation=before)["weights"] == 5 * 2
    assert times("ditto", federation=before)["weights"] == 2 * 5 * 2, "it trains two models"
    private = {"privacy": {**PRIVATE["privacy"], "prototypes_every": 2}}
    assert times("omnifm", federation=before, **private)["prototypes"] == 3
    assert "prototypes" not in times("local", federation=before)
    assert "prototypes" in times("local", federation=before, adapter={"use": "on"})
