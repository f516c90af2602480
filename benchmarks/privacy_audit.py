"""Does anybody find out more than epsilon allows? ``python benchmarks/privacy_audit.py``.

    python benchmarks/privacy_audit.py [--trials 2000] [--canaries 500] [--json FILE]

Two audits of the training that runs use, both by membership inference with all that the server sees, each with a bound
that holds with 95 % confidence. A bound above the promised epsilon would be a fault.

- *One weight*: a network of one number, once with a patient whose gradient is as long as the clip and once without it,
  trained many times with new secrets: the worst case. The bound is from the rates of a threshold (Jagielski et al.,
  Auditing Differentially Private Machine Learning, NeurIPS 2020), by Clopper and Pearson.
- *Canaries*: 2000 numbers, trained once on patients whose gradients are random directions, each left out with
  probability 1/2; the attacker knows all directions and says who took part (Steinke, Nasr and Jagielski, Privacy
  Auditing with One (1) Training Run, NeurIPS 2023).

The same without noise is the control: there the attack has to prove much more.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor, nn

from omnifm.data.subset import Batch, ClientData, Subset
from omnifm.privacy.budget import Planned, make_budget
from omnifm.privacy.client_round import ClientRound, PrivacyPlan
from omnifm.privacy.settings import PrivacySettings
from omnifm.privacy.vault import ClientVault
from omnifm.tasks.task import Encoded, Task, TaskNetwork
from omnifm.training.model import FederatedModel
from omnifm.training.private import Release
from omnifm.training.private_trainer import PrivateTrainer
from omnifm.training.settings import TrainingSettings

DELTA, CONFIDENCE = 1e-5, 0.95
_TRIED = (10, 25, 50, 100)
"""So many guesses of either kind are tried, each with so much less room for chance (Bonferroni)."""


class Numbers(TaskNetwork):
    """Weights whose gradient is the patient's image, flat."""

    width = 1

    def __init__(self, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(count))
        self.backbone = self.head = nn.Identity()

    def encode(self, batch: Batch) -> Encoded:
        """Return the image."""
        return Encoded(batch["image"].flatten(2))

    def decode(self, tokens: Tensor, context: Any, batch: Batch) -> Tensor:
        """Multiply."""
        return tokens.flatten(1) @ self.weight


class Linear(Task):
    """Minimises the prediction itself."""

    main_metric = "none"

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Return the mean."""
        return prediction.mean()


@dataclass(frozen=True)
class Audit:
    """What was promised and what the attacker can prove."""

    name: str
    promised: float
    proven: float


def bound_of_rates(inside: np.ndarray, outside: np.ndarray) -> float:
    """Return what a threshold on half of the trials proves on the other half."""
    half = len(inside) // 2
    candidates = np.quantile(outside[:half], np.linspace(0.5, 0.99, 30))
    best = max(candidates, key=lambda t: _proven((inside[:half] > t).sum(), (outside[:half] > t).sum(), half))
    return _proven((inside[half:] > best).sum(), (outside[half:] > best).sum(), len(inside) - half)


def _proven(hits: int, alarms: int, count: int) -> float:
    """Return the least epsilon with which so many hits and false alarms are probable."""
    wrong = (1 - CONFIDENCE) / 2
    least = float(stats.beta.ppf(wrong, hits, count - hits + 1)) if hits else 0.0
    most = float(stats.beta.ppf(1 - wrong, alarms + 1, count - alarms)) if alarms < count else 1.0
    return max(0.0, math.log(max(least - DELTA, 1e-300) / most))


def bound_of_guesses(canaries: int, guesses: int, right: int) -> float:
    """Return the epsilon that ``right`` of so many guesses prove: Steinke et al., Appendix D."""

    def p_value(epsilon: float) -> float:
        chance = 1 / (1 + math.exp(-epsilon))
        tail, alpha, summed = float(stats.binom.sf(right - 1, guesses, chance)), 0.0, 0.0
        for fewer in range(1, right + 1):
            summed += float(stats.binom.pmf(right - fewer, guesses, chance))
            alpha = max(alpha, summed / fewer)
        return tail + 2 * alpha * DELTA * canaries

    low, high = 0.0, 20.0
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (middle, high) if p_value(middle) < (1 - CONFIDENCE) / len(_TRIED) else (low, middle)
    return low


def moved(images: Tensor, plan: PrivacyPlan) -> Tensor:
    """Train on these patients, ``(n, numbers)``, and return the sum of what the steps summed."""
    settings, steps = plan.settings, plan.budget.steps
    epochs = round(steps * settings.sampling)
    training = TrainingSettings(learning_rate=1.0, momentum=0.0, weight_decay=0.0, epochs=epochs)
    examples = Subset({"image": images[:, None, None]}, tuple(map(str, range(len(images)))))
    private = plan.begin(ClientVault(), "audit", 1)
    private.claim_training()
    told = private.patients(Release.PATIENTS, len(images))
    client, model = ClientData("A", "A", examples, examples, examples), FederatedModel(Numbers(images.shape[1]), None)
    trainer = PrivateTrainer(model, Linear(), client, training, frozenset(), 0, private=private)
    trainer.fit(1)
    return -trainer.tensors()["network.weight"] * told * settings.sampling


def made_plan(settings: PrivacySettings, steps: int, noisy: bool = True) -> PrivacyPlan:
    planned = Planned(trainings=1, steps=steps, prototypes=0, validations=1, tests=1)
    return (PrivacyPlan if noisy else Silent)(settings, make_budget(settings, planned))


def one_weight(trials: int, steps: int, sampling: float) -> Audit:
    """Audit the training of one number, with one patient more and without."""
    plan = made_plan(PrivacySettings(noise_multiplier=1.0, sampling=sampling), steps)
    inside, outside = (np.array([float(moved(torch.ones(count, 1), plan)) for _ in range(trials)]) for count in (2, 1))
    name = f"one weight, {steps} steps, sampling {sampling:g}"
    return Audit(name, plan.budget.epsilon, bound_of_rates(inside, outside))


def canaries(count: int, epsilon: float, noisy: bool = True) -> Audit:
    """Audit the training of many numbers by canaries in one run."""
    plan = made_plan(PrivacySettings(epsilon=epsilon, sampling=0.2), 20, noisy)
    images = F.normalize(torch.randn(count, 2000, generator=torch.Generator().manual_seed(7)), dim=1)
    taken = np.random.default_rng(3).random(count) < 0.5
    order = (images @ moved(images[torch.from_numpy(taken)], plan)).argsort(descending=True).numpy()
    proven = max(_guessed(order, taken, each) for each in _TRIED)
    return Audit(f"{count} canaries{'' if noisy else ', no noise'}", plan.budget.epsilon, proven)


def _guessed(order: np.ndarray, taken: np.ndarray, each: int) -> float:
    """Guess that the likeliest took part and the least likely did not."""
    right = int(taken[order[:each]].sum() + (~taken[order[-each:]]).sum())
    return bound_of_guesses(len(taken), 2 * each, right)


class NoNoise(ClientRound):
    """The control: patients are drawn and clipped as in a private run, and no noise is added to their sum."""

    def _noised(self, release: Any, total: Tensor, reach: float, *names: object) -> Tensor:
        return total


class Silent(PrivacyPlan):
    """The plan of the control."""

    def begin(self, vault: ClientVault, key: str, round_number: int) -> ClientRound:
        """Return a round without noise."""
        return NoNoise(self, vault, key, round_number)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000, help="of the audit of one weight")
    parser.add_argument("--canaries", type=int, default=500)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    audits: list[Callable[[], Audit]] = [
        lambda: canaries(given.canaries, 8.0, noisy=False),
        *(partial(canaries, given.canaries, epsilon) for epsilon in (1.0, 3.0, 8.0)),
        lambda: one_weight(given.trials, steps=1, sampling=1.0),
        lambda: one_weight(given.trials, steps=10, sampling=0.2),
    ]
    found = []
    print("| audit | epsilon promised | proven by the attack |\n| --- | ---: | ---: |")
    for audit in audits:
        found.append(audit())
        print(f"| {found[-1].name} | {found[-1].promised:.2f} | {found[-1].proven:.2f} |", flush=True)
    if given.json:
        given.json.write_text(json.dumps([vars(one) for one in found], indent=1))


if __name__ == "__main__":
    main()
