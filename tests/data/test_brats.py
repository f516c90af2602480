from __future__ import annotations

import gzip
import logging
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch

from omnifm.data.brats import BratsSource
from omnifm.data.federated_dataset import DataSettings, load_dataset
from omnifm.data.partition import PartitionSettings
from omnifm.data.source import Loading
from omnifm.utils.errors import DataError

SIZE = (16, 18, 12)
AFFINE = np.diag([-2.0, -2.0, 2.0, 1.0])
"""Of 2 mm voxels in BraTS's own orientation: indices grow to the left, to the back, and upwards."""
NAMES = ("t1", "t1ce", "t2", "flair")


def loading(root: Path, size: int = 16, channels: int = 1) -> Loading:
    return Loading(root=root, size=size, channels=channels, seed=0, cache=root)


def write(path: Path, values: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, affine), path)


def brain() -> np.ndarray:
    """A head that fills all but the outermost voxels, brighter to the left, to the back and upwards."""
    values = np.zeros(SIZE, np.int16)
    x, y, z = np.indices(SIZE)
    values[1:-1, 1:-1, 1:-1] = (100 + x + 2 * y + 4 * z)[1:-1, 1:-1, 1:-1]
    return values


def mask() -> np.ndarray:
    """Oedema in slices 4 to 8, to the patient's left and front; in it a core in 5 to 7, which enhances in 6."""
    codes = np.zeros(SIZE, np.uint8)
    codes[10:15, 2:8, 4:9] = 2
    codes[11:14, 3:7, 5:8] = 1
    codes[11:14, 3:7, 6] = 4
    return codes


def case(root: Path, name: str, layout: str = "{name}/{name}_{what}.nii.gz", **changed: Any) -> None:
    for number, what in enumerate((*NAMES, "seg")):
        values = mask() if what == "seg" else brain() + 10 * number * (brain() > 0)
        write(root / "brats" / layout.format(name=name, what=what), changed.get(what, values.astype(np.int16)))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("c1", "c2", "c3", "c4"):
        case(tmp_path, name)
    return tmp_path


def source(**changes: Any) -> BratsSource:
    return BratsSource(**{"slices": 3, "field_of_view": 32.0, **changes})


def test_slices_with_the_sequences_as_channels(root: Path) -> None:
    table = source().load(loading(root))
    assert table.fields["image"].shape == (12, 4, 16, 16)
    assert table.fields["mask"].shape == (12, 3, 16, 16)
    assert type(table.fields["image"]) is torch.Tensor
    assert type(table.fields["mask"]) is torch.Tensor
    assert 0 <= table.fields["image"].min() < table.fields["image"].max() <= 1
    assert table.fields["spacing"].tolist() == [[2.0, 2.0]] * 12
    assert table.label_names == ("whole tumour", "tumour core", "enhancing tumour")
    assert table.patients[::3] == ("brats/c1", "brats/c2", "brats/c3", "brats/c4")
    assert table.modalities == ("MRI",) * 12
    assert table.institutions == ("brats",) * 12
    assert table.split is None
    # 2 of 5 slices show oedema alone, 2 also a core, 1 the enhancing rim: slices 4, 6 and 8 are taken.
    assert table.fields["mask"].sum(dim=(2, 3))[:3].tolist() == [[30, 0, 0], [30, 12, 12], [30, 0, 0]]


def test_a_slice_is_seen_as_radiologists_see_it(root: Path) -> None:
    table = source(slices=1, sequences=("t1",)).load(loading(root))
    image, tumour = table.fields["image"][0, 0], table.fields["mask"][0, 0]
    # The patient's left is to the right, the front on top.
    where = tumour.nonzero().float().mean(dim=0)
    assert where[1] > 8
    assert where[0] < 8
    # The 16 x 18 voxels of 2 mm become 16 x 16 of the 32 mm about the middle; indices grow as those of the file.
    expected = brain()[:, 1:17, 6].T / np.percentile(brain()[brain() > 0], 99.5)
    np.testing.assert_allclose(image.numpy(), np.clip(expected, 0, 1), atol=1e-5)


def flipped(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same head, stored with indices that grow to the right, to the front, and upwards, axes in another order."""
    affine = np.zeros((4, 4))
    affine[2, 0], affine[0, 1], affine[1, 2], affine[3, 3] = 2, 2, 2, 1
    affine[:3, 3] = [-30, -34, 0]
    return values[::-1, ::-1].transpose(2, 0, 1), affine


def test_orientation_does_not_matter(root: Path) -> None:
    expected = source().load(loading(root)).fields
    for path in (root / "brats").rglob("*.nii.gz"):
        write(path, *flipped(np.asanyarray(nibabel.Nifti1Image.from_filename(path).dataobj)))
    found = source().load(loading(root)).fields
    for name in ("image", "mask", "spacing"):
        torch.testing.assert_close(found[name], expected[name])


def test_spacing_is_heeded(root: Path) -> None:
    """Half the number of voxels of twice the size show the same region in the same place."""
    coarse = np.diag([-4.0, -4.0, 4.0, 1.0])
    for path in (root / "brats").rglob("*.nii.gz"):
        write(path, np.asanyarray(nibabel.Nifti1Image.from_filename(path).dataobj)[::2, ::2, ::2], coarse)
    fields = source(axes=3).load(loading(root)).fields
    assert fields["spacing"][0].tolist() == [2.0, 2.0, 2.0]
    assert 80 < fields["mask"][0, 0].sum() < 220  # 150 voxels of 2 mm


def test_volumes(root: Path) -> None:
    table = source(axes=3).load(loading(root))
    assert table.fields["image"].shape == (4, 4, 16, 16, 16)
    assert table.fields["mask"].sum(dim=(2, 3, 4))[0].tolist() == [150, 36, 12]
    assert table.fields["spacing"].tolist() == [[2.0] * 3] * 4
    # From below to above: filled up to 16 slices, the twelve lie in the middle.
    assert table.fields["mask"][0, 0].flatten(1).any(dim=1).nonzero().flatten().tolist() == [6, 7, 8, 9, 10]


def test_a_sequence_a_case_for_hospitals_of_one_modality_each(root: Path) -> None:
    one = source(per_sequence=True, sequences=("t1", "flair"))
    table = one.load(loading(root, channels=3))
    assert table.fields["image"].shape == (12, 3, 16, 16)
    assert table.modalities[::3] == ("T1", "FLAIR", "T1", "FLAIR")
    for name in ("c5", "c6"):
        case(root, name)
    dataset = load_dataset(DataSettings(root=str(root), size=16, sources=(one,)), PartitionSettings(), 0)
    assert [client.name for client in dataset.clients] == ["T1", "FLAIR"]
    assert {len(client.train) for client in dataset.clients} == {3}


@pytest.mark.parametrize(
    "layout", ["{name}/{name}_{what}.nii", "{name}/{name}-{what}.nii.gz", "{name}/raw_bet/{name}_{what}_bet.nii.gz"]
)
def test_other_spellings(tmp_path: Path, layout: str) -> None:
    case(tmp_path, "c1", layout)
    spelled = {"t1": "t1n", "t1ce": "t1c", "t2": "t2w", "flair": "t2f"} if "-" in layout else {}
    spelled |= {"t1ce": "t1c", "flair": "fla"} if "bet" in layout else {}
    for what, other in spelled.items():
        path = tmp_path / "brats" / layout.format(name="c1", what=what)
        path.rename(path.with_name(path.name.replace(f"{what}.", f"{other}.").replace(f"{what}_", f"{other}_")))
    if "bet" in layout:
        (tmp_path / "brats/c1/fusion").mkdir()
        (tmp_path / "brats/c1/raw_bet/c1_seg_bet.nii.gz").rename(tmp_path / "brats/c1/fusion/mav.nii.gz")
    found = source().load(loading(tmp_path))
    assert found.fields["image"].shape == (3, 4, 16, 16)
    assert found.fields["mask"][:, 0].any()


def test_enhancing_tumour_is_3_since_2023(root: Path) -> None:
    expected = source().load(loading(root)).fields["mask"]
    for name in ("c1", "c2", "c3", "c4"):
        codes = mask()
        codes[codes == 4] = 3
        write(root / f"brats/{name}/{name}_seg.nii.gz", codes)
    assert torch.equal(source().load(loading(root)).fields["mask"], expected)


def test_institutions_by_the_table_of_fets(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = root / "brats/partitioning_1.csv"
    table.write_text("Partition_ID,Subject_ID\n7,c1\n2,c3\n7,c2\n", encoding="utf-8")
    with caplog.at_level(logging.WARNING, "omnifm"):
        found = source(institutions="partitioning_1.csv", name="fets").load(loading(root))
    assert found.institutions[::3] == ("fets-7", "fets-7", "fets-2")
    assert found.patients[::3] == ("fets-7/c1", "fets-7/c2", "fets-2/c3")
    assert "1 cases (such as c4) are in no line of partitioning_1.csv" in caplog.text


def test_a_case_of_the_table_that_is_missing(root: Path) -> None:
    (root / "brats/table.csv").write_text("Partition_ID,Subject_ID\n1,c1\n1,c9\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"table.csv: names case 'c9', of which there is no folder"):
        source(institutions="table.csv").load(loading(root))


def test_a_table_as_a_spreadsheet_exports_it(root: Path) -> None:
    text = "\ufeffPartition_ID; Subject_ID ;\r\n7;c1;\r\nKöln; c2 ;\r\n"
    (root / "brats/table.csv").write_text(text, encoding="utf-8")
    table = source(institutions="table.csv").load(loading(root))
    assert set(table.institutions) == {"brats-7", "brats-Köln"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Partition,Subject_ID\n1,c1\n", "has no column 'Partition_ID'"),
        ("Partition_ID,Subject_ID\n1\n", "row 2: lacks its Subject_ID or Partition_ID"),
        ("Partition_ID,Subject_ID\n1,c1\n2,c2\n3,c1\n", "names case 'c1' in rows 2 and 4"),
    ],
)
def test_a_table_that_does_not_say_whose_a_case_is(root: Path, text: str, said: str) -> None:
    (root / "brats/table.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=rf"table\.csv.*{said}"):
        source(institutions="table.csv").load(loading(root))


@pytest.mark.parametrize("outside", [0.0, -3.0])
def test_the_negative_half_of_z_scores_is_kept(root: Path, outside: float) -> None:
    plain = source(slices=1, sequences=("t1",)).load(loading(root)).fields["image"]
    for name in ("c1", "c2", "c3", "c4"):
        inside = brain() > 0
        scores = np.where(inside, (brain() - brain()[inside].mean()) / brain()[inside].std(), outside)
        write(root / f"brats/{name}/{name}_t1.nii.gz", scores.astype(np.float32))
    made = source(slices=1, sequences=("t1",)).load(loading(root)).fields["image"]
    brightness = plain[plain > 0.5], made[plain > 0.5]
    assert (made[plain == 0] == 0).all()
    assert (brightness[1] > 0).all()
    assert np.corrcoef(*brightness)[0, 1] > 0.95


def test_a_table_that_is_missing(root: Path) -> None:
    with pytest.raises(DataError, match=r"table.csv: cannot be read"):
        source(institutions="table.csv").load(loading(root))


def test_slabs_divide_what_patients_cannot(root: Path) -> None:
    table = source(slices=5, split="slabs", limit=2).load(loading(root))
    assert table.split == ("train",) * 4 + ("validation",) + ("test",) * 5
    alone = source(slices=5, split="slabs", limit=1).load(loading(root))
    assert alone.split == ("train",) * 3 + ("validation", "test")


def affine_of(**changes: float) -> np.ndarray:
    affine = AFFINE.copy()
    for place, value in changes.items():
        affine[int(place[1]), int(place[2])] = value
    return affine


def drop(path: Path) -> None:
    path.unlink()


BAD: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "a missing sequence": ("t2", drop, r"c2: the sequence 't2' is missing. Put it at .*c2_t2.nii.gz"),
    "a missing mask": ("seg", drop, r"c2: the mask is missing. Put it at .*c2_seg.nii.gz"),
    "a mask of another size": (
        "seg",
        lambda path: write(path, mask()[:-1]),
        r"c2_seg.nii.gz: has 15 x 18 x 12 voxels, but there are 16 x 18 x 12 in c2_t1.nii.gz",
    ),
    "a sequence of another size": (
        "flair",
        lambda path: write(path, brain()[:, :-1]),
        r"c2_flair.nii.gz: has 16 x 17 x 12 voxels",
    ),
    "a wrong spacing": (
        "t1ce",
        lambda path: write(path, brain(), affine_of(_22=3.0)),
        r"c2_t1ce.nii.gz: its voxels have a spacing of 2 x 2 x 3 mm, but it is 2 x 2 x 2 mm in c2_t1.nii.gz",
    ),
    "a wrong affine": (
        "seg",
        lambda path: write(path, mask(), affine_of(_00=2.0, _03=-30.0)),
        r"c2_seg.nii.gz: its affine differs \(orientation or origin\) from that in c2_t1.nii.gz",
    ),
    "a mask of fractions": (
        "seg",
        lambda path: write(path, mask() * np.float32(0.8)),
        r"c2_seg.nii.gz: a mask holds whole numbers, but this 0.8.*nearest-neighbour",
    ),
    "an unknown label": (
        "seg",
        lambda path: write(path, np.where(mask() == 4, 7, mask()).astype(np.uint8)),
        r"c2_seg.nii.gz: unknown label 7",
    ),
    "labels of the oldest kind": (
        "seg",
        lambda path: write(path, np.where(mask() == 1, 3, mask()).astype(np.uint8)),
        r"c2_seg.nii.gz: has labels 3 and 4, as BraTS had before 2017",
    ),
    "no NIfTI": ("t1", lambda path: path.write_bytes(b"nothing"), r"c2_t1.nii.gz: cannot be read as NIfTI"),
    "a NIfTI that is cut off": (
        "t1",
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        r"c2_t1.nii.gz: cannot be read as NIfTI",
    ),
    "four axes": (
        "t2",
        lambda path: write(path, np.stack([brain()] * 2, axis=-1)),
        r"c2_t2.nii.gz: is not one volume of three axes, but 16 x 18 x 12 x 2",
    ),
    "an image of nothing": (
        "t2",
        lambda path: write(path, np.zeros(SIZE, np.int16)),
        r"c2_t2.nii.gz: holds no value above 0",
    ),
    "values that are not finite": (
        "t2",
        lambda path: write(path, np.full(SIZE, np.nan, np.float32)),
        r"c2_t2.nii.gz: holds values that are not finite",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_wrong_is_named(root: Path, what: str) -> None:
    name, spoil, message = BAD[what]
    spoil(root / f"brats/c2/c2_{name}.nii.gz")
    with pytest.raises(DataError, match=message):
        source().load(loading(root))


def test_an_empty_mask_is_allowed_and_said(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(root / "brats/c3/c3_seg.nii.gz", np.zeros(SIZE, np.uint8))
    with caplog.at_level(logging.WARNING, "omnifm"):
        table = source().load(loading(root))
    assert "c3 and 0 other images show no tumour" in caplog.text
    assert not table.fields["mask"][6:9].any()
    assert table.fields["image"][6:9].flatten(1).any(dim=1).all()


def test_no_folder_and_no_cases(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"brats: no such folder"):
        source().load(loading(tmp_path))
    (tmp_path / "brats").mkdir()
    with pytest.raises(DataError, match=r"brats: holds no cases"):
        source().load(loading(tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sequences": ("t1", "t1c")}, r"sequences\.1\n.*unknown name 't1c'. Did you mean 't1ce'"),
        ({"regions": ("tumor",)}, r"regions\.0\n.*unknown name 'tumor'"),
        ({"slices": 0}, "slices\n.*greater than or equal to 1"),
        ({"split": "slabs", "axes": 3}, "needs axes = 2 and at least 5 slices"),
    ],
)
def test_settings_are_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        source(**changes)


def test_the_two_real_cases(shared_data: Path) -> None:
    real = BratsSource("brats-toolkit", sequences=("flair",), slices=6)
    table = real.load(loading(shared_data, size=64))
    assert table.fields["image"].shape == (12, 1, 64, 64)
    assert table.modalities == ("FLAIR",) * 12
    assert len(set(table.patients)) == 2
    tumour, core, enhancing = table.fields["mask"].bool().unbind(dim=1)
    assert not (core & ~tumour).any()
    assert not (enhancing & ~core).any()
    assert enhancing[:6].any()
    assert not enhancing[6:].any()  # the second patient's mask has no label 4
    # A tumour is bright in FLAIR, beside the brain around it.
    image = table.fields["image"][:, 0]
    for rows in (slice(6), slice(6, 12)):
        inside = image[rows] > 0.05
        assert image[rows][tumour[rows]].mean() > 1.3 * image[rows][inside & ~tumour[rows]].mean()
    assert tumour.flatten(1).any(dim=1).all()


def damaged(path: Path, places: dict[int, bytes]) -> None:
    """Put bytes into the header of a volume, which becomes whole again but for them."""
    data = bytearray(gzip.decompress(path.read_bytes()))
    for place, value in places.items():
        data[place : place + len(value)] = value
    path.write_bytes(gzip.compress(bytes(data)))


@pytest.mark.parametrize(
    ("places", "reason"),
    [
        ({40: struct.pack("<h", 9)}, "cannot be read as NIfTI"),  # nine axes
        ({70: struct.pack("<h", 3)}, "cannot be read as NIfTI"),  # no such type
        ({108: struct.pack("<f", 1e30)}, "cannot be read as NIfTI"),  # the voxels begin there
        ({108: struct.pack("<f", float("nan"))}, "cannot be read as NIfTI"),
        (
            {42: struct.pack("<3h", 32000, 32000, 32000)},
            "has 32000 x 32000 x 32000 voxels, and at most",
        ),
        ({280: struct.pack("<12f", *[0.0] * 12)}, "its affine places the voxels nowhere"),
        ({280: struct.pack("<f", float("nan"))}, "its affine places the voxels nowhere"),
        ({280: struct.pack("<f", 1e30)}, "its affine places the voxels nowhere"),
        ({112: struct.pack("<2f", 3e38, 0.0)}, "holds values that are not finite"),
    ],
)
def test_a_damaged_header_is_told(root: Path, places: dict[int, bytes], reason: str) -> None:
    path = root / "brats/c2/c2_t1.nii.gz"
    damaged(path, places)
    with pytest.raises(DataError, match=rf"c2_t1\.nii\.gz: .*({reason})") as caught:
        source().load(loading(root))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", range(12, 120, 12))
def test_a_damaged_archive_is_told(root: Path, place: int) -> None:
    path = root / "brats/c2/c2_t1.nii.gz"
    data = bytearray(path.read_bytes())
    data[place : place + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"c2_t1\.nii\.gz: .*Replace the file"):
        source().load(loading(root))


@pytest.mark.parametrize("kind", [np.complex64, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])])
def test_colours_and_complex_numbers_are_told(root: Path, kind: Any) -> None:
    write(root / "brats/c2/c2_t1.nii.gz", np.zeros(SIZE, kind))
    with pytest.raises(DataError, match=r"c2_t1\.nii\.gz: holds (complex numbers or transparent )?colours"):
        source().load(loading(root))


def test_a_mask_that_is_not_finite_is_told(root: Path) -> None:
    write(root / "brats/c2/c2_seg.nii.gz", np.full(SIZE, np.inf, np.float32))
    with pytest.raises(DataError, match=r"c2_seg\.nii\.gz: .* not finite"):
        source().load(loading(root))


def test_a_field_of_view_of_too_many_voxels_is_refused(root: Path) -> None:
    """Tiny voxels would be filled up with zeros to the size of a head."""
    for path in (root / "brats/c2").iterdir():
        write(path, mask() if "seg" in path.name else brain(), np.diag([-0.01, -0.01, 0.01, 1.0]))
    with pytest.raises(DataError, match=r"c2: has 19200 x 19200 x 19200 voxels in its field of view.* lower field_of"):
        source(field_of_view=192.0).load(loading(root))
