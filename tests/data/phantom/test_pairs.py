from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from omnifm.data.phantom.anatomy import Anatomy
from omnifm.data.phantom.pairs import PhantomPairsSource
from omnifm.data.source import Loading
from omnifm.utils.errors import DataError

SMALL = PhantomPairsSource(modalities=("CT-T2", "PET-T1"), classes=("glioma",), patients=3, slices=2)


def loading(cache: Path, channels: int = 1) -> Loading:
    return Loading(root=cache, cache=cache, size=32, channels=channels, seed=1)


def test_pairs_by_modality_and_hospital(anatomy: Anatomy, cache: Path) -> None:
    table = SMALL.load(loading(cache))
    assert table.fields["image"].shape == table.fields["chroma"].shape == (12, 2, 32, 32)
    assert not table.fields["chroma"].index_select(0, torch.arange(12)).any()
    assert table.modalities == ("CT-T2",) * 6 + ("PET-T1",) * 6
    assert table.patients[4] == "CT-T2-1/p0002"
    assert table.institutions[6] == "PET-T1-1"
    assert table.label_names == ()


def test_the_two_show_one_head_in_two_ways(anatomy: Anatomy, cache: Path) -> None:
    for images in SMALL.load(loading(cache)).fields["image"].split(6):  # a hospital: three heads, two slices each
        own = [shared_information(first, second) for first, second in images]
        others = [shared_information(images[i, 0], images[(i + 2) % 6, 1]) for i in range(6)]
        assert np.mean(own) > np.mean(others) + 0.1
        assert (images[:, 0] - images[:, 1]).abs().mean() > 0.05


def shared_information(one: torch.Tensor, other: torch.Tensor) -> float:
    joint = np.histogram2d(one.flatten().numpy(), other.flatten().numpy(), bins=8, range=[[0, 1]] * 2)[0]
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    return float(entropy(joint.ravel(), apart.ravel()))


def test_only_pairs_of_known_modalities() -> None:
    with pytest.raises(ValueError, match=r"modalities\.0\n.*unknown name 'CT-T3'. Did you mean 'CT-T"):
        PhantomPairsSource(modalities=("CT-T3",))
    with pytest.raises(ValueError, match="unknown name 'CT'"):
        PhantomPairsSource(modalities=("CT",))
    with pytest.raises(ValueError, match="unknown name 'CT-CT'"):
        PhantomPairsSource(modalities=("CT-CT",))


def test_no_colour(anatomy: Anatomy, cache: Path) -> None:
    with pytest.raises(DataError, match=r"data\.channels = 3"):
        SMALL.load(loading(cache, channels=3))
