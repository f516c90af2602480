"""Centralised: all data in one place. No federation may do this; it tells what pooling would have bought."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from omnifm.algorithms.algorithm import Algorithm


@dataclass(frozen=True)
class Centralised(Algorithm):
    """One client that holds the training data of all others, which are then judged one by one."""

    pools_data: ClassVar[bool] = True
