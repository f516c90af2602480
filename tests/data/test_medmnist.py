from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from omnifm.data.medmnist import SETS, MedMNISTSource
from omnifm.data.source import Loading
from omnifm.utils.errors import DataError


def loading(root: Path, size: int = 28, channels: int = 1) -> Loading:
    return Loading(root=root, size=size, channels=channels, seed=0, cache=root)


def arrays(name: str, rows: int = 4, pixels: int = 28) -> dict[str, NDArray[Any]]:
    published = SETS[name]
    shape = (rows, pixels, pixels) + ((3,) if published.channels == 3 else ())
    columns = len(published.classes) if published.multi_label else 1
    made: dict[str, NDArray[Any]] = {}
    for short in ("train", "val", "test"):
        made[f"{short}_images"] = np.full(shape, 51, np.uint8)
        made[f"{short}_labels"] = np.arange(rows * columns, dtype=np.uint8).reshape(rows, columns) % 2
    return made


def write(root: Path, file: str, made: dict[str, NDArray[Any]]) -> Path:
    path = root / "medmnist" / file
    path.parent.mkdir(exist_ok=True)
    np.savez(path, **made)
    return path


@pytest.mark.parametrize(
    ("name", "sizes", "classes"),
    [
        ("breastmnist", (546, 78, 156), {"breastmnist/malignant": 147, "breastmnist/normal or benign": 399}),
        (
            "pneumoniamnist",
            (4708, 524, 624),
            {"pneumoniamnist/normal": 1214, "pneumoniamnist/pneumonia": 3494},
        ),
    ],
)
def test_published_counts(shared_data: Path, name: str, sizes: tuple[int, int, int], classes: dict[str, int]) -> None:
    table = MedMNISTSource(name).load(loading(shared_data))
    assert table.split is not None
    assert Counter(table.split) == dict(zip(("train", "validation", "test"), sizes, strict=True))
    train = table.fields["label"][: sizes[0]].tolist()
    assert Counter(table.label_names[label] for label in train) == classes
    assert table.fields["image"].shape == (sum(sizes), 1, 28, 28)
    assert len(set(table.patients)) == len(table) == sum(sizes)
    assert table.patients[12] == f"{name}/train/000012"
    assert set(table.institutions) == {name}


def test_images_are_those_of_the_file(shared_data: Path) -> None:
    table = MedMNISTSource("breastmnist").load(loading(shared_data))
    with np.load(shared_data / "medmnist/breastmnist.npz") as file:
        expected = torch.from_numpy(file["val_images"][3].astype(np.float32) / 255)
    assert torch.equal(table.fields["image"][546 + 3, 0], expected)


@pytest.mark.parametrize("name", SETS)
def test_every_set_reads_in_its_published_shape(tmp_path: Path, name: str) -> None:
    write(tmp_path, f"{name}.npz", arrays(name))
    table = MedMNISTSource(name).load(loading(tmp_path, size=32, channels=3))
    assert table.fields["image"].shape == (12, 3, 32, 32)
    assert torch.allclose(table.fields["image"], torch.tensor(0.2))
    assert len(set(table.label_names)) == len(SETS[name].classes)
    assert set(table.modalities) == {SETS[name].modality}


def test_numbers_of_classes_are_those_of_the_paper() -> None:
    counts = {name: len(published.classes) for name, published in SETS.items()}
    assert counts == {
        "pathmnist": 9,
        "chestmnist": 14,
        "dermamnist": 7,
        "octmnist": 4,
        "pneumoniamnist": 2,
        "retinamnist": 5,
        "breastmnist": 2,
        "bloodmnist": 8,
        "tissuemnist": 8,
        "organamnist": 11,
        "organcmnist": 11,
        "organsmnist": 11,
    }


def test_chestmnist_has_several_labels(tmp_path: Path) -> None:
    made = arrays("chestmnist")
    write(tmp_path, "chestmnist.npz", made)
    label = MedMNISTSource("chestmnist").load(loading(tmp_path)).fields["label"]
    assert label.shape == (12, 14)
    assert label[:4].tolist() == made["train_labels"].tolist()


def test_larger_pixels_are_another_file(tmp_path: Path) -> None:
    write(tmp_path, "octmnist_64.npz", arrays("octmnist", pixels=64))
    table = MedMNISTSource("octmnist", pixels=64, name="eye clinic").load(loading(tmp_path, size=16))
    assert table.fields["image"].shape == (12, 1, 16, 16)
    assert set(table.institutions) == {"eye clinic"}


def test_limit_takes_evenly_spaced_rows_of_each_split(shared_data: Path) -> None:
    table = MedMNISTSource("breastmnist", limit=2).load(loading(shared_data))
    assert table.patients == tuple(
        f"breastmnist/{split}/{row:06d}"
        for split, rows in (("train", (136, 409)), ("validation", (19, 58)), ("test", (39, 117)))
        for row in rows
    )


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="Did you mean 'breastmnist'"):
        MedMNISTSource("brestmnist")
    with pytest.raises(ValueError, match=r"pixels\n.*28, 64, 128 or 224"):
        MedMNISTSource("breastmnist", pixels=32)
    with pytest.raises(ValueError, match=r"limit\n.*greater than or equal to 0"):
        MedMNISTSource("breastmnist", limit=-1)


def test_missing_file_names_path_and_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"medmnist.breastmnist_64\.npz: no such file.*medmnist\.com.*Zenodo"):
        MedMNISTSource("breastmnist", pixels=64).load(loading(tmp_path))


def test_truncated_file(tmp_path: Path) -> None:
    path = write(tmp_path, "breastmnist.npz", arrays("breastmnist"))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"breastmnist\.npz: damaged"):
        MedMNISTSource("breastmnist").load(loading(tmp_path))


def test_flipped_bytes(tmp_path: Path) -> None:
    path = write(tmp_path, "breastmnist.npz", arrays("breastmnist"))
    content = bytearray(path.read_bytes())
    content[500] ^= 255
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"breastmnist\.npz: damaged"):
        MedMNISTSource("breastmnist").load(loading(tmp_path))


def test_missing_array(tmp_path: Path) -> None:
    made = arrays("breastmnist")
    del made["val_labels"]
    write(tmp_path, "breastmnist.npz", made)
    with pytest.raises(DataError, match="has no array 'val_labels'"):
        MedMNISTSource("breastmnist").load(loading(tmp_path))


def test_object_arrays_are_never_unpickled(tmp_path: Path) -> None:
    write(tmp_path, "breastmnist.npz", arrays("breastmnist") | {"test_images": np.array([{}, []], dtype=object)})
    with pytest.raises(DataError, match=r"breastmnist\.npz: damaged.*Object arrays"):
        MedMNISTSource("breastmnist").load(loading(tmp_path))


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("val_images", np.zeros((4, 27, 28), np.uint8)),
        ("val_images", np.zeros((4, 28, 28, 3), np.uint8)),
        ("val_images", np.zeros((4, 28, 28), np.float32)),
        ("val_labels", np.zeros(4, np.uint8)),
        ("val_labels", np.zeros((3, 1), np.uint8)),
        ("val_labels", np.zeros((4, 1), np.float32)),
    ],
)
def test_wrong_shape_or_type(tmp_path: Path, name: str, array: NDArray[Any]) -> None:
    write(tmp_path, "breastmnist.npz", arrays("breastmnist") | {name: array})
    with pytest.raises(DataError, match=rf"breastmnist\.npz: {name} is {array.dtype}"):
        MedMNISTSource("breastmnist").load(loading(tmp_path))


def test_label_out_of_range_names_row_and_value(tmp_path: Path) -> None:
    made = arrays("breastmnist")
    made["test_labels"][2, 0] = 7
    write(tmp_path, "breastmnist.npz", made)
    with pytest.raises(DataError, match=r"breastmnist\.npz: test_labels, row 2, is 7, but must be 0 to 1"):
        MedMNISTSource("breastmnist").load(loading(tmp_path))
