from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from omnifm.data.reading import read_image
from omnifm.utils.errors import DataError

UPRIGHT = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10


@pytest.mark.parametrize("name", ["x.png", "x.bmp", "x.gif", "x.webp", "x.pgm", "x.tif", "x.jp2", "x.dat"])
def test_formats_without_loss_whatever_the_name(tmp_path: Path, name: str) -> None:
    kind = {"x.dat": "PNG", "x.jp2": "JPEG2000", "x.pgm": "PPM"}.get(name)
    more = {"x.webp": {"lossless": True}, "x.jp2": {"irreversible": False}}.get(name, {})
    Image.fromarray(UPRIGHT).save(tmp_path / name, kind, **more)
    image = read_image(tmp_path / name)
    grey = image.values[..., 0] if image.colour else image.values
    assert np.array_equal(grey, UPRIGHT)
    assert (image.value_range, image.affine, image.spacing, image.modality) == ((0, 255), None, None, "")


def test_jfif_is_jpeg(tmp_path: Path) -> None:
    Image.new("L", (8, 8), 77).save(tmp_path / "x.jfif", "JPEG")
    assert read_image(tmp_path / "x.jfif").values.tolist() == [[77] * 8] * 8


@pytest.mark.parametrize(
    ("orientation", "stored"), [(3, UPRIGHT[::-1, ::-1]), (6, np.rot90(UPRIGHT, 1)), (2, UPRIGHT[:, ::-1])]
)
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_the_orientation_that_exif_states_is_obeyed(
    tmp_path: Path, orientation: int, stored: np.ndarray, suffix: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / f"x.{suffix}", exif=exif)
    assert np.array_equal(read_image(tmp_path / f"x.{suffix}").values, UPRIGHT)


def test_floating_point_and_32_bits(tmp_path: Path) -> None:
    Image.fromarray(np.float32([[-1.5, 2.5]])).save(tmp_path / "f.tif")
    Image.fromarray(np.int32([[-7, 70_000]])).save(tmp_path / "i.tif")
    floating, integers = read_image(tmp_path / "f.tif"), read_image(tmp_path / "i.tif")
    assert floating.values.tolist() == [[-1.5, 2.5]]
    assert integers.values.tolist() == [[-7, 70_000]]
    assert floating.value_range is None
    assert integers.value_range is None


def pages(path: Path, *values: int, size: tuple[int, int] = (8, 6)) -> None:
    first, *others = [Image.new("L", size, value) for value in values]
    first.save(path, save_all=True, append_images=others)


def test_pages_are_a_volume_or_refused_or_chosen(tmp_path: Path) -> None:
    pages(tmp_path / "x.tif", 10, 20, 30)
    assert read_image(tmp_path / "x.tif").values[:, 0, 0].tolist() == [10, 20, 30]
    assert read_image(tmp_path / "x.tif", "first").values[0, 0] == 10
    middle = read_image(tmp_path / "x.tif", "middle")
    assert (middle.size, middle.values[0, 0]) == ((6, 8), 20)
    with pytest.raises(DataError, match=r"x\.tif: has 3 pages or slices, .* Set pages to 'volume'"):
        read_image(tmp_path / "x.tif", "refuse")


def test_frames_of_gif_count_as_pages(tmp_path: Path) -> None:
    pages(tmp_path / "x.gif", 10, 200)
    with pytest.raises(DataError, match="has 2 pages"):
        read_image(tmp_path / "x.gif", "refuse")


def test_a_thumbnail_in_a_tiff_is_no_page(tmp_path: Path) -> None:
    big, small = Image.new("L", (8, 6), 9), Image.new("L", (4, 3), 9)
    big.save(tmp_path / "x.tif", save_all=True, append_images=[small])
    assert read_image(tmp_path / "x.tif", "refuse").size == (6, 8)


def test_what_is_no_image_is_told_in_plain_words(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    with pytest.raises(DataError, match=r"x\.png: there is no such file\. Correct its path"):
        read_image(path)
    for content, why in ((b"", "it is empty"), (b"hello", "cannot identify its format")):
        path.write_bytes(content)
        with pytest.raises(DataError) as refused:
            read_image(path)
        assert str(refused.value) == f"{path}: cannot be read as an image ({why}). Replace or remove the file."
