"""``[privacy]`` of an experiment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from omnifm.privacy.clip import ClipNorm
from omnifm.privacy.step import UploadStep
from omnifm.utils.settings import NotNegative

LEAST_IN_SUM = 3
"""Of a sum over two clients, each of them can tell the other's share."""


@dataclass(frozen=True)
class PrivacySettings:
    """What is done to every upload: ``clip`` is the largest L2 norm of its change of parameters (0: no clipping).

    With ``secure_aggregation`` the server learns no single upload, only sums over at least ``secure_threshold`` clients
    and more than two thirds of those that have trained.
    """

    clip: NotNegative = 0.0
    secure_aggregation: bool = False
    secure_threshold: Annotated[int, Field(ge=LEAST_IN_SUM)] = LEAST_IN_SUM


def make_steps(settings: PrivacySettings) -> list[UploadStep]:
    """Return the steps that an experiment asks for, in their order; mostly none."""
    return [ClipNorm(settings.clip)] if settings.clip else []
