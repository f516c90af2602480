"""In a private run nothing leaves a client without noise, and the noise is known to nobody else."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import same_record, small_arm
from torch import Tensor

from omnifm.checkpoint.client_store import ClientStateStore
from omnifm.core.evaluation import EvaluationPoint, Split
from omnifm.core.records import Broadcast, ClientState, Upload
from omnifm.engines.in_process import InProcess
from omnifm.privacy.account import PrivacyAccount
from omnifm.privacy.vault import ClientVault
from omnifm.runs.arm import Arm
from omnifm.training.private import Release
from omnifm.utils.errors import PrivacyBudgetError

forks = pytest.mark.skipif(sys.platform != "linux", reason="workers need fork")


def private_arm(algorithm: str = "fedavg", **privacy: Any) -> Arm:
    settings = {"epsilon": 8.0, "sampling": 0.5, "prototypes_every": 1, **privacy}
    return small_arm(algorithm, classification={"norm": "group"}, privacy=settings)


def first(arm: Arm) -> Broadcast:
    return arm.algorithm.broadcast(arm.start().server)


def flat(upload: Upload) -> Tensor:
    return torch.cat([value.flatten() for value in upload.change.values()])


def test_what_leaves_is_noised_or_left_out() -> None:
    arm, vault = private_arm("omnifm"), ClientVault()
    assert arm.runtime.privacy
    asked: list[tuple[Split, EvaluationPoint]] = [("validation", "before_local_training")]
    scores, trained = arm.runtime.work(first(arm), "CT-1", ClientState(), asked, train=True, vault=vault)
    assert trained is not None
    upload = trained[0]
    assert upload.loss is None
    assert upload.notes.keys() == {"group", "epsilon"}
    assert 0 < upload.notes["epsilon"] < 8
    assert upload.samples == arm.runtime.privacy.told(arm.runtime.clients["CT-1"], vault).train
    assert scores[0].numbers.keys() == {"accuracy"}
    assert scores[0].tables == {}
    arm.algorithm.check(upload, first(arm))


def test_nobody_without_the_secret_can_take_the_noise_away() -> None:
    """A server that knows the seed and even the patients computes the same sums, and not the noise."""
    arm = private_arm(sampling=1.0)
    assert arm.runtime.privacy
    vaults = ClientVault(), ClientVault()
    (one, _), (other, _) = (arm.runtime.update(first(arm), "CT-1", ClientState(), vault) for vault in vaults)
    settings = arm.experiment
    spread = arm.runtime.privacy.budget.noise(Release.WEIGHTS) * settings.privacy.patient_clip / one.samples
    expected = settings.training.learning_rate * spread * 2**0.5
    difference = flat(one) - flat(other)
    assert float(difference.std()) == pytest.approx(expected, rel=0.5)
    assert abs(float(torch.corrcoef(torch.stack([flat(one), flat(other)]))[0, 1])) < 0.2


def test_the_same_vault_gives_the_same_bits_and_costs_once() -> None:
    arm, vault = private_arm("omnifm"), ClientVault()
    (one, after), (again, after_again) = (
        arm.runtime.update(first(arm), "CT-1", ClientState(), vault) for _ in range(2)
    )
    assert same_record(one, again)
    assert same_record(after, after_again)
    assert vault.account.spent(1e-5) == one.notes["epsilon"]


def test_other_weights_are_another_release_with_other_noise() -> None:
    arm, vault = private_arm(), ClientVault()
    moved = replace(first(arm), shared={name: value + 1e-6 for name, value in first(arm).shared.items()})
    (one, _), (other, _) = (arm.runtime.update(sent, "CT-1", ClientState(), vault) for sent in (first(arm), moved))
    assert one.notes["epsilon"] < other.notes["epsilon"]
    assert float((flat(one) - flat(other)).abs().mean()) > 1e-3


def test_when_the_budget_is_spent_nothing_more_is_answered() -> None:
    arm, vault = private_arm(), ClientVault()
    sent = first(arm)
    assert arm.runtime.privacy
    for number in range(3):
        arm.runtime.update(replace(sent, round=number + 1), "CT-1", ClientState(), vault)
    with pytest.raises(PrivacyBudgetError, match="budget of the run is spent"):
        arm.runtime.update(replace(sent, round=4), "CT-1", ClientState(), vault)
    asked = arm.runtime.privacy.budget.charges[Release.VALIDATION_SCORES].times
    for number in range(asked):
        score(arm, replace(sent, round=number), vault)
    with pytest.raises(PrivacyBudgetError, match="of validation scores are more"):
        score(arm, replace(sent, round=asked), vault)


def score(arm: Arm, sent: Broadcast, vault: ClientVault) -> None:
    arm.runtime.evaluate(sent, "CT-1", ClientState(), "validation", "before_local_training", vault)


def run(folder: Path, workers: int, algorithm: str = "fedavg") -> tuple[list[Any], dict[str, int]]:
    arm = private_arm(algorithm)
    with InProcess(arm.runtime, workers, ClientStateStore(folder)) as engine:
        federation = arm.federation(engine)
        last = federation.run(arm.start())
        scores = federation.evaluate(last.server, "test", "after_local_training").scores
        return [last.server, [one.numbers for one in scores.values()]], engine.samples


@forks
def test_a_run_keeps_to_its_budget_and_its_bits_where_its_secret_is(tmp_path: Path) -> None:
    (server, scores), samples = run(tmp_path / "a", 1)
    (again, same_scores), same_samples = run(tmp_path / "a", 2)
    assert same_record(server, again)
    assert (scores, samples) == (same_scores, same_samples)
    spent = PrivacyAccount(tmp_path / "a" / "CT-1" / "privacy.json").spent(1e-5)
    assert spent == pytest.approx(8.0, rel=1e-3), "all that was planned has left"
    assert run(tmp_path / "b", 1)[1] != samples
