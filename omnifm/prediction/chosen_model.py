"""Whose model is used: a client's own, or one for a hospital that took no part."""

from __future__ import annotations

from torch import Tensor

from omnifm.export.client_model import ClientModel
from omnifm.export.loaded_arm import LoadedArm
from omnifm.utils.errors import ExperimentError

FEW = 8
"""Statistics of normalisation that are measured on fewer images are uncertain."""


def newcomer(loaded: LoadedArm, images: Tensor, question: str = "") -> tuple[ClientModel, str]:
    """Return the model for a hospital that took no part, and a sentence that says how it was chosen.

    Args:
        loaded: the arm.
        images: of the hospital, ``(n, channels, *size)`` as the network sees them.
        question: that is asked, where the network answers questions.

    Raises:
        ExperimentError: parts of the network stay with the clients that trained them.
    """
    asked = {"question": [question or "what is it?"] * len(images)} if question else {}
    try:
        model = loaded.model_for(images, **asked)
    except ExperimentError as error:
        raise ExperimentError(
            f"{error} Or name the client whose model to use: {', '.join(loaded.clients[:8])} (--client)."
        ) from None
    uncertain = f" ({len(images)}: more make that more reliable)" if len(images) < FEW else ""
    return model, (
        f"The model for a hospital that took no part: {model.placement}. Its statistics of normalisation are those of "
        f"the images given{uncertain}."
    )
