from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from omnifm.data.source import Loading
from omnifm.data.tile_folder import TileFolderSource
from omnifm.utils.errors import DataError


def loading(root: Path, size: int = 8, channels: int = 1) -> Loading:
    return Loading(root=root, size=size, channels=channels, seed=0, cache=root)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three images of 33 x 20 pixels, two of patient p0: in tiles of 16, left ones of value 10 n, right ones + 100."""
    (tmp_path / "set/deeper").mkdir(parents=True)
    for number, name in enumerate(("p0-0.png", "p0-1.png", "deeper/p1-2.png")):
        pixels = np.full((20, 33), 10 * number, np.uint8)
        pixels[:, 16:] += 100
        Image.fromarray(pixels).save(tmp_path / "set" / name)
    return tmp_path


def test_every_tile_is_a_row_of_its_patient(root: Path) -> None:
    source = TileFolderSource("set", "histology", pattern="**/*.png", tile=16, patient_pattern=r"(p\d)-", name="north")
    table = source.load(loading(root))
    assert table.fields["image"].shape == (6, 1, 8, 8)
    assert (255 * table.fields["image"].mean(dim=(1, 2, 3))).round().tolist() == [20, 120, 0, 100, 10, 110]
    assert table.patients == ("north/p1",) * 2 + ("north/p0",) * 4
    assert set(table.modalities) == {"histology"}
    assert set(table.institutions) == {"north"}
    assert table.label_names == ()
    assert table.split is None


def test_without_a_pattern_an_image_is_a_patient(root: Path) -> None:
    table = TileFolderSource("set", "histology", pattern="*.png", tile=16, tiles=1).load(loading(root))
    assert table.patients == ("set/p0-0.png", "set/p0-1.png")


def test_whole_images(root: Path) -> None:
    assert len(TileFolderSource("set", "histology").load(loading(root)).fields["image"]) == 2


def test_tiles_of_the_wanted_size_are_not_touched(root: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(root / "set/deeper/noise.png")
    table = TileFolderSource("set/deeper", "histology", pattern="noise*", tile=8).load(loading(root, channels=3))
    assert torch.equal(
        (table.fields["image"][3] * 255).round().permute(1, 2, 0).to(torch.uint8), torch.tensor(pixels)[8:, 8:]
    )


def test_images_that_are_too_small(root: Path) -> None:
    with pytest.raises(DataError, match=r"p0-0\.png: it has 33 x 20 pixels, less than a tile of 24 x 24\. Lower tile"):
        TileFolderSource("set", "histology", tile=24).load(loading(root))
    with pytest.raises(
        DataError, match=r"p0-0\.png: has 33 x 20 pixels, less than data\.size = 32; .*Lower data\.size"
    ):
        TileFolderSource("set", "histology").load(loading(root, size=32))
    with pytest.raises(DataError, match=r"tile = 8 is smaller than data\.size = 16: .*enlarged"):
        TileFolderSource("set", "histology", tile=8).load(loading(root, size=16))


def test_missing_and_empty_folders(root: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: no such folder"):
        TileFolderSource("nowhere", "histology").load(loading(root))
    (root / "empty").mkdir()
    (root / "empty/notes.txt").write_text("none yet")
    with pytest.raises(DataError, match=r"empty: holds no image that matches pattern = '\*'"):
        TileFolderSource("empty", "histology").load(loading(root))
    with pytest.raises(DataError, match=r"pattern = 'q\*'.*correct pattern"):
        TileFolderSource("set", "histology", pattern="q*").load(loading(root))


def test_damaged_image_is_named(root: Path) -> None:
    path = root / "set/p0-1.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=r"p0-1\.png: cannot be read as an image"):
        TileFolderSource("set", "histology").load(loading(root))


def test_settings_are_checked(root: Path) -> None:
    with pytest.raises(ValueError, match=r"modality\n.*at least 1 character"):
        TileFolderSource("set", modality="")
    with pytest.raises(ValueError, match=r"tile\n.*greater than or equal to 0"):
        TileFolderSource("set", "histology", tile=-1)
    with pytest.raises(ValueError, match="tiles = 2, but tile = 0"):
        TileFolderSource("set", "histology", tiles=2)
    with pytest.raises(ValueError, match="has 2 groups"):
        TileFolderSource("set", "histology", patient_pattern="(a)(b)")
    with pytest.raises(DataError, match=r"'p0-0\.png' does not match patient_pattern"):
        TileFolderSource("set", "histology", patient_pattern="(q)").load(loading(root))


def test_monuseg(shared_data: Path) -> None:
    source = TileFolderSource("monuseg/images", "histology", pattern="*.jpg", tile=250, tiles=3)
    table = source.load(loading(shared_data, size=32, channels=3))
    assert table.fields["image"].shape == (14 * 3, 3, 32, 32)
    assert len(set(table.patients)) == 14
