from __future__ import annotations

import pytest
import torch
from helpers import quadratic_trainer, small_arm

from omnifm.algorithms.bank_broadcast import use_bank
from omnifm.algorithms.token_collector import TokenCollector
from omnifm.training.hooks import Phase
from omnifm.training.trainer import Trainer


@pytest.mark.parametrize("phases", [(), (Phase(1), Phase(2))])
def test_it_keeps_the_last_epoch_alone(phases: tuple[Phase, ...]) -> None:
    runtime = small_arm("omnifm", training={"epochs": 2}).runtime
    trainer = Trainer(runtime.model, runtime.task, runtime.clients["CT-2"], runtime.training, runtime.personal, 0)
    use_bank(trainer, torch.eye(8)[:5])
    seen = TokenCollector()
    hooks = seen.hooks
    fit = trainer.fit(1, type(hooks)(on_epoch=hooks.on_epoch, on_batch=hooks.on_batch, phases=phases))
    assert fit.samples == 18
    assert seen.tokens.shape == (18, 8)
    assert seen.rows.shape == (18, 3)
    assert set(seen.rows.flatten().tolist()) <= set(range(5))
    assert not seen.tokens.requires_grad
    assert sorted(seen.patients.tolist()) == sorted(trainer.client.train.patient_numbers.tolist())


def test_a_bare_network_shows_it_nothing() -> None:
    trainer, seen = quadratic_trainer("a", [1.0]), TokenCollector()
    trainer.fit(1, seen.hooks)
    assert (seen._tokens, seen._rows) == ([], [])
