from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from omnifm.data.image_folder import ImageFolderSource
from omnifm.data.reading import IntensityRule, read_image
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
        assert np.array_equal(read_image(tmp_path / f"x.{suffix}").values, pixels)


def test_palettes_and_transparency_become_plain(tmp_path: Path) -> None:
    for mode in ("1", "LA", "P", "RGBA"):
        Image.new(mode, (4, 4)).save(tmp_path / "x.png")
        assert read_image(tmp_path / "x.png").values.shape in {(4, 4), (4, 4, 3)}


@pytest.mark.parametrize("keep", [0, 20, 45])
def test_damaged_image_is_named(root: Path, keep: int) -> None:
    path = root / "set/well/p0-1.png"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"well.p0-1\.png: cannot be read as an image"):
        ImageFolderSource("set", "CT").load(loading(root))


def test_unknown_ranges_are_refused(tmp_path: Path) -> None:
    for kind in ("F", "I"):
        Image.new(kind, (4, 4), 70000).save(tmp_path / "x.tif")
        image = read_image(tmp_path / "x.tif")
        assert image.value_range is None
        with pytest.raises(DataError, match=r"x\.tif: neither its type \(.*32\) nor its header says.*Set bits"):
            IntensityRule("full_range").apply(image)


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


def write(root: Path, *names: str, value: int = 200) -> None:
    for name in names:
        path = root / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.tile(np.uint8([0, value]), (8, 4))).save(path, "JPEG" if path.suffix == ".jfif" else "PNG")


@pytest.mark.parametrize("layout", ["{split}/{cls}/{name}.png", "{cls}/{split}/{name}.png"])
def test_folders_of_splits_are_the_published_split(tmp_path: Path, layout: str) -> None:
    for split in ("Train", "valid", "test"):
        for cls in ("ill", "well"):
            write(tmp_path, layout.format(split=split, cls=cls, name=0))
    table = ImageFolderSource("set", "CT").load(loading(tmp_path))
    assert table.label_names == ("ill", "well")
    assert sorted(table.split or ()) == ["test"] * 2 + ["train"] * 2 + ["validation"] * 2
    assert [patient.split("/")[1 if layout[1] == "s" else 2] for patient in table.patients[:2]]
    assert all(split[:4] in patient.lower() for split, patient in zip(table.split or (), table.patients, strict=True))


def test_splits_beside_other_folders_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "train/a/0.png", "test/a/0.png", "more/a/0.png")
    with pytest.raises(DataError, match=r"set: has the folders test and train, which are splits, and .* 'more'"):
        ImageFolderSource("set", "CT").load(loading(tmp_path))


def test_one_folder_called_test_is_a_class(tmp_path: Path) -> None:
    write(tmp_path, "test/0.png", "control/0.png")
    table = ImageFolderSource("set", "CT").load(loading(tmp_path))
    assert (table.label_names, table.split) == (("control", "test"), None)


def test_litter_is_passed_over_without_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "a/0.png", "b/0.png", "a/.ipynb_checkpoints/0.png", "a/__MACOSX/1.png")
    for name in ("__MACOSX/._0.png", "a/._0.png", "a/.DS_Store", "b/Thumbs.db", "b/desktop.ini"):
        (tmp_path / "set" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "set" / name).write_bytes(b"litter")
    table = ImageFolderSource("set", "CT").load(loading(tmp_path))
    assert table.patients == ("set/a/0.png", "set/b/0.png")
    assert not caplog.text


def test_other_files_are_counted_and_masks_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "a/x.png", "a/x_mask.png", "a/x_mask_1.png", "a/y.jfif", "a/gas_mask.png")
    for name in ("notes.txt", "more.txt", "scan.svg"):
        (tmp_path / "set/a" / name).write_text("no image")
    (tmp_path / "set/a/report.dcm").write_bytes(b"\0" * 128 + b"DICM")
    table = ImageFolderSource("set", "CT").load(loading(tmp_path))
    assert [patient.rpartition("/")[2] for patient in table.patients] == ["gas_mask.png", "x.png", "y.jfif"]
    assert re.search(
        r"4 files were passed over, which hold no image \(PNG, .*\): 2 x \.txt, 1 x \.dcm and 1 x \.svg", caplog.text
    )
    assert "2 files were passed over, which look like masks of the images beside them, such as x_mask" in caplog.text


def test_twelve_bits_in_sixteen_are_seen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "set/a").mkdir(parents=True)
    Image.fromarray(np.tile(np.uint16([0, 4000]), (8, 4))).save(tmp_path / "set/a/0.png")
    assert ImageFolderSource("set", "CT").load(loading(tmp_path)).fields["image"].max() == pytest.approx(4000 / 4095)
    assert not caplog.text
    dark = ImageFolderSource("set", "CT", intensity=IntensityRule("full_range", bits=16))
    assert dark.load(loading(tmp_path)).fields["image"].max() < 0.07
    assert "1 of 1 images (such as" in caplog.text
    assert "use less than a tenth of the range in which intensity = 'full_range' reads them" in caplog.text
    Image.fromarray(np.tile(np.uint16([0, 60000]), (8, 4))).save(tmp_path / "set/a/1.png")
    ImageFolderSource("set", "CT").load(loading(tmp_path))
    assert "16 bits are read up to 4095 (such as" in caplog.text


def test_pages_as_the_settings_say(tmp_path: Path) -> None:
    (tmp_path / "set/a").mkdir(parents=True)
    first, second = (Image.new("L", (8, 8), value) for value in (10, 250))
    first.save(tmp_path / "set/a/0.tif", save_all=True, append_images=[second, first])
    with pytest.raises(DataError, match=r"0\.tif: has 3 pages"):
        ImageFolderSource("set", "CT").load(loading(tmp_path))
    shapes = {"first": (1, 1, 8, 8), "slices": (3, 1, 8, 8), "volume": (1, 1, 8, 8, 8)}
    for pages, shape in shapes.items():
        assert ImageFolderSource("set", "CT", pages=pages).load(loading(tmp_path)).fields["image"].shape == shape
    write(tmp_path, "a/flat.png")
    with pytest.raises(DataError, match=r"flat\.png: has 2 axes, but .*0\.tif has 3"):
        ImageFolderSource("set", "CT", pages="volume").load(loading(tmp_path))
