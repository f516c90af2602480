from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from made_folders import save

from omnifm.config.checking import validator
from omnifm.data.columns import as_tensor, read_texts
from omnifm.data.manifest.manifest_source import ManifestSource
from omnifm.data.source import Loading
from omnifm.data.subset import SourceTable
from omnifm.utils.errors import DataError


def loading(root: Path, size: int = 8, channels: int = 1) -> Loading:
    return Loading(root=root, size=size, channels=channels, seed=0, cache=root)


def write(root: Path, *lines: str, name: str = "set.csv") -> None:
    (root / name).write_text("\n".join(lines), encoding="utf-8")


def source(**changes: Any) -> ManifestSource:
    """Return the source as an experiment file makes it."""
    made: ManifestSource = validator(ManifestSource).validate_json(
        json.dumps({"table": "set.csv", "modality": "US", **changes})
    )
    return made


def grey(value: int, side: int = 8) -> np.ndarray:
    pixels = np.full((side, side), value, np.uint8)
    pixels[0, 0], pixels[0, 1] = 0, 255
    return pixels


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four images of brightness 100 to 103, below a folder."""
    for number in range(4):
        save(tmp_path / f"images/{number}.png", grey(100 + number))
    return tmp_path


def brightness(table: SourceTable) -> list[int]:
    return (255 * as_tensor(table.fields["image"])[:, 0, -1, -1]).round().int().tolist()


def test_labels_patients_splits_modalities_and_institutions(root: Path) -> None:
    write(
        root,
        "image;diagnosis;Patient;split;modality;hospital",
        "images/0.png;b;p1;train;CT;north",
        "images\\1.png;a;p1;Training;CT;north",
        "./images/2.png;a;p2;val;;",
        "images/3.png;b;p3;test;MR;south",
    )
    table = source(columns={"label": "diagnosis"}, name="trial").load(loading(root))
    assert brightness(table) == [100, 101, 102, 103]
    assert table.label_names == ("a", "b")
    assert as_tensor(table.fields["label"]).tolist() == [1, 0, 0, 1]
    assert table.patients == ("trial/p1", "trial/p1", "trial/p2", "trial/p3")
    assert table.modalities == ("CT", "CT", "US", "MR")
    assert table.institutions == ("north", "north", "trial", "south")
    assert table.split == ("train", "train", "validation", "test")


def test_paths_are_seen_from_the_table(root: Path) -> None:
    (root / "tables").mkdir()
    write(root, "image,label", "../images/3.png,a", f"{root}/images/1.png,b", name="tables/set.csv")
    table = source(table="tables/set.csv").load(loading(root))
    assert brightness(table) == [103, 101]
    assert table.split is None
    assert len(set(table.patients)) == 2


def test_several_labels_in_one_column(root: Path) -> None:
    write(root, "image,label", "images/0.png,x | y", "images/1.png,", 'images/2.png,"z;x"', "images/3.png,y")
    table = source().load(loading(root))
    assert table.label_names == ("x", "y", "z")
    assert as_tensor(table.fields["label"]).tolist() == [[1, 1, 0], [0, 0, 0], [1, 0, 1], [0, 1, 0]]


def test_a_column_of_0_and_1_for_each_label(root: Path) -> None:
    write(root, "image,mass,edema", "images/0.png,1,0", "images/1.png,0.0,yes", "images/2.png,,0", "images/3.png,1,1")
    table = source(columns={"label": ("edema", "mass")}).load(loading(root))
    assert table.label_names == ("edema", "mass")
    assert as_tensor(table.fields["label"]).tolist() == [[0, 1], [1, 0], [0, 0], [1, 1]]


def test_a_cell_that_is_neither_0_nor_1(root: Path) -> None:
    write(root, "image,mass,edema", "images/0.png,1,0", "images/1.png,maybe,1")
    with pytest.raises(DataError, match=r"set.csv, row 3: column 'mass' holds 'maybe'. Write 1"):
        source(columns={"label": ("mass", "edema")}).load(loading(root))


def half(side: int = 8) -> np.ndarray:
    mask = np.zeros((side, side), np.uint8)
    mask[:, side // 2 :] = 255
    return mask


def test_several_masks_of_an_image_are_united(root: Path) -> None:
    save(root / "m/0.png", half())
    save(root / "m/0b.png", half().T)
    write(root, "image,mask", "images/0.png,m/0.png;m/0b.png", "images/1.png,m/0b.png")
    table = source(region="lesion").load(loading(root))
    assert table.label_names == ("lesion",)
    assert as_tensor(table.fields["mask"]).float().mean(dim=(1, 2, 3)).tolist() == [0.75, 0.5]


def test_a_region_for_each_column_of_masks(root: Path) -> None:
    save(root / "m/right.png", half())
    save(root / "m/below.png", half().T)
    write(root, "image,vessel,disc", "images/0.png,m/right.png,m/below.png", "images/1.png,,m/right.png")
    table = source(columns={"mask": ("disc", "vessel")}).load(loading(root))
    assert table.label_names == ("disc", "vessel")
    mask = as_tensor(table.fields["mask"])
    assert mask[0, 0, :, 0].tolist() == [0] * 4 + [1] * 4
    assert mask[0, 1, 0].tolist() == [0] * 4 + [1] * 4
    assert mask[1].float().mean(dim=(1, 2)).tolist() == [0.5, 0]


def test_regions_by_value_and_by_colour(root: Path) -> None:
    codes = np.zeros((8, 8), np.uint8)
    codes[:4], codes[:2] = 1, 2
    save(root / "m/0.png", codes)
    write(root, "image,mask", "images/0.png,m/0.png")
    regions = ({"name": "organ", "values": (1, 2)}, {"name": "tumour", "values": (2,)})
    table = source(regions=regions).load(loading(root))
    assert table.label_names == ("organ", "tumour")
    assert as_tensor(table.fields["mask"]).float().mean(dim=(2, 3)).tolist() == [[0.5, 0.25]]
    with pytest.raises(DataError, match=r"row 2: .*m/0.png: the mask holds 2, which no region names"):
        source(regions=({"name": "organ", "values": (1,)},)).load(loading(root))
    with pytest.raises(DataError, match=r"row 2: .*a mask has two values, and this has 3"):
        source().load(loading(root))
    colours = np.zeros((8, 8, 3), np.uint8)
    colours[:, 4:] = (255, 0, 0)
    save(root / "m/0.png", colours)
    table = source(regions=({"name": "vein", "colours": ("#ff0000",)},)).load(loading(root))
    assert as_tensor(table.fields["mask"])[0, 0, 0].tolist() == [0] * 4 + [1] * 4


def test_a_mask_of_another_size(root: Path) -> None:
    save(root / "m/0.png", half(9))
    write(root, "image,mask", "images/0.png,m/0.png")
    with pytest.raises(DataError, match=r"row 2: .*m/0.png: the mask has 9 x 9 pixels, but its image 0.png 8 x 8"):
        source().load(loading(root))


def test_questions_keep_an_image_once(root: Path) -> None:
    write(
        root,
        "image,question,answer,type",
        "images/0.png,Is it  Bright?,No,presence",
        "images/1.png,Is it bright?,YES,presence",
        "images/0.png,Which organ?,Liver,organ",
    )
    table = source().load(loading(root))
    image = table.fields["image"]
    assert image.values.shape == (2, 1, 8, 8)
    assert brightness(table) == [100, 101, 100]
    assert read_texts(as_tensor(table.fields["question"])) == ["is it bright?", "is it bright?", "which organ?"]
    assert read_texts(as_tensor(table.fields["answer"])) == ["no", "yes", "liver"]
    assert as_tensor(table.fields["closed"]).tolist() == [True, True, False]
    assert table.label_names == ("organ", "presence")
    assert as_tensor(table.fields["label"]).tolist() == [1, 1, 0]
    assert table.patients[0] == table.patients[2] != table.patients[1]


def test_pairs_for_fusion(root: Path) -> None:
    colour = np.zeros((8, 8, 3), np.uint8)
    colour[..., 0] = 200
    save(root / "pet/0.png", colour)
    write(root, "image,target,modality", "pet/0.png,images/1.png,PET-MR")
    table = source().load(loading(root))
    image, chroma = as_tensor(table.fields["image"]), as_tensor(table.fields["chroma"])
    assert image.shape == chroma.shape == (1, 2, 8, 8)
    torch.testing.assert_close(image[0, :, -1, -1], torch.tensor([0.299 * 200 / 255, 101 / 255]))
    assert chroma[0, 1].min() > 0.3, "red"
    write(root, "image,pair", "images/1.png,pet/0.png")
    with pytest.raises(DataError, match=r"row 2: .*pet/0.png: is in colour, but the second of a pair must be grey"):
        source().load(loading(root))


def test_what_is_learned_of_a_table_with_several(root: Path) -> None:
    save(root / "m/0.png", half())
    write(root, "image,label,mask", "images/0.png,a,m/0.png", "images/1.png,b,m/0.png")
    with pytest.raises(DataError, match=r"has columns of mask and label. Say which .* learn = 'mask' or 'label'"):
        source().load(loading(root))
    assert "label" in source(learn="label").load(loading(root)).fields
    assert "mask" in source(learn="mask").load(loading(root)).fields
    assert set(source(learn="image").load(loading(root)).fields) == {"image"}
    with pytest.raises(DataError, match=r"learn = 'answer', but there is no such column"):
        source(learn="answer").load(loading(root))


def volume(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([-1.0, -1.0, 2.0, 1.0])), path)


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    """A volume of 6 slices of 8 x 8, of which slices 2 to 4 hold the region."""
    values = np.random.default_rng(0).normal(0, 1, (8, 8, 6)).astype(np.float32)
    codes = np.zeros((8, 8, 6), np.uint8)
    codes[:4, :, 2:5] = 1
    volume(tmp_path / "v/image.nii.gz", values)
    volume(tmp_path / "v/mask.nii.gz", codes)
    write(tmp_path, "image,mask,patient", "v/image.nii.gz,v/mask.nii.gz,p")
    return tmp_path


def test_volumes_and_slices(volumes: Path) -> None:
    table = source(axes=3).load(loading(volumes))
    assert as_tensor(table.fields["image"]).shape == (1, 1, 8, 8, 8)
    assert as_tensor(table.fields["mask"]).shape == (1, 1, 8, 8, 8)
    assert 0.15 < as_tensor(table.fields["mask"]).float().mean() < 0.35
    table = source(slices=3).load(loading(volumes))
    assert as_tensor(table.fields["image"]).shape == (3, 1, 8, 8)
    assert as_tensor(table.fields["mask"]).float().mean(dim=(1, 2, 3)).tolist() == [0.5] * 3, "the region's slices"
    assert table.patients == ("set/p",) * 3
    with pytest.raises(DataError, match=r"row 2: .*image.nii.gz: has 6 pages or slices"):
        source().load(loading(volumes))


def test_several_files_are_the_channels_of_an_image(volumes: Path) -> None:
    write(volumes, "image,mask", "v/image.nii.gz;v/image.nii.gz,v/mask.nii.gz")
    table = source(axes=3).load(loading(volumes))
    image = as_tensor(table.fields["image"])
    assert image.shape == (1, 2, 8, 8, 8)
    assert torch.equal(image[:, 0], image[:, 1])


def test_intensity_is_that_of_the_source(root: Path) -> None:
    write(root, "image,label", "images/0.png,a", "images/1.png,b")
    window = {"rule": "window", "window": (100.0, 2.0)}
    assert brightness(source(intensity=window).load(loading(root))) == [128, 255]


def test_empty_masks_are_told(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(root / "m/0.png", half() * 0)
    write(root, "image,mask", "images/0.png,m/0.png")
    with caplog.at_level(logging.WARNING, "omnifm"):
        source().load(loading(root))
    assert "set.csv, row 2 and 0 other images show no foreground" in caplog.text


@pytest.mark.parametrize(
    ("lines", "changes", "message"),
    [
        (["picture,label", "images/0.png,a"], {}, r"has no column of images. Call it image, or set columns.image"),
        (["image,label"], {}, r"has no rows"),
        (["image,label", "images/0.png,a", ",b"], {}, r"row 3: has no image. Fill in the cell"),
        (["image,label", "images/0.png,a", "images/1.png,"], {}, r"row 3: has no label"),
        (["image,label", "images/0.png,a", "images/9.png,b"], {}, r"row 3: .*images/9.png"),
        (["image,label,split", "images/0.png,a,tset"], {}, r"row 2: split is 'tset'. Write train, validation or test"),
        (["image,label", "images/0.png,a"], {"columns": {"label": "lable"}}, r"no column 'lable' .*mean 'label'"),
        (["image,label", "images/0.png,a"], {"modality": ""}, r"some rows do not say their modality"),
        (["image,question", "images/0.png,Why?"], {"learn": "answer"}, r"learn = 'answer', but there is no such"),
    ],
)
def test_what_is_wrong_is_said(root: Path, lines: list[str], changes: dict[str, Any], message: str) -> None:
    write(root, *lines)
    with pytest.raises(DataError, match=message):
        source(**changes).load(loading(root))


def test_several_problems_are_counted(root: Path) -> None:
    write(root, "image,label", "images/0.png,", "images/1.png,", "images/2.png,a")
    with pytest.raises(DataError, match=r"row 2: has no label.*1 more: omnifm data check lists all"):
        source().load(loading(root))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"axes": 3, "slices": 2}, "slices = 2 takes slices, and axes = 3 volumes"),
        ({"axes": 3, "learn": "pair"}, "axes = 3 is for labels, masks and images"),
        ({"table": ""}, "at least 1 character"),
        ({"regions": ({"name": "x", "values": (1,)}, {"name": "x", "values": (2,)})}, "name each region once"),
    ],
)
def test_settings_are_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        source(**changes)
