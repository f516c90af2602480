from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from omnifm.data.bicubic import enlarged, shrunk


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_it_is_pillows(scale: int) -> None:
    image = torch.rand(1, 2, 32, 48, generator=torch.Generator().manual_seed(0))
    for made, size in (
        (shrunk(image, scale), (48 // scale, 32 // scale)),
        (enlarged(image, scale), (48 * scale, 32 * scale)),
    ):
        for channel in range(2):
            plane = Image.fromarray(image[0, channel].numpy())
            expected = np.asarray(plane.resize(size, Image.Resampling.BICUBIC)).clip(0, 1)
            np.testing.assert_allclose(made[0, channel].numpy(), expected, atol=1e-5)


def test_a_flat_image_stays_flat_and_nothing_leaves_its_range() -> None:
    flat = torch.full((1, 1, 16, 16), 0.3)
    torch.testing.assert_close(enlarged(shrunk(flat, 4), 4), flat)
    edge = torch.zeros(1, 1, 16, 16)
    edge[..., 8:] = 1
    for made in (shrunk(edge, 2), enlarged(edge, 2)):
        assert made.min() == 0
        assert made.max() == 1
