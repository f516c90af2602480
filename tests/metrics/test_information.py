from __future__ import annotations

import numpy as np
import pytest
import torch
from pictures import blobs
from scipy.ndimage import correlate
from scipy.stats import entropy as scipy_entropy
from skimage.measure import shannon_entropy

from omnifm.metrics.information import VIF_LEAST_SIDE, entropy, mutual_information, visual_information_fidelity


def eight_bits(image: torch.Tensor) -> np.ndarray:
    return np.round(image.numpy() * 255).astype(int)


def test_entropy_by_hand() -> None:
    image = torch.tensor([[0.0, 0.0, 1.0, 0.5], [0.2, 0.2, 0.2, 0.2]]).view(2, 1, 2, 2)
    assert entropy(image).tolist() == pytest.approx([1.5, 0.0])


def test_entropy_is_skimages() -> None:
    image = blobs(0)
    assert entropy(image).tolist() == pytest.approx([shannon_entropy(eight_bits(one)) for one in image], abs=1e-5)


def test_mutual_information_is_that_of_numpys_histogram() -> None:
    found, source = blobs(0), (blobs(0) * 0.5 + blobs(1) * 0.5)
    expected = []
    for one, other in zip(eight_bits(found), eight_bits(source), strict=True):
        joint, _, _ = np.histogram2d(one.ravel(), other.ravel(), bins=256, range=[[0, 256]] * 2)
        joint /= joint.sum()
        apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
        expected.append(scipy_entropy(joint.ravel(), apart.ravel(), base=2))
    assert mutual_information(found, source).tolist() == pytest.approx(expected, abs=1e-4)


def test_an_image_tells_all_of_itself_and_nothing_of_a_flat_one() -> None:
    image = blobs(2)
    torch.testing.assert_close(mutual_information(image, image), entropy(image))
    assert mutual_information(image, torch.zeros_like(image)).tolist() == pytest.approx([0.0] * 3, abs=1e-6)


def vifp(reference: np.ndarray, distorted: np.ndarray) -> float:
    """Sheikh's published pixel-domain VIF, step by step with full two-dimensional windows."""
    reference, distorted = 255 * reference.astype(np.float64), 255 * distorted.astype(np.float64)
    numerator = denominator = 0.0
    for scale in range(1, 5):
        n = 2 ** (5 - scale) + 1
        y, x = np.mgrid[:n, :n] - (n - 1) / 2
        window = np.exp(-(x * x + y * y) / (2 * (n / 5) ** 2))
        window /= window.sum()

        def smooth(image: np.ndarray, window: np.ndarray = window, edge: int = n // 2) -> np.ndarray:
            return correlate(image, window)[edge:-edge, edge:-edge]

        if scale > 1:
            reference, distorted = smooth(reference)[::2, ::2], smooth(distorted)[::2, ::2]
        mu1, mu2 = smooth(reference), smooth(distorted)
        s11 = np.maximum(smooth(reference * reference) - mu1 * mu1, 0)
        s22 = np.maximum(smooth(distorted * distorted) - mu2 * mu2, 0)
        s12 = smooth(reference * distorted) - mu1 * mu2
        g = s12 / (s11 + 1e-10)
        sv = s22 - g * s12
        g[s11 < 1e-10] = 0
        sv[s11 < 1e-10] = s22[s11 < 1e-10]
        s11[s11 < 1e-10] = 0
        g[s22 < 1e-10] = 0
        sv[s22 < 1e-10] = 0
        sv[g < 0] = s22[g < 0]
        g[g < 0] = 0
        sv[sv <= 1e-10] = 1e-10
        numerator += np.log10(1 + g * g * s11 / (sv + 2)).sum()
        denominator += np.log10(1 + s11 / 2).sum()
    return float(numerator / denominator)


@pytest.mark.parametrize("height", [VIF_LEAST_SIDE, 52, 64])
def test_fidelity_is_that_of_the_published_program(height: int) -> None:
    reference, other = blobs(0, height), blobs(1, height)
    for found in (0.5 * (reference + other), (1.3 * reference).clamp(0, 1), 1 - reference, other):
        expected = [vifp(one[0].numpy(), two[0].numpy()) for one, two in zip(reference, found, strict=True)]
        assert visual_information_fidelity(found, reference).tolist() == pytest.approx(expected, rel=1e-4)


def test_fidelity_of_equal_richer_and_poorer_images() -> None:
    image = 0.2 + 0.5 * blobs(0)
    flat = torch.full_like(image, 0.5)
    assert visual_information_fidelity(image, image).tolist() == pytest.approx([1.0] * 3, abs=1e-4)
    assert (visual_information_fidelity((1.4 * image).clamp(0, 1), image) > 1).all()
    assert visual_information_fidelity(flat, image).tolist() == pytest.approx([0.0] * 3, abs=1e-6)
    assert visual_information_fidelity(image, flat).tolist() == [1.0] * 3
