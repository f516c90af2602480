"""``[privacy]`` of an experiment."""

from __future__ import annotations

from dataclasses import dataclass

from omnifm.privacy.clip import ClipNorm
from omnifm.privacy.step import UploadStep
from omnifm.utils.settings import NotNegative


@dataclass(frozen=True)
class PrivacySettings:
    """What is done to every upload: ``clip`` is the largest L2 norm of its change of parameters (0: no clipping)."""

    clip: NotNegative = 0.0


def make_steps(settings: PrivacySettings) -> list[UploadStep]:
    """Return the steps that an experiment asks for, in their order; mostly none."""
    return [ClipNorm(settings.clip)] if settings.clip else []
