from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from omnifm.data.image_folder import ImageFolderSource, read_image
from omnifm.data.source import Loading
from omnifm.utils.errors import DataError


def loading(root: Path, size: int = 8, channels: int = 1) -> Loading:
    return Loading(root=root, size=size, channels=channels, seed=0, cache=root)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of three 8 x 8 images: p0-0.png (patient 0), p0-1.png, p1-2.png, of value 10 * number."""
    for name in ("ill", "well"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(3):
            pixels = np.full((8, 8), 10 * number, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "set" / name / f"p{number // 2}-{number}.png")
    return tmp_path


def test_published_counts(shared_data: Path) -> None:
    table = ImageFolderSource("mednist", "mixed").load(loading(shared_data, size=16))
    assert table.label_names == ("AbdomenCT", "BreastMRI", "CXR", "ChestCT", "Hand", "HeadCT")
    assert torch.bincount(table.fields["label"]).tolist() == [600] * 6
    assert table.fields["image"].shape == (3600, 1, 16, 16)
    assert len(set(table.patients)) == 3600
    assert table.split is None


def test_reads_classes_in_the_order_asked_for(root: Path) -> None:
    table = ImageFolderSource("set", "CT", classes=("well", "ill"), name="north").load(loading(root))
    assert table.label_names == ("well", "ill")
    assert table.fields["label"].tolist() == [0, 0, 0, 1, 1, 1]
    assert (255 * table.fields["image"][:, 0, 0, 0]).round().tolist() == [0, 10, 20, 0, 10, 20]
    assert table.patients[0] == "north/well/p0-0.png"
    assert set(table.modalities) == {"CT"}
    assert set(table.institutions) == {"north"}


def test_limit_is_per_class_and_evenly_spaced(root: Path) -> None:
    table = ImageFolderSource("set", "CT", limit=1).load(loading(root))
    assert table.patients == ("set/ill/p0-1.png", "set/well/p0-1.png")


def test_patients_by_pattern(root: Path) -> None:
    table = ImageFolderSource("set", "CT", patient_pattern=r"/(p\d+)-").load(loading(root))
    assert table.patients == ("set/p0", "set/p0", "set/p1") * 2
    with pytest.raises(DataError, match=r"p0-0\.png: 'ill/p0-0\.png' does not match patient_pattern"):
        ImageFolderSource("set", "CT", patient_pattern=r"/(q\d+)-").load(loading(root))


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "bmp", "tif", "tiff", "PNG"])
def test_every_format_and_colour(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "set/a/deeper").mkdir(parents=True)
    Image.new("RGB", (20, 10), (255, 0, 0)).save(tmp_path / f"set/a/deeper/x.{suffix}")
    table = ImageFolderSource("set", "photograph").load(loading(tmp_path, channels=3))
    assert table.fields["image"].shape == (1, 3, 8, 8)
    assert torch.allclose(table.fields["image"].mean(dim=(0, 2, 3)), torch.tensor([1.0, 0, 0]), atol=0.01)


def test_sixteen_bits_keep_their_depth(tmp_path: Path) -> None:
    pixels = np.arange(64, dtype=np.uint16).reshape(8, 8) + 1000
    for suffix in ("png", "tif"):
        Image.fromarray(pixels).save(tmp_path / f"x.{suffix}")
        assert np.array_equal(read_image(tmp_path / f"x.{suffix}"), pixels)


def test_palettes_and_transparency_become_plain(tmp_path: Path) -> None:
    for mode in ("1", "LA", "P", "RGBA"):
        Image.new(mode, (4, 4)).save(tmp_path / "x.png")
        assert read_image(tmp_path / "x.png").shape in {(4, 4), (4, 4, 3)}


@pytest.mark.parametrize("keep", [0, 20, 45])
def test_damaged_image_is_named(root: Path, keep: int) -> None:
    path = root / "set/well/p0-1.png"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"well.p0-1\.png: cannot be read as an image"):
        ImageFolderSource("set", "CT").load(loading(root))


def test_unknown_ranges_are_refused(tmp_path: Path) -> None:
    Image.new("F", (4, 4)).save(tmp_path / "x.tif")
    with pytest.raises(DataError, match="floating-point"):
        read_image(tmp_path / "x.tif")
    Image.new("I", (4, 4), 70000).save(tmp_path / "x.tif")
    with pytest.raises(DataError, match="16 bits"):
        read_image(tmp_path / "x.tif")


def test_missing_folder_and_classes(root: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: no such folder.*<class>/<image>"):
        ImageFolderSource("nowhere", "CT").load(loading(root))
    with pytest.raises(DataError, match="has no subfolders"):
        ImageFolderSource("set/ill", "CT").load(loading(root))
    with pytest.raises(DataError, match=r"has no class 'wel'.*Did you mean 'well'"):
        ImageFolderSource("set", "CT", classes=("wel",)).load(loading(root))


def test_empty_class(root: Path) -> None:
    (root / "set/zero").mkdir()
    (root / "set/zero/notes.txt").write_text("none yet")
    with pytest.raises(DataError, match=r"zero: holds no image"):
        ImageFolderSource("set", "CT").load(loading(root))


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match=r"modality\n.*at least 1 character"):
        ImageFolderSource("set", modality="")
    with pytest.raises(ValueError, match=r"classes\n.*'a' is listed twice"):
        ImageFolderSource("set", "CT", classes=("a", "a"))
    with pytest.raises(ValueError, match=r"limit\n.*greater than or equal to 0"):
        ImageFolderSource("set", "CT", limit=-1)
    with pytest.raises(ValueError, match="has 0 groups"):
        ImageFolderSource("set", "CT", patient_pattern="p")
    with pytest.raises(ValueError, match=r"patient_pattern\n.*'\(' is no regular expression"):
        ImageFolderSource("set", "CT", patient_pattern="(")
