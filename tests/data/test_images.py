from __future__ import annotations

import numpy as np
import pytest
import torch

from omnifm.data import images
from omnifm.data.images import pixels, prepare, resize, to_channels, to_unit


def test_depths_become_the_unit_range() -> None:
    assert to_unit(np.array([0, 51, 255], np.uint8)).tolist() == pytest.approx([0, 0.2, 1])
    assert to_unit(np.array([0, 13107, 65535], np.uint16)).tolist() == pytest.approx([0, 0.2, 1])
    with pytest.raises(TypeError, match="float64"):
        to_unit(np.zeros(2))


def test_colour_becomes_grey_by_luminance() -> None:
    primaries = torch.eye(3).view(3, 3, 1, 1)
    assert to_channels(primaries, 1).flatten().tolist() == pytest.approx([0.299, 0.587, 0.114])


def test_grey_is_repeated_into_colour_and_back() -> None:
    grey = torch.rand(2, 1, 4, 4)
    colour = to_channels(grey, 3)
    assert colour.shape == (2, 3, 4, 4)
    assert torch.allclose(to_channels(colour, 1), grey)
    assert to_channels(grey, 1) is grey


def test_resize_does_nothing_at_equal_size() -> None:
    image = torch.rand(1, 1, 8, 8)
    assert resize(image, 8) is image


def test_resize_averages_instead_of_skipping() -> None:
    stripes = torch.zeros(1, 1, 16, 32)
    stripes[..., ::2] = 1
    small = resize(stripes, 4)
    assert small.shape == (1, 1, 4, 4)
    assert torch.allclose(small[..., 1:-1], torch.tensor(0.5), atol=0.02)


def test_prepare_in_chunks_equals_prepare_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 10, 12, 3), dtype=np.uint8)
    whole = prepare(pixels, 6, 1)
    monkeypatch.setattr(images, "_CHUNK", 3)
    assert torch.equal(prepare(pixels, 6, 1), whole)
    assert whole.shape == (7, 1, 6, 6)
    assert whole.dtype == torch.float32
    assert 0 <= whole.min() <= whole.max() <= 1


def test_of_a_volume_the_slice_in_the_middle_is_for_the_eye() -> None:
    volume = torch.rand(2, 5, 4, 6)
    assert np.array_equal(pixels(volume), (volume[0, 2] * 255).to(torch.uint8).numpy())
