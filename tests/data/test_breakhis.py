from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from omnifm.data.breakhis import BreaKHisSource
from omnifm.data.federated_dataset import DataSettings, load_dataset
from omnifm.data.partition import PartitionSettings
from omnifm.data.source import Loading
from omnifm.data.subset import ClientData
from omnifm.utils.errors import DataError

TYPES = {"A": "adenosis", "F": "fibroadenoma", "DC": "ductal_carcinoma", "LC": "lobular_carcinoma"}


def write(root: Path, kind: str, slide: str, magnification: int, number: int = 1, value: int = 0) -> Path:
    """Write an image of 20 x 16 pixels where and as BreaKHis publishes it: ``kind`` is ``B_A`` or ``M_DC``."""
    ill = "benign" if kind[0] == "B" else "malignant"
    folder = root / f"breakhis/BreaKHis_v1/histology_slides/breast/{ill}/SOB/{TYPES[kind[2:]]}"
    folder = folder / f"SOB_{kind}_{slide}" / f"{magnification}X"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"SOB_{kind}-{slide}-{magnification}-{number:03d}.png"
    Image.fromarray(np.full((16, 20, 3), value, np.uint8)).save(path)
    return path


def load(root: Path, **settings: Any) -> Any:
    return BreaKHisSource(**settings).load(Loading(root=root, size=8, channels=1, seed=0, cache=root))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twelve patients, each at all four magnifications, as published; value: 10 x the number of the slide."""
    for number in range(12):
        for magnification in (40, 100, 200, 400):
            kind = ("B_A", "M_DC", "B_F", "M_LC")[number % 4]
            write(tmp_path, kind, f"14-{22540 + number}AB", magnification, value=10 * number)
    return tmp_path


def test_what_a_name_says(tmp_path: Path) -> None:
    write(tmp_path, "B_A", "14-22549AB", 40, value=10)
    write(tmp_path, "B_A", "14-22549CD", 40, value=20)
    write(tmp_path, "M_DC", "14-2523", 400, value=30)
    table = load(tmp_path, magnifications=("40X", "400X"))
    assert (255 * table.fields["image"][:, 0, 0, 0]).round().tolist() == [10, 20, 30]
    assert table.fields["label"].tolist() == [0, 0, 1]
    assert table.label_names == ("benign", "malignant")
    # Two blocks of one case are one patient.
    assert table.patients == ("breakhis/14-22549", "breakhis/14-22549", "breakhis/14-2523")
    assert table.modalities == ("40X", "40X", "400X")
    assert set(table.institutions) == {"breakhis"}


def test_magnifications_limit_and_tiles(root: Path) -> None:
    assert len(load(root).patients) == 48
    table = load(root, magnifications=("400X", "100X"), limit=2, tile=8, name="north")
    assert table.fields["image"].shape == (2 * 2 * 4, 1, 8, 8)
    assert table.modalities == ("400X",) * 8 + ("100X",) * 8
    assert len(set(table.patients)) == 2
    assert all(name.startswith("north/14-") for name in table.patients)
    assert table.fields["label"].dtype == torch.int64


def rows(client: ClientData) -> list[set[str]]:
    return [set(part.patients) for part in (client.train, client.validation, client.test)]


def test_one_magnification_a_hospital(root: Path) -> None:
    data = DataSettings(root=str(root), size=8, sources=(BreaKHisSource(tile=8),))
    with pytest.raises(DataError, match="one patient into several clients"):
        load_dataset(data, PartitionSettings(kind="modality"), seed=0)
    data = DataSettings(root=str(root), size=8, sources=(BreaKHisSource(tile=8, one_magnification=True),))
    dataset = load_dataset(data, PartitionSettings(kind="modality"), seed=0)
    assert [client.name for client in dataset.clients] == ["40X", "100X", "200X", "400X"]
    held = [patients for client in dataset.clients for patients in rows(client)]
    assert sum(map(len, held)) == len(set.union(*held)) == 12
    assert [len(client.train) for client in dataset.clients] == [4, 4, 4, 4]


def test_magnifications_mixed(root: Path) -> None:
    data = DataSettings(root=str(root), size=8, sources=(BreaKHisSource(tile=8),))
    dataset = load_dataset(data, PartitionSettings(kind="iid", clients=3), seed=0)
    held = [patients for client in dataset.clients for patients in rows(client)]
    assert {client.group for client in dataset.clients} == {"100X+200X+400X+40X"}
    assert sum(map(len, held)) == len(set.union(*held)) == 12
    assert sum(len(part) for c in dataset.clients for part in (c.train, c.validation, c.test)) == 48 * 4


def test_who_has_no_choice_of_magnification_comes_first(tmp_path: Path) -> None:
    write(tmp_path, "B_A", "14-1", 40)
    write(tmp_path, "B_A", "14-1", 100)
    write(tmp_path, "B_A", "14-2", 40)
    table = load(tmp_path, magnifications=("40X", "100X"), one_magnification=True)
    assert list(zip(table.patients, table.modalities, strict=True)) == [
        ("breakhis/14-2", "40X"),
        ("breakhis/14-1", "100X"),
    ]


@pytest.mark.parametrize("name", ["benign_40X.png", "SOB_B_A-14-22549AB-50-001.png", "SOB_B_A-22549AB-40-001.png"])
def test_foreign_names(root: Path, name: str) -> None:
    path = next((root / "breakhis").rglob("*-40-001.png"))
    path.rename(path.with_name(name))
    with pytest.raises(DataError, match=rf"{name}: is not named as BreaKHis's images are.*tile_folder"):
        load(root)


def test_a_name_that_contradicts_its_folders(root: Path) -> None:
    path = next((root / "breakhis").rglob("SOB_B_A-14-22540AB-40-001.png"))
    path.rename(path.with_name("SOB_M_DC-14-22540AB-100-001.png"))
    with pytest.raises(DataError, match=r"by its name it is malignant, 100X, by its folders benign, 40X\. Put it"):
        load(root)


def test_missing_magnification(tmp_path: Path) -> None:
    write(tmp_path, "B_A", "14-1", 400)
    write(tmp_path, "B_A", "14-1", 40)
    with pytest.raises(DataError, match=r"holds no image at 100X, but at 40X, 400X\. .*leave 100X out"):
        load(tmp_path, magnifications=("40X", "100X"))


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"breast: no such folder\. Unpack BreaKHis_v1\.tar\.gz"):
        load(tmp_path)
    (tmp_path / "breakhis/BreaKHis_v1/histology_slides/breast/benign/SOB/adenosis").mkdir(parents=True)
    with pytest.raises(DataError, match="holds no image at 40X, but at no magnification"):
        load(tmp_path)


def test_damaged_and_small_images(root: Path) -> None:
    path = write(root, "B_A", "14-9", 40)
    Image.new("RGB", (20, 7)).save(path)
    with pytest.raises(DataError, match=rf"{path.name}: has 20 x 7 pixels, less than data\.size = 8"):
        load(root)
    Image.new("RGB", (20, 9)).save(path)
    with pytest.raises(DataError, match=rf"{path.name}: it has 20 x 9 pixels, less than a tile of 10 x 10"):
        load(root, tile=10)
    path.write_bytes(b"")
    with pytest.raises(DataError, match=rf"{path.name}: cannot be read as an image"):
        load(root)


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match=r"unknown name '40x'.*Did you mean '40X'"):
        BreaKHisSource(magnifications=("40x",))
    with pytest.raises(ValueError, match=r"magnifications\n.*at least 1 item"):
        BreaKHisSource(magnifications=())
    with pytest.raises(ValueError, match=r"magnifications\n.*'40X' is listed twice"):
        BreaKHisSource(magnifications=("40X", "40X"))
    with pytest.raises(ValueError, match=r"limit\n.*greater than or equal to 0"):
        BreaKHisSource(limit=-1)
    with pytest.raises(ValueError, match=r"tile\n.*greater than or equal to 0"):
        BreaKHisSource(tile=-8)


def test_the_published_images(shared_data: Path) -> None:
    table = load(shared_data, magnifications=("200X", "400X"), tile=230)
    assert table.modalities == ("200X",) * 2 * 6 + ("400X",) * 8 * 6
    assert len(set(table.patients)) == 9
    with pytest.raises(DataError, match="no image at 40X, but at 200X, 400X"):
        load(shared_data)
