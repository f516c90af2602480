from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import (
    made_holdings,
    plain_sgd,
    quadratic_trainer,
    same,
    small_arm,
    small_experiment,
    uneven,
)
from made_tasks import played
from rounds import arm_rounds, play, quadratic_start, settled

from omnifm.algorithms.fedavg import FedAvg
from omnifm.algorithms.fedprox import FedProx
from omnifm.core.records import ClientState
from omnifm.utils.errors import ExperimentError

PROX: dict[str, Any] = {"fedprox": {"mu": 0.5}}


def test_two_rounds_by_hand() -> None:
    # Three steps of rate 0.5 on 0.5 (w - 5)^2, with mu = 0.5, from x = 1. The gradient is (w - 5) + 0.5 (w - 1):
    # -4, w = 3; -2 + 1, w = 3.5; -1.5 + 1.25, w = 3.625. An unsquared norm would pull with 0.5 twice: w = 3.75, 4.125.
    # The other client has three of the four samples and rests at its 1. So x = 1 + 2.625 / 4 = 1.65625.
    settings = plain_sgd(0.5, epochs=3)
    trainers = {"a": quadratic_trainer("a", [5.0], settings), "b": quadratic_trainer("b", [1.0] * 3, settings)}
    algorithm, clients = FedProx(mu=0.5), dict[str, ClientState]()
    state = play(algorithm, quadratic_start(algorithm, 1.0, 2), trainers, clients)
    assert state.shared["network.weight"].tolist() == [1.65625]
    # The new anchor is 1.65625. In terms of e = w - x, a's gradient is e - 3.34375 + 0.5 e = 1.5 e - 3.34375, so each
    # step takes e to 0.25 e + 1.671875: 1.671875, 2.08984375, 2.1943359375. b's is 1.5 e + 0.65625, so e goes to
    # 0.25 e - 0.328125: -0.328125, -0.41015625, -0.4306640625.
    state = play(algorithm, state, trainers, clients)
    assert state.shared["network.weight"].item() == 1.65625 + (2.1943359375 - 3 * 0.4306640625) / 4
    assert clients["a"].memory == {}


def test_the_pull_grows_with_the_distance() -> None:
    # Trained to the end, a client stands where w - target + mu (w - x) = 0: from x = 0, at target / (1 + mu).
    for target in (3.0, 300.0):
        trainers = {"a": quadratic_trainer("a", [target], plain_sgd(0.2, epochs=60))}
        assert settled(FedProx(mu=2.0), trainers, 1, start=0.0) == pytest.approx(target / 3)


def test_with_mu_it_is_not_fedavg() -> None:
    one, other = (played(small_arm(name, **PROX)).server.shared for name in ("fedprox", "fedavg"))
    assert not same(one, other)


# In ten steps of rate 0.1 a client goes the share (1 - r^10) k / (k + mu) of its way from x to its target, where k is
# its curvature and r = 1 - 0.1 (k + mu). FedAvg: 1 - 0.9^10 = 0.65132 and 1 - 0.8^10 = 0.89263; it rests where
# 0.65132 (0 - x) + 0.89263 (12 - x) = 0, at 6.9377. As mu grows the shares come near 1 / mu and 2 / mu, and x near 8.
@pytest.mark.parametrize(
    ("mu", "share_a", "share_b"),
    [(0.0, 0.65132, 0.89263), (1.0, 0.89263 / 2, 0.97175 * 2 / 3), (4.0, 0.99902 / 5, 0.99990 / 3)],
)
def test_with_unlike_clients_it_rests_nearer_to_the_optimum(mu: float, share_a: float, share_b: float) -> None:
    expected = 12 * share_b / (share_a + share_b)
    found = settled(FedProx(mu), uneven(plain_sgd(0.1, epochs=10)), 25, start=7.0)
    assert found == pytest.approx(expected, abs=2e-3)


def test_more_mu_brings_it_from_fedavg_towards_the_optimum() -> None:
    trainers = uneven(plain_sgd(0.1, epochs=10))
    found = [
        settled(algorithm, trainers, 12, start=7.0)
        for algorithm in (FedAvg(), FedProx(1.0), FedProx(4.0), FedProx(8.0))
    ]
    assert found == sorted(found)
    assert found[0] < 7 < found[-1] < 8


def test_nothing_but_the_weights_travels_and_nothing_stays() -> None:
    for before, uploads, after in arm_rounds(small_arm("fedprox", **PROX), 1):
        assert all(upload.change.keys() == before.shared.keys() and upload.extra == {} for upload in uploads)
        assert after.memory == {}


def test_what_is_personal_is_not_pulled() -> None:
    trainer = quadratic_trainer("a", [5.0], plain_sgd(0.5, epochs=2), personal=frozenset({"network.weight"}))
    algorithm = FedProx(mu=1.0)
    broadcast = algorithm.broadcast(algorithm.init({"network.head.bias": torch.zeros(1)}, [], made_holdings(1)))
    _, after = algorithm.client_update(broadcast, ClientState(), trainer)
    # Twice half the way from 0 to 5; pulled to 0, it would have gone to 2.5 and stayed.
    assert after.personal["network.weight"].item() == 3.75


def test_by_default_mu_is_a_hundredth() -> None:
    assert small_arm("fedprox").algorithm == FedProx(mu=0.01)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mu": -1}, r"fedprox\.mu: .*0 or more \(given: -1.*\)"),
        ({"mu": "much"}, r"fedprox\.mu: "),
        ({"lam": 1.0}, r"Unknown key 'fedprox\.lam'\. Known: mu\."),
        ({"mus": 1.0}, r"Unknown key 'fedprox\.mus'\. Did you mean 'mu'\?"),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        small_experiment("fedprox", fedprox=settings)
