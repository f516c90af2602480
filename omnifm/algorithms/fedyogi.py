"""FedYogi: Reddi et al., Adaptive Federated Optimization, ICLR 2021."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from omnifm.algorithms.fedadam import FedAdam


@dataclass(frozen=True)
class FedYogi(FedAdam):
    """FedAdam, but ``v <- v - (1 - b2) D^2 sign(v - D^2)``: v moves by a share of ``D^2``, not of itself.

    Defaults, what is personal and what travels: FedAdam's.
    """

    def second_moment(self, moment: Tensor, square: Tensor) -> Tensor:
        """Return v after a round whose change has this square."""
        return moment - (1 - self.beta2) * square * (moment - square).sign()
