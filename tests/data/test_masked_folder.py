from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from omnifm.data.mask_regions import Region
from omnifm.data.masked_folder import MaskedFolderSource
from omnifm.data.source import Loading
from omnifm.utils.errors import DataError


def loading(root: Path, size: int = 8, channels: int = 1) -> Loading:
    return Loading(root=root, size=size, channels=channels, seed=0, cache=root)


def source(**changes: Any) -> MaskedFolderSource:
    settings = {
        "folder": "set",
        "modality": "fundus",
        "region": "vessel",
        "images": "*.png",
        "masks": "masks/{name}.png",
    }
    return MaskedFolderSource(**{**settings, **changes})


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Images p0-0, p0-1, p1-2 of 8 x 16 pixels, dark to the left; the mask is the brighter right half."""
    for number in range(3):
        pixels = np.zeros((8, 16), np.uint8)
        pixels[:, 8:] = 100 + number
        save(tmp_path / f"set/p{number // 2}-{number}.png", pixels)
        save(tmp_path / f"set/masks/p{number // 2}-{number}.png", (pixels > 0).astype(np.uint8) * 255)
    return tmp_path


def test_an_image_and_its_mask(root: Path) -> None:
    table = source(patient_pattern=r"(p\d)-", name="north").load(loading(root))
    assert table.fields["image"].shape == (3, 1, 8, 8)
    assert table.fields["mask"].shape == (3, 1, 8, 8)
    assert table.fields["mask"].dtype == torch.uint8
    assert (table.fields["mask"][:, 0, :, :4] == 0).all()
    assert (table.fields["mask"][:, 0, :, 4:] == 1).all()
    assert (255 * table.fields["image"][:, 0, 0, -1]).round().tolist() == [100, 101, 102]
    assert table.label_names == ("vessel",)
    assert table.patients == ("north/p0", "north/p0", "north/p1")
    assert table.modalities == ("fundus",) * 3
    assert table.institutions == ("north",) * 3


def test_tiles_belong_to_the_patient_of_their_image(root: Path) -> None:
    table = source(patient_pattern=r"(p\d)-", tile=8).load(loading(root))
    assert len(table) == 6
    assert table.patients == ("set/p0",) * 4 + ("set/p1",) * 2
    assert table.fields["mask"].float().mean(dim=(1, 2, 3)).tolist() == [0, 1] * 3
    assert (255 * table.fields["image"][:, 0, 0, 0]).round().tolist() == [0, 100, 0, 101, 0, 102]


def test_tiles_are_centred(root: Path) -> None:
    table = source(tile=7, limit=1).load(loading(root, size=7))
    # Of 16 columns 1 to 7 and 8 to 14, of 8 rows 0 to 6.
    assert table.fields["mask"].float().mean(dim=(1, 2, 3)).tolist() == [0, 1]


def test_colour_and_limit(root: Path) -> None:
    table = source(limit=2).load(loading(root, channels=3))
    assert table.fields["image"].shape == (2, 3, 8, 8)
    assert table.patients == ("set/p0-0.png", "set/p1-2.png")


def test_a_jpeg_mask_needs_a_threshold(root: Path) -> None:
    grey = np.tile(np.arange(0, 256, 16, dtype=np.uint8), (8, 1))
    save(root / "set/masks/p0-1.png", grey)
    with pytest.raises(DataError, match=r"p0-1.png: a mask has two values, and this has 16.*threshold = 128"):
        source().load(loading(root))
    mask = source(threshold=128).load(loading(root, size=16)).fields["mask"]
    assert mask[1, 0, 0].tolist() == [0] * 8 + [1] * 8


def test_bilevel_masks_and_those_of_0_and_1(root: Path) -> None:
    expected = source().load(loading(root)).fields["mask"]
    inside = np.zeros((8, 16), bool)
    inside[:, 8:] = True
    save(root / "set/masks/p0-0.png", inside)
    save(root / "set/masks/p0-1.png", inside.astype(np.uint8))
    assert torch.equal(source().load(loading(root)).fields["mask"], expected)


def test_an_empty_mask_is_allowed_and_said(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(root / "set/masks/p0-1.png", np.zeros((8, 16), np.uint8))
    with caplog.at_level(logging.WARNING, "omnifm"):
        table = source().load(loading(root))
    assert not table.fields["mask"][1].any()
    assert "p0-1.png and 0 other images show no vessel" in caplog.text


def test_an_image_and_a_mask_of_different_size(root: Path) -> None:
    save(root / "set/masks/p1-2.png", np.zeros((8, 15), np.uint8))
    with pytest.raises(DataError, match=r"masks/p1-2.png: the mask has 8 x 15 pixels, but its image p1-2.png 8 x 16"):
        source().load(loading(root))


def test_a_missing_mask(root: Path) -> None:
    (root / "set/masks/p0-0.png").unlink()
    with pytest.raises(DataError, match=r"set/p0-0.png: there is no mask .*set/masks/p0-0.png"):
        source().load(loading(root))


def test_a_mask_of_fractions(root: Path) -> None:
    for name in ("p0-0", "p0-1", "p1-2"):
        Image.fromarray(np.full((8, 16), 0.3, np.float32)).save(root / f"set/masks/{name}.tif")
    with pytest.raises(DataError, match=r"p0-0.tif: a mask holds whole numbers, but this 0\.3"):
        source(masks="masks/{name}.tif").load(loading(root))


def test_a_damaged_image(root: Path) -> None:
    (root / "set/p0-1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"p0-1.png: cannot be read as an image"):
        source().load(loading(root))


def test_tiles_larger_than_the_image(root: Path) -> None:
    with pytest.raises(DataError, match=r"p0-0.png: it has 16 x 8 pixels, less than a tile of 9 x 9. Lower tile"):
        source(tile=9).load(loading(root))


def test_no_images(root: Path) -> None:
    with pytest.raises(DataError, match=r"set: holds no image '\*.bmp'"):
        source(images="*.bmp").load(loading(root))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"masks": "mask.png"}, "must hold {name}"),
        ({"modality": ""}, "modality\n.*at least 1 character"),
        ({"region": ""}, "name the region that the masks show"),
        ({"regions": (Region("a", values=(1,)),)}, "and not both"),
        ({"tile": 4, "pages": "volume"}, "tile cuts images, and not volumes"),
        ({"masks": "{nam}/{name}.png"}, "holds {nam}, but known are"),
        ({"masks": "../{name}*.png"}, "leads out of the folder"),
        ({"threshold": 256}, "threshold\n.*less than or equal to 255"),
        ({"tile": -1}, "tile\n.*greater than or equal to 0"),
        ({"patient_pattern": "p"}, "has 0 groups, not one"),
    ],
)
def test_settings_are_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        source(**changes)


def test_the_published_fundus_set(shared_data: Path) -> None:
    chase = source(
        folder="chase_db1", images="Image_*.jpg", masks="{name}_1stHO.png", patient_pattern="Image_(..)", limit=4
    )
    table = chase.load(loading(shared_data, size=96))
    assert table.patients == ("chase_db1/02", "chase_db1/06", "chase_db1/09", "chase_db1/13")
    assert (table.fields["mask"].float().mean(dim=(1, 2, 3)) > 0.02).all()
    # Vessels are darker than what lies about them.
    image, mask = table.fields["image"], table.fields["mask"].bool()
    assert (image - torch.nn.functional.avg_pool2d(image, 9, 1, 4))[mask].mean() < -0.005
    observers = [
        s.load(loading(shared_data, size=960)).fields["mask"].bool() for s in (chase_of("1st"), chase_of("2nd"))
    ]
    overlap = (observers[0] & observers[1]).sum() * 2 / (observers[0].sum() + observers[1].sum())
    assert 0.6 < overlap < 0.95


def chase_of(observer: str) -> MaskedFolderSource:
    return source(folder="chase_db1", images="Image_01L.jpg", masks=f"{{name}}_{observer}HO.png")


def test_the_published_histology_set(shared_data: Path) -> None:
    monuseg = source(
        folder="monuseg", images="images/*.jpg", masks="masks/{name}.jpg", threshold=128, limit=2, tile=250
    )
    table = monuseg.load(loading(shared_data, size=48, channels=3))
    assert table.fields["image"].shape == (32, 3, 48, 48)
    assert len(set(table.patients)) == 2
    mask = table.fields["mask"].bool()
    assert 0.1 < mask.float().mean() < 0.5
    # Nuclei are stained dark.
    grey = table.fields["image"].mean(dim=1, keepdim=True)
    assert grey[mask].mean() < grey[~mask].mean()


def test_images_that_would_share_a_mask_are_refused(tmp_path: Path) -> None:
    for patient in ("a", "b"):
        save(tmp_path / f"set/images/{patient}/0.png", np.zeros((8, 8), np.uint8))
        save(tmp_path / f"set/drawn/{patient}/0.png", np.uint8([[0] * 4 + [9] * 4] * 8))
    save(tmp_path / "set/masks/0.png", np.zeros((8, 8), np.uint8))
    with pytest.raises(DataError, match=r"masks/0\.png: would be the mask of both .*a/0\.png and .*b/0\.png"):
        source(images="images/*/*.png").load(loading(tmp_path))
    table = source(images="images/*/*.png", masks="drawn/{parent}/{name}.png").load(loading(tmp_path))
    assert table.fields["mask"].sum(dim=(1, 2, 3)).tolist() == [32, 32]


def test_masks_beside_their_images_are_united_and_no_images(tmp_path: Path) -> None:
    for name, inside in (("x (1)_mask", slice(0, 2)), ("x (1)_mask_1", slice(6, 8)), ("y[2]_mask", slice(0, 4))):
        values = np.zeros((8, 8), np.uint8)
        values[:, inside] = 255
        save(tmp_path / f"set/deep/{name}.png", values)
    for name in ("x (1)", "y[2]"):
        save(tmp_path / f"set/deep/{name}.png", np.full((8, 8), 90, np.uint8))
    table = source(images="*/*.png", masks="{folder}/{name}_mask*.png").load(loading(tmp_path))
    assert table.patients == ("set/deep/x (1).png", "set/deep/y[2].png")
    assert table.fields["mask"][:, 0, 0].tolist() == [[1, 1, 0, 0, 0, 0, 1, 1], [1, 1, 1, 1, 0, 0, 0, 0]]


def test_regions_by_colour(root: Path) -> None:
    for number in range(3):
        drawn = np.zeros((8, 16, 3), np.uint8)
        drawn[:, :4, 0] = drawn[:, 12:, 1] = 255
        save(root / f"set/masks/p{number // 2}-{number}.png", drawn)
    with pytest.raises(DataError, match=r"p0-0\.png: the mask shows #000000, #00ff00 and #ff0000"):
        source().load(loading(root))
    regions = (Region("cyst", colours=("#ff0000",)), Region("node", colours=("#00ff00",)))
    table = source(region="", regions=regions).load(loading(root))
    assert table.label_names == ("cyst", "node")
    assert table.fields["mask"][0, :, 0].tolist() == [[1, 1, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1, 1]]


def test_a_photograph_turned_by_its_exif_lies_under_its_mask(root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    with Image.open(root / "set/p0-0.png") as upright:
        upright.rotate(180).save(root / "set/p0-0.png", exif=exif)
    table = source().load(loading(root))
    assert (table.fields["image"][0, 0, 0] > 0.2).tolist() == [False] * 4 + [True] * 4
    assert table.fields["mask"][0, 0, 0].tolist() == [0] * 4 + [1] * 4


def test_volumes_whole_or_slice_by_slice(tmp_path: Path) -> None:
    values, drawn = np.zeros((8, 8, 4), np.int16), np.zeros((8, 8, 4), np.uint8)
    drawn[:4, :, 2] = 1
    for name, what in (("images", values), ("masks", drawn)):
        (tmp_path / "set" / name).mkdir(parents=True)
        nibabel.save(nibabel.Nifti1Image(what, np.diag([-2.0, -2.0, 3.0, 1.0])), tmp_path / f"set/{name}/x.nii.gz")
    volumes = {"images": "images/*", "masks": "masks/{name}.nii.gz"}
    with pytest.raises(DataError, match=r"x\.nii\.gz: has 4 pages or slices"):
        source(**volumes).load(loading(tmp_path))
    table = source(**volumes, pages="slices").load(loading(tmp_path))
    assert table.fields["mask"].sum(dim=(1, 2, 3)).tolist() == [0, 0, 32, 0]
    assert table.fields["mask"][2, 0, 0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert table.fields["spacing"].tolist() == [[2, 2]] * 4
    assert len(set(table.patients)) == 1
    cube = source(**volumes, pages="volume").load(loading(tmp_path))
    assert cube.fields["mask"].shape == (1, 1, 8, 8, 8)
    assert cube.fields["spacing"].tolist() == [[1.5, 2, 2]]


def test_folders_of_splits_are_the_published_split(root: Path) -> None:
    for number, split in enumerate(("train", "val", "test")):
        name = f"p{number // 2}-{number}.png"
        for kind in ("", "masks/"):
            (root / f"set/{split}/{kind}").mkdir(parents=True, exist_ok=True)
            (root / f"set/{kind}{name}").rename(root / f"set/{split}/{kind}{name}")
    table = source(images="*/*.png", masks="{folder}/masks/{name}.png").load(loading(root))
    assert table.split == ("test", "train", "validation")
