from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from omnifm.data.colour import to_colour
from omnifm.data.federated_dataset import DataSettings, load_dataset
from omnifm.data.image_pairs import ImagePairsSource
from omnifm.data.partition import PartitionSettings
from omnifm.data.source import Loading
from omnifm.utils.errors import DataError


def loading(root: Path, size: int = 8, channels: int = 1) -> Loading:
    return Loading(root=root, size=size, channels=channels, seed=0, cache=root)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Ten pairs, 8x8: CT-MRI 998 to 1007, both grey, 1000 for test; PET-MRI the same, PET in colour, 998 for test."""
    for pair in ("CT-MRI", "PET-MRI"):
        for modality in pair.split("-"):
            folder = tmp_path / "atlas" / pair / modality
            folder.mkdir(parents=True)
            for number in range(998, 1008):
                value = number - 900 if modality == "MRI" else number - 950
                pixels = np.full((8, 8, 3), [value, 0, 200], np.uint8) if modality == "PET" else np.full((8, 8), value)
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    split(tmp_path, {"CT-MRI": ["1000.png"], "PET-MRI": ["998.png"]})
    return tmp_path


def split(root: Path, names: object) -> None:
    (root / "atlas/test_split.json").write_text(json.dumps(names))


SOURCE = ImagePairsSource("atlas")


def test_published_counts(shared_data: Path) -> None:
    table = ImagePairsSource("harvard", patient_pattern=r"^(\d+)\d{3}$").load(loading(shared_data, size=16))
    assert Counter(table.modalities) == {"CT-MRI": 108, "PET-MRI": 112, "SPECT-MRI": 115}
    assert table.split is not None
    counts = Counter(zip(table.modalities, table.split, strict=True))
    assert [counts[pair, "test"] for pair in ("CT-MRI", "PET-MRI", "SPECT-MRI")] == [24] * 3
    assert [counts[pair, "validation"] for pair in ("CT-MRI", "PET-MRI", "SPECT-MRI")] == [17, 18, 18]
    assert table.fields["image"].shape == table.fields["chroma"].shape == (335, 2, 16, 16)
    coloured = table.fields["chroma"].abs().amax(dim=(1, 2, 3)) > 0.05
    assert not coloured[:108].any()
    assert coloured[108:].float().mean() > 0.95
    heads = {pair: {p for p, m in zip(table.patients, table.modalities, strict=True) if m == pair} for pair in counts}
    assert len({p for p in table.patients if "/CT-MRI/" in p}) == 10, heads


def test_pairs_and_their_names(root: Path) -> None:
    table = SOURCE.load(loading(root))
    assert len(table) == 20
    assert table.label_names == ()
    assert set(table.institutions) == {"atlas"}
    values = (255 * table.fields["image"][:, :, 0, 0]).round()
    numbers = [int(patient.rsplit("/", 1)[1]) for patient in table.patients]
    assert values[:10, 0].tolist() == [number - 950 for number in numbers[:10]]
    assert values[:, 1].tolist() == [number - 900 for number in numbers]
    assert table.fields["chroma"][:10].abs().max() < 1e-6
    pet = to_colour(table.fields["image"][10:, :1], table.fields["chroma"][10:])
    expected = torch.tensor([[number - 950, 0, 200] for number in numbers[10:]]) / 255
    torch.testing.assert_close(pet[:, :, 3, 3], expected, atol=1e-3, rtol=0)


def test_the_test_split_is_the_published_one_and_validation_a_block(root: Path) -> None:
    table = SOURCE.load(loading(root))
    assert table.split is not None
    found = dict(zip(table.patients, table.split, strict=True))
    ct = [found[f"atlas/CT-MRI/{number}"] for number in range(998, 1008)]
    assert ct == ["train"] * 2 + ["test"] + ["train"] * 5 + ["validation"] * 2
    assert found["atlas/PET-MRI/998"] == "test"


def test_without_a_published_split_there_is_none(root: Path) -> None:
    (root / "atlas/test_split.json").unlink()
    assert SOURCE.load(loading(root)).split is None


def test_a_pair_of_modalities_a_hospital(root: Path) -> None:
    dataset = load_dataset(DataSettings(str(root), 8, sources=(SOURCE,)), PartitionSettings(), seed=0)
    assert [client.name for client in dataset.clients] == ["CT-MRI", "PET-MRI"]
    assert dataset.label_names == ()
    assert len(dataset.client("PET-MRI").test) == 1


def test_what_is_asked_for(root: Path) -> None:
    table = ImagePairsSource("atlas", pairs=("PET-MRI",), limit=1, patient_pattern=r"^(\d+)\d\d$").load(loading(root))
    assert sorted(table.split or ()) == ["test", "train", "validation"]
    assert set(table.patients) == {"atlas/PET-MRI/9", "atlas/PET-MRI/10"}
    with pytest.raises(DataError, match=r"has no pairs 'PET-MR'. Did you mean 'PET-MRI'"):
        ImagePairsSource("atlas", pairs=("PET-MR",)).load(loading(root))
    with pytest.raises(DataError, match="'1000' does not match patient_pattern"):
        ImagePairsSource("atlas", patient_pattern=r"^(9\d)").load(loading(root))


@pytest.mark.parametrize(("lone", "lacking"), [("CT", "MRI"), ("MRI", "CT")])
def test_a_missing_partner(root: Path, lone: str, lacking: str) -> None:
    (root / "atlas/CT-MRI" / lacking / "1003.png").unlink()
    with pytest.raises(DataError, match=rf"{lone}/1003\.png: has no partner .*{lacking}/1003\.png"):
        SOURCE.load(loading(root))


def test_partners_of_different_size(root: Path) -> None:
    Image.new("L", (8, 9)).save(root / "atlas/CT-MRI/CT/1003.png")
    with pytest.raises(DataError, match=r"CT/1003\.png and .*MRI/1003\.png: are 8 x 9 and 8 x 8 pixels"):
        SOURCE.load(loading(root))


def test_a_test_name_without_files(root: Path) -> None:
    split(root, {"CT-MRI": ["1000.png", "2000.png"], "PET-MRI": []})
    with pytest.raises(DataError, match=r"test_split\.json: 'CT-MRI' names '2000\.png' and 0 more that are not in"):
        SOURCE.load(loading(root))
    split(root, {"CT-MRI": ["1000.png"]})
    with pytest.raises(DataError, match=r"has no entry 'PET-MRI'"):
        SOURCE.load(loading(root))


@pytest.mark.parametrize("text", ["{", "[1, 2]", '{"CT-MRI": 3}', "7"])
def test_a_test_split_that_is_none(root: Path, text: str) -> None:
    (root / "atlas/test_split.json").write_text(text)
    with pytest.raises(DataError, match=r"test_split\.json: cannot be read as lists of test names"):
        SOURCE.load(loading(root))


def test_an_image_that_cannot_be_read(root: Path) -> None:
    path = root / "atlas/PET-MRI/PET/1003.png"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataError, match=r"PET/1003\.png: cannot be read as an image"):
        SOURCE.load(loading(root))


def test_colour_where_grey_is_expected(root: Path) -> None:
    path = root / "atlas/CT-MRI/MRI/1003.png"
    Image.new("RGB", (8, 8), (103, 103, 103)).save(path)
    assert len(SOURCE.load(loading(root))) == 20
    Image.new("RGB", (8, 8), (103, 0, 0)).save(path)
    with pytest.raises(DataError, match=r"MRI/1003\.png: is in colour, but the second of a pair must be grey"):
        SOURCE.load(loading(root))
    with pytest.raises(DataError, match=r"data\.channels = 3.*Set data\.channels = 1"):
        SOURCE.load(loading(root, channels=3))


def test_missing_folders(root: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        ImagePairsSource("nowhere").load(loading(root))
    with pytest.raises(DataError, match="has no folder of pairs"):
        ImagePairsSource("atlas/CT-MRI").load(loading(root))
    for path in (root / "atlas/CT-MRI/CT").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"CT-MRI/CT: holds no image"):
        SOURCE.load(loading(root))


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match=r"pairs\n.*'a-b' is listed twice"):
        ImagePairsSource("x", pairs=("a-b", "a-b"))
    with pytest.raises(ValueError, match=r"limit\n.*greater than or equal to 0"):
        ImagePairsSource("x", limit=-1)
    with pytest.raises(ValueError, match=r"validation\n.*less than 1"):
        ImagePairsSource("x", validation=1.0)
    with pytest.raises(ValueError, match="has 0 groups"):
        ImagePairsSource("x", patient_pattern="p")
    with pytest.raises(ValueError, match=r"patient_pattern\n.*'\(' is no regular expression"):
        ImagePairsSource("x", patient_pattern="(")
