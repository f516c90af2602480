from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from omnifm.config.experiment import make_experiment
from omnifm.data.federated_dataset import DataSettings
from omnifm.data.preparation import preparation_of
from omnifm.utils.errors import DataError, ExperimentError


def data_of(*sources: dict[str, Any]) -> DataSettings:
    kind = {"kind": "image_folder"}
    return make_experiment({"data": {"size": 8, "sources": [{**kind, **one} for one in sources]}}).data


TWO = data_of({"folder": "a", "modality": "CT"}, {"folder": "b", "modality": "MR"})


def volume(path: Path) -> Path:
    values = np.linspace(-1000, 1000, 512).reshape(8, 8, 8).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)
    return path


def test_the_modality_says_how_numbers_are_read(tmp_path: Path) -> None:
    path = volume(tmp_path / "v.nii.gz")
    ct, mr = (preparation_of(TWO, 2, 1, name) for name in ("CT", "MR"))
    image = ct.read(path)
    assert ct.limits(image) == (-1000.0, 1000.0)
    low, high = mr.limits(image)
    assert -1000 < low < high < 1000


def test_where_it_matters_and_no_one_says_it_a_file_is_refused(tmp_path: Path) -> None:
    unknown = preparation_of(TWO, 2, 1)
    with pytest.raises(DataError, match=r"v.nii.gz: does not say its modality.*--modality: CT, MR"):
        unknown.planes([unknown.read(volume(tmp_path / "v.nii.gz"))])
    Image.fromarray(np.full((8, 8), 51, np.uint8)).save(tmp_path / "a.png")
    assert unknown.planes([unknown.read(tmp_path / "a.png")]).unique().tolist() == pytest.approx([0.2])


def test_sources_that_cut_differently_need_the_modality() -> None:
    tiles = {"kind": "tile_folder", "folder": "c", "modality": "histology", "tile": 16}
    data = data_of({"folder": "a", "modality": "CT"}, tiles)
    with pytest.raises(ExperimentError, match=r"in 2 ways .*name the modality of the images \(CT, histology\)"):
        preparation_of(data, 2, 1)
    assert preparation_of(data, 2, 1, "histology").tile == 16
    assert preparation_of(data, 2, 1, "CT").tile == 0


def test_channels_in_files_of_their_own(tmp_path: Path) -> None:
    prepared = preparation_of(TWO, 2, 2, "MR")
    for name, side in (("a", 8), ("b", 8), ("c", 9)):
        Image.fromarray(np.full((side, side), 51, np.uint8)).save(tmp_path / f"{name}.png")
    a, b, c = (prepared.read(tmp_path / f"{name}.png") for name in "abc")
    assert prepared.planes([a, b]).shape == (2, 8, 8)
    with pytest.raises(DataError, match="has 1 channel"):
        prepared.planes([a])
    with pytest.raises(DataError, match=r"c.png: is 9 x 9, but a.png"):
        prepared.planes([a, c])


def test_a_network_of_volumes_takes_no_picture(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="takes volumes"):
        preparation_of(TWO, 3, 1, "MR").read(tmp_path / "a.png")
