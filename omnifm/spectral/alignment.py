"""The spectral-proximal loss (SPAlign; OmniFM, Sec. 3)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def spectral_proximal_loss(
    token: Float[Tensor, "batch dim"], prototypes: Float[Tensor, "batch k dim"]
) -> Float[Tensor, ""]:
    """Mean over the batch of ``||s - s_bar||^2``, ``s_bar`` the centroid of the retrieved prototypes.

    Args:
        token: spectral tokens ``(batch, dim)``.
        prototypes: what was retrieved for each, ``(batch, k, dim)``; taken as constants.

    Returns:
        A scalar.
    """
    centroid = prototypes.detach().mean(dim=1)
    return (token - centroid).square().sum(dim=-1).mean()
