from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from helpers import federated, same_checkpoint, small_arm
from messenger import messenger_known

from omnifm.algorithms.algorithm import Algorithm
from omnifm.algorithms.composition import BuildContext, ComposedAlgorithm
from omnifm.algorithms.registry import ALGORITHM_SETTINGS, register_algorithm
from omnifm.core.records import ClientState


@dataclass(frozen=True)
class Same(ComposedAlgorithm):
    """Adds nothing to its base."""

    base: Algorithm


@pytest.fixture(autouse=True)
def known() -> Iterator[None]:
    @register_algorithm("same")
    @dataclass(frozen=True)
    class SameSettings:
        base: str = "fedavg"

        def build(self, context: BuildContext) -> Algorithm:
            return Same(context.base(self.base, "same.base"))

    with messenger_known():
        yield
    del ALGORITHM_SETTINGS["same"]


@pytest.mark.parametrize("base", ["scaffold", "ditto", "gpfl", "fedrep", "messenger"])
def test_what_is_not_overridden_is_the_base(base: str) -> None:
    composed, plain = small_arm("same", same={"base": base}), small_arm(base)
    assert composed.runtime.training == plain.runtime.training
    assert composed.runtime.personal == plain.runtime.personal
    for one, other in zip(federated(composed), federated(plain), strict=True):
        assert same_checkpoint(one, other)


@pytest.mark.parametrize("base", ["scaffold", "feddyn", "fedavg"])
def test_what_is_said_of_it_is_said_of_the_base(base: str) -> None:
    composed, plain = small_arm("same", same={"base": base}), small_arm(base)
    network = plain.runtime.model.network
    assert composed.algorithm.remark(network) == plain.algorithm.remark(network)
    assert composed.algorithm.needs_mean == plain.algorithm.needs_mean == (base != "fedavg")
    broadcast = composed.algorithm.broadcast(composed.start().server)
    upload, _ = composed.runtime.update(broadcast, "CT-1", ClientState())
    assert composed.runtime.kinds(upload) == plain.runtime.kinds(upload)
    composed.algorithm.check(upload, broadcast)
