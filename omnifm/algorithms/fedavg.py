"""FedAvg: McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized Data, AISTATS 2017."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from omnifm.algorithms.algorithm import Algorithm


@dataclass(frozen=True)
class FedAvg(Algorithm):
    """``x <- x + sum of p_i (y_i - x)``. No parameters; nothing is personal; the weights travel both ways."""

    private_reason: ClassVar[str] = ""
