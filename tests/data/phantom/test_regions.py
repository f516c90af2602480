from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from omnifm.data.phantom.anatomy import Anatomy
from omnifm.data.phantom.dataset import PhantomSource
from omnifm.data.phantom.masks import PhantomRegionsSource
from omnifm.data.source import Loading


def loading(cache: Path, **changes: int) -> Loading:
    settings = {"size": 32, "channels": 1, "seed": 1, **changes}
    return Loading(root=cache, cache=cache, **settings)


def test_the_regions_of_a_tumour(anatomy: Anatomy, cache: Path) -> None:
    table = PhantomRegionsSource(modalities=("T2", "CT"), patients=4, slices=2).load(loading(cache))
    assert table.label_names == ("whole tumour", "tumour core", "enhancing tumour")
    assert table.fields["image"].shape == (16, 1, 32, 32)
    whole, core, enhancing = table.fields["mask"].bool().unbind(dim=1)
    assert whole.flatten(1).any(dim=1)[::2].all()
    assert (core <= whole).all()
    assert (enhancing <= core).all()
    assert enhancing.any()
    assert core.sum() > enhancing.sum() < whole.sum()
    assert table.fields["spacing"].shape == (16, 2)
    assert (table.fields["spacing"] > 196 / 32).all()
    assert (table.fields["spacing"] < 222 / 32).all()
    assert table.patients[:3] == ("T2-1/p0000", "T2-1/p0000", "T2-1/p0001")


def test_they_are_those_of_the_lesion_map(anatomy: Anatomy, cache: Path) -> None:
    same = {"modalities": ("PET",), "classes": ("haemorrhage", "ms"), "patients": 4}
    drawn = PhantomRegionsSource(**same, regions=("lesion",)).load(loading(cache)).fields
    known = PhantomSource(**same).load(loading(cache)).fields
    assert torch.equal(drawn["image"], known["image"])
    assert torch.equal(drawn["mask"][:, 0].bool(), known["lesion"] > 0)


def test_volumes(anatomy: Anatomy, cache: Path) -> None:
    table = PhantomRegionsSource(modalities=("T1",), patients=2, axes=3).load(loading(cache, size=16, channels=3))
    assert table.fields["image"].shape == (2, 3, 16, 16, 16)
    assert table.fields["mask"].shape == (2, 3, 16, 16, 16)
    assert table.fields["mask"][:, 0].flatten(1).any(dim=1).all()
    assert table.fields["spacing"].shape == (2, 3)
    head = table.fields["image"][:, 0] > 0.2
    assert head[:, 8].float().mean() > 0.2
    assert (table.fields["mask"][:, 0].bool() <= (table.fields["image"][:, 0] > 0.02)).float().mean() > 0.99


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"regions": ("tumour",)}, r"regions\.0\n.*unknown name 'tumour'"),
        ({"regions": ()}, "regions\n.*at least 1 item"),
        ({"classes": ("glioma", "ms")}, r"'ms' has no 'whole tumour': set regions = \['lesion'\]"),
        ({"axes": 3, "slices": 2}, "with axes = 3 a patient gives one volume"),
    ],
)
def test_errors_say_what_is_wrong(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PhantomRegionsSource(**changes)
