from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pictures import blobs
from scipy import ndimage

from omnifm.metrics.edges import edge_transfer, sobel, spatial_frequency

BEST = 0.9994 / (1 + math.exp(-15 * 0.5)) * 0.9879 / (1 + math.exp(-22 * 0.2))
"""What an edge that is kept as it was scores."""


def test_sobel_is_scipys() -> None:
    image = blobs(0)
    across, down = sobel(image.double())
    for axis, found in ((1, across), (0, down)):
        expected = np.stack([ndimage.sobel(one[0].double().numpy(), axis=axis)[1:-1, 1:-1] for one in image])
        np.testing.assert_allclose(found[:, 0].numpy(), expected, atol=1e-9)


def xydeas(found: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    """Q^AB/F as the paper has it, pixel by pixel."""

    def edge(image: np.ndarray, row: int, column: int) -> tuple[float, float]:
        near = image[row - 1 : row + 2, column - 1 : column + 2]
        across = float((near * [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]).sum())
        down = float((near * [[-1, -2, -1], [0, 0, 0], [1, 2, 1]]).sum())
        return math.sqrt(across**2 + down**2), math.pi / 2 if across == 0 else math.atan(down / across)

    top = bottom = 0.0
    for row in range(1, found.shape[0] - 1):
        for column in range(1, found.shape[1] - 1):
            g_f, a_f = edge(found, row, column)
            for source in (first, second):
                g, a = edge(source, row, column)
                if g == 0:
                    continue
                strength = g_f / g if g > g_f else g / g_f
                direction = abs(abs(a - a_f) - math.pi / 2) / (math.pi / 2)
                q = 0.9994 / (1 + math.exp(-15 * (strength - 0.5))) * 0.9879 / (1 + math.exp(-22 * (direction - 0.8)))
                top, bottom = top + q * g, bottom + g
    return top / bottom


def test_edge_transfer_is_that_of_the_paper() -> None:
    first, second = blobs(0, 20, 17), blobs(1, 20, 17)
    for found in (0.5 * (first + second), torch.maximum(first, second), 1 - first):
        double = [image.double().numpy()[:, 0] for image in (found, first, second)]
        expected = [xydeas(*images) for images in zip(*double, strict=True)]
        assert edge_transfer(found, first, second).tolist() == pytest.approx(expected, abs=1e-5)


def test_edges_that_are_kept_or_lost() -> None:
    image = blobs(3)
    assert edge_transfer(image, image, image).tolist() == pytest.approx([BEST] * 3, abs=1e-5)
    assert edge_transfer(image, image, torch.zeros_like(image)).tolist() == pytest.approx([BEST] * 3, abs=1e-5)
    assert (edge_transfer(torch.zeros_like(image), image, image) < 0.01).all()
    flat = torch.full_like(image, 0.5)
    assert edge_transfer(image, flat, flat).tolist() == [1.0] * 3


def test_spatial_frequency_by_hand() -> None:
    image = torch.tensor([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]).view(1, 1, 2, 3)
    assert spatial_frequency(image).tolist() == pytest.approx([255.0])
    assert spatial_frequency(image.transpose(2, 3)).tolist() == pytest.approx([255.0])
    ramp = torch.linspace(0, 1, 52).view(1, 1, 1, -1) + torch.zeros(1, 1, 4, 1)
    assert spatial_frequency(ramp).tolist() == pytest.approx([5.0])
    assert spatial_frequency(torch.full((1, 1, 4, 4), 0.3)).tolist() == [0.0]
