"""``[privacy]`` of an experiment."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from omnifm.privacy.clip import ClipNorm
from omnifm.privacy.step import UploadStep
from omnifm.utils.settings import Between, Count, CountOrZero, NotNegative, Positive, settings

LEAST_NOISE = 0.3
"""The least noise multiplier of a training step."""

LEAST_IN_SUM = 3
"""Of a sum over two clients, each of them can tell the other's share."""


@settings
class PrivacySettings:
    """``[privacy]``: clipping of uploads, and differential privacy of each patient.

    ``clip`` is the largest L2 norm of an upload's change of parameters (0: no clipping); by itself it protects nobody.

    With ``epsilon`` or ``noise_multiplier`` above 0 the run is private: all that leaves a hospital is (epsilon,
    ``delta``)-differentially private for each of its patients. ``epsilon`` is the budget of the whole run, from which
    the noise follows; ``noise_multiplier`` is the noise of a training step in units of ``patient_clip``, from which
    epsilon follows. Each step draws each patient with the probability ``sampling``, in place of a batch; the gradient
    of one patient, the mean over at most ``patient_images`` of the images (0: all), is clipped to the L2 norm
    ``patient_clip``. Prototypes and retrievals leave in every ``prototypes_every``-th round.

    With ``secure_aggregation`` the server learns no single upload, only sums over at least ``secure_threshold`` clients
    and more than two thirds of those that have trained; it does not go together with differential privacy yet.
    """

    clip: NotNegative = 0.0
    epsilon: Annotated[float, Field(ge=0, le=100)] = 0.0
    noise_multiplier: NotNegative = 0.0
    delta: Between = 1e-5
    sampling: Annotated[float, Field(ge=0.001, le=1)] = 0.1
    patient_clip: Positive = 1.0
    patient_images: CountOrZero = 8
    prototypes_every: Count = 5
    secure_aggregation: bool = False
    secure_threshold: Annotated[int, Field(ge=LEAST_IN_SUM)] = LEAST_IN_SUM

    def __post_init__(self) -> None:
        if self.epsilon and self.noise_multiplier:
            raise ValueError("give epsilon or noise_multiplier, not both: one follows from the other")
        if 0 < self.noise_multiplier < LEAST_NOISE:
            raise ValueError(
                f"noise_multiplier = {self.noise_multiplier:g} protects nobody; {LEAST_NOISE} is the least"
            )
        if self.secure_aggregation and self.private:
            raise ValueError(
                "secure_aggregation and differential privacy (epsilon, noise_multiplier) cannot be combined yet: "
                "choose one of them"
            )

    @property
    def private(self) -> bool:
        """Whether the run guarantees differential privacy."""
        return self.epsilon > 0 or self.noise_multiplier > 0


def make_steps(settings: PrivacySettings) -> list[UploadStep]:
    """Return the steps that an experiment asks for, in their order; mostly none."""
    return [ClipNorm(settings.clip)] if settings.clip else []
