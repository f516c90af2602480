"""Every algorithm's own uploads pass its check; what was changed on the way does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from helpers import small_arm

from omnifm.algorithms import registry
from omnifm.core.records import Broadcast, ClientState, Upload
from omnifm.runs.arm import Arm


def exchanged(arm: Arm) -> tuple[Broadcast, Upload]:
    """Return the second round's broadcast and a client's answer."""
    server, algorithm = arm.start().server, arm.algorithm
    names = arm.participants
    answers = [arm.runtime.update(algorithm.broadcast(server), name, ClientState())[0] for name in names]
    broadcast = algorithm.broadcast(algorithm.server_update(server, answers))
    return broadcast, arm.runtime.update(broadcast, names[0], ClientState())[0]


@pytest.mark.parametrize("algorithm", [name for name in registry.ALGORITHM_SETTINGS if name != "centralised"])
def test_what_was_not_changed_passes(algorithm: str) -> None:
    arm = small_arm(algorithm)
    broadcast, upload = exchanged(arm)
    arm.algorithm.check(upload, broadcast)
    arm.algorithm.check(Upload.from_bytes(upload.to_bytes()), broadcast)


def test_omnifm_upon_another_passes(omnifm: tuple[Arm, Broadcast, Upload]) -> None:
    arm, broadcast, upload = omnifm
    arm.algorithm.check(upload, broadcast)


@pytest.fixture(scope="module")
def omnifm() -> tuple[Arm, Broadcast, Upload]:
    arm = small_arm("omnifm", omnifm={"base": "scaffold", "variant": "paper"})
    return arm, *exchanged(arm)


def _with(part: str, name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Upload], Upload]:
    def changed(upload: Upload) -> Upload:
        tensors = getattr(upload, part)
        changes: Any = {part: {**tensors, name: change(tensors[name])}}
        return replace(upload, **changes)

    return changed


HEAD = "network.head.weight"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_with("change", HEAD, lambda v: v[:-1]), f"change '{HEAD}' is torch.float32 .* instead of"),
        (_with("change", HEAD, lambda v: v.double()), f"change '{HEAD}' is torch.float64"),
        (_with("change", HEAD, lambda v: v * torch.nan), f"change '{HEAD}' holds numbers that are not finite"),
        (lambda u: replace(u, change={}), "change .* is missing"),
        (lambda u: replace(u, extra={**u.extra, "more": torch.ones(1)}), "extra 'more' is not expected"),
        (lambda u: replace(u, samples=0), "0 is no possible number of samples"),
        (lambda u: replace(u, loss=float("nan")), "nan is no possible loss"),
        (lambda u: replace(u, notes={}), "of which group"),
        (lambda u: replace(u, notes={**u.notes, "accepted": 1.5}), "share of 1.5"),
        (lambda u: replace(u, notes={**u.notes, "accepted": "all"}), "share of 'all'"),
        (lambda u: replace(u, notes={**u.notes, "accepted": float("nan")}), "share of nan"),
        (lambda u: replace(u, notes={**u.notes, "accepted": 0.5}), "None is no possible round of what was accepted"),
        (lambda u: replace(u, notes={**u.notes, "accepted": 0.5, "compared": 0}), "0 is no possible round"),
        (lambda u: replace(u, notes={**u.notes, "compared": 2}), "2 is no possible round"),
        (_with("extra", "bank/prototypes", lambda v: 2 * v), "not of norm 1"),
        (_with("extra", "bank/sizes", lambda v: v[1:]), "not of one length"),
        (_with("extra", "bank/rows", lambda v: v + 1000), "entries that the bank of [0-9]+ does not have"),
    ],
)
def test_what_was_changed_does_not(
    omnifm: tuple[Arm, Broadcast, Upload], spoil: Callable[[Upload], Upload], message: str
) -> None:
    arm, broadcast, upload = omnifm
    with pytest.raises(ValueError, match=message):
        arm.algorithm.check(spoil(upload), broadcast)


def test_finite_numbers_too_large_for_a_norm_pass(omnifm: tuple[Arm, Broadcast, Upload]) -> None:
    arm, broadcast, upload = omnifm
    arm.algorithm.check(_with("change", HEAD, lambda value: torch.full_like(value, 3e38))(upload), broadcast)
    for odd in (float("nan"), float("inf")):
        spoilt = _with("change", HEAD, partial(_first_column, odd=odd))(upload)
        with pytest.raises(ValueError, match=f"{HEAD}' holds numbers that are not finite"):
            arm.algorithm.check(spoilt, broadcast)


def _first_column(value: torch.Tensor, odd: float) -> torch.Tensor:
    return value.index_fill(1, torch.tensor([0]), odd)
