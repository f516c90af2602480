from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from omnifm.data.modality_profiles import BINS, MOST_IMAGES, modality_profiles
from omnifm.data.show import picture
from omnifm.data.subset import ClientData, Subset
from omnifm.spectral.spectrum import low_pass_log_amplitude


def spectrum(images: Tensor, grid: int) -> Tensor:
    return low_pass_log_amplitude(images, 1.0, grid)


def client(name: str, group: str, images: Tensor) -> ClientData:
    subset = Subset({"image": images}, tuple(map(str, range(len(images)))))
    return ClientData(name, group, subset, subset, subset)


def wave(cycles: int, rows: int = 4, side: int = 16) -> Tensor:
    """Return images of so many cycles from left to right, between 0.25 and 0.75."""
    line = 0.5 + 0.25 * torch.cos(2 * math.pi * cycles * torch.arange(side) / side)
    return line.expand(rows, 1, side, side)


def test_each_modality_has_its_intensities_and_frequencies() -> None:
    clients = (client("a", "CT", wave(2)), client("b", "CT", wave(2)), client("c", "MR", wave(5, rows=500)))
    first, second = modality_profiles(clients, spectrum)
    assert (first.group, first.images, second.group, second.images) == ("CT", 8, "MR", MOST_IMAGES)
    for profile, cycles in ((first, 2), (second, 5)):
        assert profile.histogram.shape == (BINS,)
        np.testing.assert_allclose(profile.histogram.sum(), 1)
        assert profile.histogram[: BINS // 4].sum() == profile.histogram[BINS * 3 // 4 + 1 :].sum() == 0
        assert len(profile.spectrum) == 8, "from 0 to 7 cycles on 16 pixels"
        assert profile.spectrum[1:].argmax() + 1 == cycles


def test_volumes_have_profiles_too(tmp_path: Path) -> None:
    clients = (client("a", "CT", torch.rand(3, 1, 8, 8, 8)),)
    (profile,) = modality_profiles(clients, spectrum)
    assert len(profile.spectrum) == 4
    picture(clients, (), tmp_path / "x.png", [profile])
    with Image.open(tmp_path / "x.png") as drawn:
        height = drawn.height
    picture(clients, (), tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as drawn:
        assert drawn.height < height
