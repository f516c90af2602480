"""Files that are damaged at random: a source reads them or says so, in seconds, and nothing else happens."""

from __future__ import annotations

import json
import random
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from fuzz_files import fuzz
from fuzzing.files import mutated
from PIL import Image

from omnifm.data.brats import BratsSource
from omnifm.data.medmnist import MedMNISTSource
from omnifm.data.reading import read_image
from omnifm.data.slake import SLAKESource
from omnifm.data.source import Loading
from omnifm.utils.errors import DataError

TRIES = 250


def outcomes(path: Path, read: Callable[[], object]) -> Counter[bool]:
    """Read a file with many kinds of damage; return how often it was read, and how often refused."""
    whole, chosen, found = path.read_bytes(), random.Random(path.name), Counter[bool]()
    said: list[str] = []
    read()
    for _ in range(TRIES):
        path.write_bytes(mutated(whole, chosen))
        try:
            read()
            found[True] += 1
        except DataError as error:
            found[False] += 1
            said.append(str(error))
    assert all(path.name.partition(".")[0] in text and "\n" not in text for text in said)
    return found


def loading(root: Path) -> Loading:
    return Loading(root=root, size=8, channels=1, seed=0, cache=root)


@pytest.mark.parametrize(
    "name", ["x.png", "x.jpg", "x.bmp", "x.tif", "x.gif", "x.webp", "x.jp2", "sixteen.png", "lzw.tif"]
)
def test_images(tmp_path: Path, name: str) -> None:
    values = np.random.default_rng(0).integers(0, 255, (12, 12, 3), np.uint8)
    image = Image.fromarray(values if not name.startswith("six") else values[..., 0].astype(np.uint16) * 200)
    path = tmp_path / name
    image.save(path, **({"compression": "tiff_lzw"} if name.startswith("lzw") else {}))
    found = outcomes(path, lambda: read_image(path))
    assert found[False] > TRIES / 10


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("what", ["t1", "seg"])
def test_volumes(tmp_path: Path, suffix: str, what: str) -> None:
    for kind in ("t1", "seg"):
        values = np.zeros((8, 8, 6), np.int16 if kind == "t1" else np.uint8)
        values[2:5, 2:5, 1:5] = 1
        path = tmp_path / f"brats/c/c_{kind}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(values, np.diag([-2.0, -2.0, 2.0, 1.0])), path)
    source = BratsSource(sequences=("t1",), slices=2, field_of_view=4.0)
    found = outcomes(tmp_path / f"brats/c/c_{what}{suffix}", lambda: source.load(loading(tmp_path)))
    assert found[False] > TRIES / 10


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_arrays(tmp_path: Path, compression: int) -> None:
    path = tmp_path / "medmnist/breastmnist.npz"
    path.parent.mkdir()
    arrays = {f"{split}_images": np.zeros((3, 28, 28), np.uint8) for split in ("train", "val", "test")}
    arrays |= {f"{split}_labels": np.zeros((3, 1), np.uint8) for split in ("train", "val", "test")}
    (np.savez if compression == zipfile.ZIP_STORED else np.savez_compressed)(path, **arrays)
    found = outcomes(path, lambda: MedMNISTSource("breastmnist").load(loading(tmp_path)))
    assert found[False] > TRIES / 10


def test_questions(tmp_path: Path) -> None:
    folder = tmp_path / "Slake1.0"
    (folder / "imgs/a").mkdir(parents=True)
    Image.new("L", (8, 8)).save(folder / "imgs/a/source.jpg")
    entry = {"img_name": "a/source.jpg", "question": "What is it?", "answer": "MRI", "q_lang": "en", "modality": "MRI"}
    entry |= {"location": "Head", "answer_type": "OPEN", "content_type": "Modality"}
    for name in ("train", "validate", "test"):
        (folder / f"{name}.json").write_text(json.dumps([entry] * 3), encoding="utf-8")
    found = outcomes(folder / "train.json", lambda: SLAKESource().load(loading(tmp_path)))
    assert found[False] > TRIES / 10


@pytest.mark.parametrize("text", ["[" * 100_000, "[" + "9" * 5000 + "]", '{"a": ' * 100_000])
def test_questions_that_no_reader_gets_through(tmp_path: Path, text: str) -> None:
    (tmp_path / "Slake1.0").mkdir()
    (tmp_path / "Slake1.0/train.json").write_text(text)
    with pytest.raises(DataError, match=r"train\.json: is not valid JSON"):
        SLAKESource().load(loading(tmp_path))


@pytest.mark.process
def test_files_of_every_format_damaged_or_odd() -> None:
    """A short form of ``benchmarks/fuzz_files.py``."""
    found = fuzz(200, seed=1)
    assert set(found) == {"read", "refused"}
    assert found["refused"] > found["read"] > 10
