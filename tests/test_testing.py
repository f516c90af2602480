"""The conformance suite passes every algorithm of ours, and catches those that break the contract."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch

from omnifm.algorithms.aggregation.aggregator import Mean
from omnifm.algorithms.algorithm import Algorithm
from omnifm.algorithms.centralised import Centralised
from omnifm.algorithms.ditto import Ditto
from omnifm.algorithms.fedadam import FedAdam
from omnifm.algorithms.fedavgm import FedAvgM
from omnifm.algorithms.fedprox import FedProx
from omnifm.algorithms.fedyogi import FedYogi
from omnifm.algorithms.grouped import Grouped
from omnifm.algorithms.local import Local
from omnifm.algorithms.moon import Moon
from omnifm.algorithms.omnifm import OmniFM
from omnifm.algorithms.registry import REFERENCES
from omnifm.algorithms.scaffold import Scaffold
from omnifm.core.records import Broadcast, ClientState, ServerState, Upload
from omnifm.core.tensors import apply
from omnifm.testing import check_algorithm
from omnifm.training.trainer import Trainer

pytestmark = [pytest.mark.slow, pytest.mark.process]

# With beta2 = 1, v stays tau^2 and the divisor is 2 tau, which is eta: the step is D, to the bit by powers of two.
STEP_OF_D = {"beta1": 0.0, "beta2": 1.0, "tau": 2**-10, "eta": 2**-9}
NEUTRAL = {
    "fedprox": FedProx(mu=0.0),
    "fedavgm": FedAvgM(beta=0.0, eta=1.0),
    "fedadam": FedAdam(**STEP_OF_D),
    "fedyogi": FedYogi(**STEP_OF_D),
    "ditto": Ditto(lam=3.0),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_every_reference_passes(name: str) -> None:
    check_algorithm(REFERENCES[name](), neutral=NEUTRAL.get(name))


@pytest.mark.parametrize(
    "algorithm",
    [OmniFM(), OmniFM(Scaffold()), OmniFM(Moon(), at_home=("backbone",)), Local(), Grouped(), Centralised()],
    ids=str,
)
def test_what_is_composed_or_no_federation_passes(algorithm: Algorithm) -> None:
    check_algorithm(algorithm)


class Plain(Algorithm):
    pass


@dataclass
class Changeable(Algorithm):
    pass


@dataclass(frozen=True)
class WithoutDefault(Algorithm):
    mu: float


@dataclass(frozen=True)
class TakesAnything(Algorithm):
    mu: Any = 0.5


@dataclass(frozen=True)
class AveragesCounters(Algorithm):
    def aggregate(self, uploads: Iterable[Upload]) -> Mean:
        uploads = list(uploads)
        mean = super().aggregate(uploads)
        own = {
            name: torch.stack([u.change[name] for u in uploads]).double().mean(0).to(value.dtype)
            for name, value in mean.change.items()
            if not value.is_floating_point()
        }
        return mean._replace(change={**mean.change, **own})


@dataclass(frozen=True)
class OptimisesBuffers(Algorithm):
    def server_step(self, state: ServerState, mean: Mean) -> ServerState:
        twice = {name: 2 * v if v.is_floating_point() else v for name, v in mean.change.items()}
        return replace(state, shared=apply(state.shared, twice))


@dataclass(frozen=True)
class RemembersInItself(Algorithm):
    def weight(self, upload: Upload) -> float:
        seen = self.__dict__.setdefault("seen", [])
        seen.append(upload.client)
        return upload.samples * float(seen.count(upload.client))


@dataclass(frozen=True)
class RemembersInItsClass(Algorithm):
    seen: ClassVar[list[str]] = []

    def weight(self, upload: Upload) -> float:
        self.seen.append(upload.client)
        return upload.samples + float(self.seen.count(upload.client) * len(upload.client))


@dataclass(frozen=True)
class DrawsFromTheGlobalGenerator(Algorithm):
    def weight(self, upload: Upload) -> float:
        return upload.samples * (1 + float(torch.rand(())))


@dataclass(frozen=True)
class SendsPersonalTensors(Algorithm):
    @property
    def personal(self) -> tuple[str, ...]:
        return ("head",)

    def client_update(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> tuple[Upload, ClientState]:
        upload, after = super().client_update(broadcast, client, trainer)
        return replace(upload, extra={"for/you": after.personal["network.head.weight"]}), after


@dataclass(frozen=True)
class ForgetsPersonalTensors(SendsPersonalTensors):
    def client_update(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> tuple[Upload, ClientState]:
        return Algorithm.client_update(self, broadcast, client, trainer)[0], client


@dataclass(frozen=True)
class SendsMoreThanItSays(Algorithm):
    def client_update(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> tuple[Upload, ClientState]:
        upload, after = super().client_update(broadcast, client, trainer)
        return replace(upload, extra={"more": torch.ones(1)}), after


@dataclass(frozen=True)
class SendsMoreLater(Algorithm):
    def broadcast(self, state: ServerState) -> Broadcast:
        return replace(super().broadcast(state), extra={"late": torch.ones(1)} if state.round else {})


@dataclass(frozen=True)
class KeepsWhatIsNoJson(Algorithm):
    def server_step(self, state: ServerState, mean: Mean) -> ServerState:
        return replace(super().server_step(state, mean), notes={"seen": {1, 2}})


@dataclass(frozen=True)
class LosesItsNotes(Algorithm):
    """Its notes have keys of another type when they come from JSON."""

    def server_step(self, state: ServerState, mean: Mean) -> ServerState:
        rounds = {**state.notes.get("rounds", {}), state.round: 1}
        return replace(super().server_step(state, mean), notes={**state.notes, "rounds": rounds})


@dataclass(frozen=True)
class DropsTheNotesOfOthers(Algorithm):
    def server_step(self, state: ServerState, mean: Mean) -> ServerState:
        return replace(super().server_step(state, mean), notes={"finished": state.round})


@dataclass(frozen=True)
class WeighsWhatTravels(Algorithm):
    """Under OmniFM more travels, and the weight is another."""

    def client_update(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> tuple[Upload, ClientState]:
        upload, after = super().client_update(broadcast, client, trainer)
        return replace(upload, samples=upload.samples + 9 * len(broadcast.extra) * len(upload.client)), after


@pytest.mark.parametrize(
    ("algorithm", "words"),
    [
        (Plain(), "Plain must be a frozen dataclass"),
        (Changeable(), "Changeable must be a frozen dataclass"),
        (WithoutDefault(1.0), "Every setting needs a default: mu of WithoutDefault has none"),
        (TakesAnything(), "TakesAnything takes 'mu' = nan"),
        (AveragesCounters(), r"The integer buffer '.*' is .*: it must be one client's value"),
        (OptimisesBuffers(), "The buffer '.*' is no mean of the clients' values"),
        (RemembersInItself(), "After a run resumed after its first round, ServerState: .* Keep all state in"),
        (RemembersInItsClass(), "After the same run a second time, ServerState: .* keep nothing global"),
        (DrawsFromTheGlobalGenerator(), "After the same run a second time, ServerState: .* derive_seed"),
        (
            SendsPersonalTensors(),
            "The upload of .* holds the personal tensor 'network.head.weight', as 'extra/for/you'",
        ),
        (ForgetsPersonalTensors(), "does not keep its personal tensors: .*network.head.bias.* ClientState.personal"),
        (SendsMoreThanItSays(), r"check\(\) refuses the algorithm's own upload: extra 'more' is not expected"),
        (
            SendsMoreLater(),
            r"Every broadcast must have tensors of the same names and types; \['extra/late'\] come and go",
        ),
        (KeepsWhatIsNoJson(), "A ServerState cannot be written and read back: .*set"),
        (LosesItsNotes(), "notes of ServerState differ"),
        (DropsTheNotesOfOthers(), "OmniFM fails with it as base: KeyError: 'clients'"),
        (WeighsWhatTravels(), "The shared weights as omnifm.base and alone, with the bank switched off: .* differ"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Algorithm) else "",
)
def test_what_breaks_the_contract_is_caught(algorithm: Algorithm, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        check_algorithm(algorithm)


def test_a_neutral_setting_that_is_not_neutral_is_caught() -> None:
    with pytest.raises(
        AssertionError, match=r"The shared weights of FedProx\(mu=0\.5\) and of FedAvg: \d+ tensors differ"
    ):
        check_algorithm(FedProx(), neutral=FedProx(mu=0.5))


def test_the_suite_leaves_nothing_behind() -> None:
    kept = torch.random.get_rng_state()
    known = dict(REFERENCES)
    check_algorithm(FedProx())
    assert torch.equal(torch.random.get_rng_state(), kept)
    assert known == REFERENCES
