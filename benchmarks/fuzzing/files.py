"""Small whole files of every format that is read, and what goes wrong with files."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import nibabel
import nrrd
import numpy as np
from PIL import Image
from pydicom.data import get_testdata_file

_EXTREMES = (b"\xff" * 4, b"\0" * 4, b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\xff\xff\xff\x7f", b"\x80\0\0\0")
_HEADER = 352
_DICOM = (
    *("MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_jp2klossless.dcm"),
    *("MR_small_jpeg_ls_lossless.dcm", "SC_rgb_small_odd.dcm", "SC_rgb_jpeg_gdcm.dcm", "SC_rgb_rle_2frame.dcm"),
    *("SC_rgb_small_odd_jpeg.dcm", "rtdose_1frame.dcm", "liver_1frame.dcm", "CT_small.dcm"),
)
TABLES = (".csv", ".tsv", ".parquet")
"""The endings of the files that hold tables; all others hold images."""


def mutated(whole: bytes, chosen: Random) -> bytes:
    """Return a file with one to eight changes, most of them near its beginning, where the header is."""
    data = bytearray(whole)
    for _ in range(chosen.choice((1, 2, 8))):
        place = chosen.randrange(min(len(data), _HEADER) if chosen.random() < 0.7 else len(data))
        kind = chosen.randrange(5)
        if kind == 0:
            data[place] = chosen.randrange(256)
        elif kind == 1:
            data[place] ^= 1 << chosen.randrange(8)
        elif kind == 2:
            data[place : place + 4] = chosen.choice(_EXTREMES)
        elif kind == 3:
            data[place:place] = data[: chosen.randrange(64)]
        else:
            del data[max(1, place) :]
    return bytes(data)


def whole_files() -> dict[str, bytes]:
    """Return files that can be read, by name."""
    with TemporaryDirectory() as folder:
        return {**dict(_pictures()), **_volumes(Path(folder)), **_dicom(), **_tables()}


def odd(files: dict[str, bytes], chosen: Random) -> tuple[str, bytes]:
    """Return a name and the content of a file that is damaged, or is not what its name says."""
    name = chosen.choice(sorted(files))
    whole, other = files[name], files[chosen.choice(sorted(files))]
    kind = chosen.randrange(12)
    if kind == 0:
        return name, other  # under a wrong name
    if kind == 1:
        return name, chosen.choice((b"", b"\0" * 500, chosen.randbytes(chosen.randrange(1, 2000)), b"\n" * 99))
    if kind == 2:
        return name, whole + other
    if kind == 3:
        place = chosen.randrange(1, len(whole))
        return name, whole[:place] + other[place:]  # the head of one, the body of another
    if kind == 4:
        return Path(name).stem, mutated(whole, chosen)  # without an ending
    return name, mutated(whole, chosen)


def _pictures() -> Iterator[tuple[str, bytes]]:
    noise = np.random.default_rng(0)
    grey, colour = noise.integers(0, 255, (12, 10), np.uint8), noise.integers(0, 255, (12, 10, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    deep, fractions = grey.astype(np.uint16) * 200, grey.astype(np.float32)
    animated: dict[str, Any] = {"save_all": True, "append_images": [Image.fromarray(grey[::-1].copy())]}
    made: dict[str, tuple[Any, dict[str, Any]]] = {
        "grey.png": (grey, {"exif": exif}),
        "deep.png": (deep, {}),
        "x.jpg": (colour, {"exif": exif}),
        "progressive.jpeg": (colour, {"progressive": True}),
        "x.bmp": (colour, {}),
        "x.gif": (grey, animated),
        "x.webp": (colour, {}),
        "x.ppm": (colour, {}),
        "x.jp2": (colour, {}),
        "raw.tif": (colour, {}),
        "turned.tif": (grey, {"exif": exif}),
        "lzw.tif": (deep, {"compression": "tiff_lzw"}),
        "jpeg.tiff": (colour, {"compression": "jpeg"}),
        "float.tif": (fractions, {}),
        "pages.tif": (grey, animated),
    }
    for name, (values, how) in made.items():
        stream = io.BytesIO()
        kind = {"jpg": "JPEG", "tif": "TIFF", "jp2": "JPEG2000"}.get(name.partition(".")[2])
        Image.fromarray(values).save(stream, kind or name.partition(".")[2].upper(), **how)
        yield name, stream.getvalue()
    stream = io.BytesIO()
    Image.fromarray(colour).quantize(7).save(stream, "PNG")
    yield "palette.png", stream.getvalue()


def _volumes(folder: Path) -> dict[str, bytes]:
    values = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    affine = np.diag([-1.0, 2.0, 3.0, 1.0])
    rgb = np.zeros((4, 5, 6), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    four = np.stack([values] * 2, axis=3)
    for name, array in (("x.nii", values), ("x.nii.gz", values), ("rgb.nii", rgb), ("four.nii", four)):
        nibabel.save(nibabel.Nifti1Image(array, affine), folder / name)
    nibabel.save(nibabel.Nifti2Image(values, affine), folder / "two.nii")
    space = {"space": "left-posterior-superior", "space directions": np.eye(3), "space origin": [1, 2, 3]}
    for encoding in ("raw", "gzip", "bzip2", "ascii"):
        nrrd.write(str(folder / f"{encoding}.nrrd"), values, {**space, "encoding": encoding})
    np.save(folder / "x.npy", values)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _dicom() -> dict[str, bytes]:
    return {name: Path(str(get_testdata_file(name, download=False))).read_bytes() for name in _DICOM}


def _tables() -> dict[str, bytes]:
    text = "image;label;age\n" + "".join(f"folder/{row}.png;Größe {row % 3};{row},5\n" for row in range(20))
    return {
        "mark.csv": b"\xef\xbb\xbf" + text.encode(),
        "latin.csv": text.encode("latin-1"),
        "wide.tsv": text.replace(";", "\t").encode("utf-16"),
        "quoted.csv": text.replace(";", '","').replace("\n", '"\n"').encode(),
    }
