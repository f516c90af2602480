"""Does anybody find out more than epsilon allows? ``python benchmarks/privacy_audit.py``.

    python benchmarks/privacy_audit.py [--trials 2000] [--canaries 200] [--rounds 3] [--json FILE]

Two audits of the training that runs use, both by membership inference with all that the server sees, each with a bound
that holds with 95 % confidence. A bound above the promised epsilon would be a fault.

- *One weight*: a network of one number, once with a patient whose gradient is as long as the clip and once without it,
  trained many times with new secrets: the worst case. The bound is from the rates of a threshold (Jagielski et al.,
  Auditing Differentially Private Machine Learning, NeurIPS 2020), by Clopper and Pearson.
- *Canaries*: a network with convolutions, trained once on patients with wrong labels among others, of whom each was
  left out with probability 1/2; the attacker knows everybody, explains every upload by their gradients, and says
  who took part (Steinke, Nasr and Jagielski, Privacy Auditing with One (1) Training Run, NeurIPS 2023).

The same without noise is the control: there the bound has to exceed the epsilon that the others promise.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor, nn

from omnifm.config.experiment import make_experiment
from omnifm.core.records import Broadcast, ClientState
from omnifm.core.tensors import apply
from omnifm.data.federated_dataset import FederatedDataset
from omnifm.data.subset import Batch, ClientData, Subset
from omnifm.privacy.budget import Planned, make_budget
from omnifm.privacy.client_round import ClientRound, PrivacyPlan
from omnifm.privacy.settings import PrivacySettings
from omnifm.privacy.vault import ClientVault
from omnifm.runs.arm import Arm, make_arm
from omnifm.tasks.task import Encoded, Task, TaskNetwork
from omnifm.training.model import FederatedModel
from omnifm.training.patient_gradients import PatientBatch, PatientObjective
from omnifm.training.private import Release
from omnifm.training.settings import TrainingSettings
from omnifm.training.trainer import Trainer

DELTA, CONFIDENCE = 1e-5, 0.95
_DRIFT = 1e-2
"""The square of how far gradients move in a round, about: the attacker only knows those at its beginning."""
_TRIED = 3
"""So many numbers of guesses are tried, each with so much less room for chance (Bonferroni)."""
LABELS = ("a", "b", "c")


class OneNumber(TaskNetwork):
    """A weight whose gradient is the image's only pixel."""

    width = 1

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.backbone = self.head = nn.Identity()

    def encode(self, batch: Batch) -> Encoded:
        """Return the pixel."""
        return Encoded(batch["image"].flatten(2))

    def decode(self, tokens: Tensor, context: Any, batch: Batch) -> Tensor:
        """Multiply."""
        return self.weight * tokens.flatten()


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


class NoNoise(ClientRound):
    """The control: patients are drawn and clipped as in a private run, and no noise is added to their sum."""

    def _noised(self, release: Any, total: Tensor, reach: float, *names: object) -> Tensor:
        return total


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
        low, high = (middle, high) if p_value(middle) < (1 - CONFIDENCE) / _TRIED else (low, middle)
    return low


def one_weight(trials: int, noise: float, steps: int, sampling: float) -> Audit:
    """Audit the training of one number, with one patient and without."""
    settings = PrivacySettings(noise_multiplier=noise, sampling=sampling)
    planned = Planned(trainings=1, steps=steps, prototypes=0, validations=1, tests=1)
    plan = PrivacyPlan(settings, make_budget(settings, planned))
    task, training = Linear(), TrainingSettings(learning_rate=1.0, momentum=0.0, weight_decay=0.0, epochs=1)
    training = replace(training, epochs=max(1, round(steps * sampling)))

    def moved(count: int) -> float:
        examples = Subset({"image": torch.ones(2, 1, 1, 1)}, ("p", "q"), torch.arange(count))
        private = ClientRound(plan, ClientVault(), "audit", 1)
        client = ClientData("A", "A", examples, examples, examples)
        trainer = Trainer(FederatedModel(OneNumber(), None), task, client, training, frozenset(), 0, private=private)
        private.claim_training()
        told = private.patients(Release.PATIENTS, count)
        trainer.fit(1)
        return -float(trainer.tensors()["network.weight"]) * told * sampling

    inside, outside = (np.array([moved(count) for _ in range(trials)]) for count in (2, 1))
    return Audit(
        f"one weight, {steps} steps, sampling {sampling:g}", plan.budget.epsilon, bound_of_rates(inside, outside)
    )


def canary_client(count: int, taken: np.ndarray) -> tuple[ClientData, Subset]:
    """Return a hospital of ``count`` patients and those canaries that were taken, and all who could be there."""
    made = torch.Generator().manual_seed(7)
    image = torch.rand(count + len(taken), 1, 16, 16, generator=made)
    label = torch.randint(len(LABELS), (len(image),), generator=made)
    image[:count, :, :, :8] += label[:count].view(-1, 1, 1, 1) / 2
    fields = {
        "image": image,
        "target": F.one_hot(label, len(LABELS)).to(torch.uint8),
        "allowed": torch.ones(len(image), len(LABELS), dtype=torch.bool),
        "exclusive": torch.ones(len(image), dtype=torch.bool),
    }
    patients = tuple(map(str, range(len(image))))
    rows = torch.cat([torch.arange(count), count + torch.from_numpy(taken.nonzero()[0])])
    few = Subset(fields, patients, torch.arange(min(8, count)))
    client = ClientData("A", "CT", Subset(fields, patients, rows), few, few)
    return client, Subset(fields, patients)


def canary_arm(client: ClientData, epsilon: float, rounds: int) -> Arm:
    experiment = make_experiment(
        {
            "algorithm": "fedavg",
            "classification": {"width": 8, "norm": "group", "augment": False},
            "training": {"learning_rate": 0.05, "momentum": 0.0, "weight_decay": 0.0},
            "federation": {"rounds": rounds, "evaluate": ["before_local_training"]},
            "privacy": {"epsilon": epsilon, "sampling": 0.2},
        }
    )
    return make_arm(experiment, FederatedDataset((client,), LABELS))


def canaries(count: int, epsilon: float, rounds: int, noisy: bool = True) -> Audit:
    """Audit the training of a network by canaries in one run."""
    taken = np.random.default_rng(3).random(count) < 0.5
    client, everybody = canary_client(100, taken)
    arm = canary_arm(client, epsilon, rounds)
    assert arm.runtime.privacy
    plan, steps = arm.runtime.privacy, arm.runtime.privacy.budget.steps
    promised = plan.budget.epsilon
    if not noisy:
        arm.runtime.privacy = Silent(plan.settings, plan.budget)
    sent, vault, likely = (
        arm.algorithm.broadcast(arm.start().server),
        ClientVault(),
        torch.zeros(count, dtype=torch.float64),
    )
    for number in range(1, rounds + 1):
        sent = replace(sent, round=number)
        own = own_gradients(arm, sent, everybody)
        upload, _ = arm.runtime.update(sent, client.name, ClientState(), vault)
        change = torch.cat([upload.change[name].flatten() for name in arm.runtime.weights.trainable])
        likely += -_explained(own, change, plan.budget.noise(Release.WEIGHTS) if noisy else 0.0, steps)[-count:]
        sent = replace(sent, shared=apply(sent.shared, upload.change))
    order = likely.argsort(descending=True).numpy()
    best = max(_guessed(order, taken, each) for each in (10, 20, 40))
    return Audit(f"{count} canaries, {rounds} rounds{'' if noisy else ', no noise'}", promised, best)


def _explained(own: Tensor, change: Tensor, noise: float, steps: int) -> Tensor:
    """Return how much of each gradient ``(n, numbers)`` is in a change: the best linear estimate under this noise."""
    own = own.double()
    gram = own @ own.T + max(_DRIFT, steps * noise**2) * torch.eye(len(own), dtype=own.dtype)
    return torch.linalg.solve(gram, own @ change.double())


def _guessed(order: np.ndarray, taken: np.ndarray, each: int) -> float:
    """Guess that the likeliest took part: somebody who did may never have been drawn, so that nobody else is clear."""
    return bound_of_guesses(len(taken), each, int(taken[order[:each]].sum()))


class Silent(PrivacyPlan):
    """The plan of the control."""

    def begin(self, vault: ClientVault, key: str, round_number: int) -> ClientRound:
        """Return a round without noise."""
        return NoNoise(self, vault, key, round_number)


def own_gradients(arm: Arm, sent: Broadcast, every: Subset) -> Tensor:
    """Return the gradient of each patient at the weights that were sent, of norm 1, ``(patients, numbers)``."""
    trainer = arm.runtime._trainer("A", sent.round)
    trainer.load(sent.shared)
    trainer.model.train()
    task, examples = trainer.task, trainer.task.setup_client(every)
    batches = [PatientBatch(task.prepare_batch(examples.batch(torch.tensor([row]))), 0) for row in range(len(every))]
    return F.normalize(
        torch.cat(list(PatientObjective(trainer, ()).gradients(dict(trainer.trainable), batches))), dim=1
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000, help="of the audit of one weight; 0 leaves it out")
    parser.add_argument("--canaries", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    weights: list[Callable[[], Audit]] = [
        lambda: one_weight(given.trials, noise=1.0, steps=1, sampling=1.0),
        lambda: one_weight(given.trials, noise=1.0, steps=10, sampling=0.2),
    ]
    audits: list[Callable[[], Audit]] = [
        *(weights if given.trials else []),
        lambda: canaries(given.canaries, 1.0, given.rounds),
        lambda: canaries(given.canaries, 8.0, given.rounds),
        lambda: canaries(given.canaries, 8.0, given.rounds, noisy=False),
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
