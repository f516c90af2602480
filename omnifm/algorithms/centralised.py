"""Centralised: all data in one place. A federation must not do this; it shows what pooling would gain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from omnifm.algorithms.algorithm import Algorithm


@dataclass(frozen=True)
class Centralised(Algorithm):
    """One client with the training data of all others, which are then evaluated one by one."""

    private_reason: ClassVar[str] = "it pools the images of all hospitals"
    pools_data: ClassVar[bool] = True
