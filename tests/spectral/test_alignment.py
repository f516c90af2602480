from __future__ import annotations

import pytest
import torch

from omnifm.spectral.alignment import spectral_proximal_loss


def test_is_the_squared_distance_from_the_centroid() -> None:
    token = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    prototypes = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])
    # Centroids (1/2, 1/2) and (0, 1): squared distances 1/4 + 1/4 and 0.
    assert spectral_proximal_loss(token, prototypes).item() == pytest.approx((0.5 + 0.0) / 2)


def test_gradient_is_the_way_from_the_centroid_and_none_for_the_prototypes() -> None:
    token = torch.tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    prototypes = torch.tensor([[[0.0, 1.0]], [[0.0, 1.0]]], requires_grad=True)
    spectral_proximal_loss(token, prototypes).backward()
    torch.testing.assert_close(token.grad, torch.tensor([[1.0, -1.0], [0.0, 0.0]]))
    assert prototypes.grad is None
