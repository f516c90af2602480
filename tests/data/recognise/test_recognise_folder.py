"""Folders as people have them, and what they are recognised as."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from made_folders import (
    dicom_series,
    labels_in_a_table,
    masks_beside_images,
    nnunet_volumes,
    noise,
    questions_in_a_table,
    save,
)

from omnifm.data.recognise.folder_contents import FolderContents
from omnifm.data.recognise.layout import FolderLayout, Hints
from omnifm.data.recognise.recognise_folder import passed_over, recognise
from omnifm.utils.errors import DataError


@pytest.fixture(autouse=True)
def own_key(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the key of pseudonyms out of the user's own folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("home")))


def found(root: Path, task: str = "", **hints: str) -> tuple[FolderLayout, str, str]:
    return recognise(FolderContents.of(root), Hints(**hints), task)


def test_class_folders_with_masks_beside_the_images(tmp_path: Path) -> None:
    layout, task, learned = found(masks_beside_images(tmp_path))
    assert (layout.name, task, learned) == ("class folders with masks", "classification", "label")
    assert len(layout.rows) == 24, "masks are no images"
    assert layout.rows["label"].value_counts().to_dict() == {"benign": 8, "malignant": 8, "normal": 8}
    first = layout.rows.iloc[0]
    assert first["image"] == "Dataset_with_GT/benign/benign (1).png"
    assert first["mask"].split(";") == [f"Dataset_with_GT/benign/benign (1)_mask{more}.png" for more in ("", "_1")]
    assert layout.settings == {"region": "foreground"}
    assert passed_over(FolderContents.of(tmp_path)) == ("Passed over: 2 left behind by operating systems and editors.")
    assert found(tmp_path, "segmentation")[2] == "mask"


def test_split_folders_above_and_below_classes(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        for number in range(3):
            save(tmp_path / f"above/{split}/NORMAL/{number}.jpeg", noise(number))
            save(tmp_path / f"above/{split}/PNEUMONIA/{number}.jpeg", noise(number))
            save(tmp_path / f"below/a/{split}/{number}.png", noise(number))
            save(tmp_path / f"below/b/{split}/{number}.png", noise(number))
    rows = found(tmp_path / "above", modality="X-ray")[0].rows
    assert set(rows["label"]) == {"NORMAL", "PNEUMONIA"}
    assert rows["split"].value_counts().to_dict() == {"train": 6, "validation": 6, "test": 6}
    assert set(rows["modality"]) == {"X-ray"}
    rows = found(tmp_path / "below")[0].rows
    assert set(rows["label"]) == {"a", "b"}
    assert set(rows["split"]) == {"train", "validation", "test"}


def test_images_and_masks_in_folders(tmp_path: Path) -> None:
    mask = np.zeros((24, 24), np.uint8)
    mask[:8], mask[8:12] = 1, 2
    for number in range(6):
        save(tmp_path / f"train/images/{number}.jpg", noise(number))
        save(tmp_path / f"train/masks/{number}.png", mask)
        save(tmp_path / f"ISIC_Test_Input/ISIC_{number}.jpg", noise(number))
        save(tmp_path / f"ISIC_Test_GroundTruth/ISIC_{number}_segmentation.png", mask)
    save(tmp_path / "train/masks/lone.png", mask)
    layout, task, _ = found(tmp_path)
    assert task == "segmentation"
    rows = layout.rows.set_index("image")
    assert len(rows) == 12
    assert rows.loc["train/images/3.jpg", "mask"] == "train/masks/3.png"
    assert rows.loc["train/images/3.jpg", "split"] == "train"
    assert rows.loc["ISIC_Test_Input/ISIC_3.jpg", "mask"] == "ISIC_Test_GroundTruth/ISIC_3_segmentation.png"
    assert rows.loc["ISIC_Test_Input/ISIC_3.jpg", "split"] == "test"
    assert layout.settings["regions"] == [{"name": f"label {n}", "values": [n]} for n in (1, 2)]
    assert any("left out (train/masks/lone.png)" in sentence for sentence in layout.guessed)


def test_colours_of_masks_are_regions(tmp_path: Path) -> None:
    mask = np.zeros((24, 24, 3), np.uint8)
    mask[:8], mask[8:12] = (255, 0, 0), (0, 0, 255)
    for number in range(4):
        save(tmp_path / f"images/{number}.png", noise(number))
        save(tmp_path / f"masks/{number}.png", mask)
    regions = found(tmp_path)[0].settings["regions"]
    assert [region["colours"] for region in regions] == [["#0000ff"], ["#ff0000"]]


def test_patients_modalities_and_hospitals_by_their_folders(tmp_path: Path) -> None:
    for hospital in ("hospital_A", "hospital_B"):
        for patient in range(1, 4):
            for image in range(2):
                save(tmp_path / f"{hospital}/patient{patient}/benign/{image}.png", noise(image))
                save(tmp_path / f"{hospital}/patient{patient + 3}/malignant/{image}.png", noise(image))
    rows = found(tmp_path)[0].rows
    assert set(rows["institution"]) == {"hospital_A", "hospital_B"}
    assert set(rows["patient"]) == {f"patient{number}" for number in range(1, 7)}
    assert set(rows["label"]) == {"benign", "malignant"}


def test_two_levels_of_classes_are_told(tmp_path: Path) -> None:
    for side in ("left", "right"):
        for kind in ("benign", "malignant"):
            for number in range(3):
                save(tmp_path / f"{side}/{kind}/{number}.png", noise(number))
    layout, _, _ = found(tmp_path)
    assert set(layout.rows["label"]) == {"left", "right"}
    assert any("left and right were taken, and not benign and malignant" in one for one in layout.guessed)


def test_a_table_of_labels(tmp_path: Path) -> None:
    labels_in_a_table(tmp_path)
    (tmp_path / "images/not_listed.jpg").write_bytes((tmp_path / "images/cell_000.jpg").read_bytes())
    layout, task, _ = found(tmp_path)
    assert (layout.name, task) == ("a table of labels", "classification")
    assert layout.rows.iloc[3].to_dict() == {
        "image": "images/cell_003.jpg",
        "label": "LYMPHOCYTE",
        "patient": "1",
        "modality": "unknown",
    }
    assert any("1 images are in no row" in sentence for sentence in layout.guessed)


def test_columns_of_0_and_1_are_labels(tmp_path: Path) -> None:
    rows = ["file,sex,edema,mass"]
    for number in range(6):
        save(tmp_path / f"{number}.png", noise(number))
        rows.append(f"/their/disk/{number}.png,{'mf'[number % 2]},{number % 2},{int(number < 4)}")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    layout = found(tmp_path)[0]
    assert layout.rows["label"].tolist() == ["mass", "edema|mass", "mass", "edema|mass", "", "edema"]


def test_labels_in_one_of_several_columns(tmp_path: Path) -> None:
    rows = ["id,sex,stage"]
    for number in range(8):
        save(tmp_path / f"{number}.png", noise(number))
        rows.append(f"{number},{'mf'[number % 2]},{'IV'[number % 2]}")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    with pytest.raises(DataError, match=r"the labels could be in 'sex' and 'stage'. Say which column with --label"):
        found(tmp_path)
    assert set(found(tmp_path, label="stage")[0].rows["label"]) == {"I", "V"}
    with pytest.raises(DataError, match=r"has no column 'stge'. Did you mean 'stage'"):
        found(tmp_path, label="stge")


def test_several_tables(tmp_path: Path) -> None:
    for number in range(8):
        save(tmp_path / f"{number}.png", noise(number))
    for name, numbers in (("train", range(6)), ("test", range(6, 8))):
        lines = [f"{number}.png,{'ab'[number % 2]}" for number in numbers]
        (tmp_path / f"{name}.csv").write_text("\n".join(["image,label", *lines]))
    rows = found(tmp_path)[0].rows
    assert (
        rows["split"].tolist() == ["train"] * 6 + ["test"] * 2 or sorted(rows["split"]) == ["test"] * 2 + ["train"] * 6
    )
    (tmp_path / "train.csv").rename(tmp_path / "old.csv")
    with pytest.raises(DataError, match=r"2 tables name the images .* give --table"):
        found(tmp_path)
    assert len(found(tmp_path, table="old.csv")[0].rows) == 6


def test_a_table_of_questions(tmp_path: Path) -> None:
    layout, task, learned = found(questions_in_a_table(tmp_path))
    assert (layout.name, task, learned) == ("a table of questions", "vqa", "answer")
    assert layout.rows.iloc[0].to_dict() == {
        "image": "scans/scan0.png",
        "question": "Is it bright?",
        "answer": "no",
        "type": "presence",
        "modality": "unknown",
    }
    entries = [{"image_name": "scan1.png", "question": "Is it?", "answer": "yes"} for _ in range(3)]
    (tmp_path / "questions.csv").unlink()
    (tmp_path / "q.json").write_text(json.dumps(entries))
    assert found(tmp_path)[1] == "vqa"


def test_dicom_series(tmp_path: Path) -> None:
    layout, task, _ = found(dicom_series(tmp_path, patients=4))
    assert (layout.name, task) == ("DICOM", "classification")
    assert layout.rows["image"].tolist()[0] == "healthy/series1"
    assert layout.rows["label"].tolist() == ["healthy", "healthy", "lesion", "lesion"]
    assert set(layout.rows["modality"]) == {"CT"}
    assert layout.rows["patient"].nunique() == 4
    text = layout.rows.to_csv()
    assert "MRN" not in text
    assert "Doe" not in text
    again, _, _ = found(tmp_path)
    assert again.rows.equals(layout.rows), "patients are called the same each time"


def test_nnunet(tmp_path: Path) -> None:
    layout, task, _ = found(nnunet_volumes(tmp_path, cases=3))
    assert (layout.name, task) == ("nnU-Net", "segmentation")
    assert layout.rows.iloc[1].to_dict() == {
        "image": "imagesTr/liver_001_0000.nii.gz",
        "mask": "labelsTr/liver_001.nii.gz",
        "patient": "liver_001",
        "modality": "CT",
    }
    assert layout.settings["axes"] == 3
    assert layout.settings["regions"] == [{"name": "organ", "values": [1, 2]}, {"name": "tumour", "values": [2]}]
    (tmp_path / "dataset.json").write_text(
        json.dumps({"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "l"}})
    )
    assert found(tmp_path)[0].settings["regions"] == [{"name": "l", "values": [1]}]
    (tmp_path / "dataset.json").unlink()
    assert [region["values"] for region in found(tmp_path)[0].settings["regions"]] == [[1], [2]]


def volume(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)


def test_bids(tmp_path: Path) -> None:
    mask = np.zeros((6, 6, 6), np.uint8)
    mask[2:4] = 1
    lines = ["participant_id\tage\tdiagnosis"]
    for number in range(1, 4):
        name = f"sub-{number:02d}"
        volume(
            tmp_path / f"{name}/anat/{name}_T1w.nii.gz", np.random.default_rng(0).random((6, 6, 6)).astype(np.float32)
        )
        volume(tmp_path / f"{name}/func/{name}_task-rest_bold.nii.gz", mask)
        volume(tmp_path / f"derivatives/seg/{name}/anat/{name}_T1w_label-lesion_mask.nii.gz", mask)
        lines.append(f"{name}\t50\t{'AD' if number % 2 else 'CN'}")
    (tmp_path / "participants.tsv").write_text("\n".join(lines))
    layout, task, _ = found(tmp_path)
    assert (layout.name, task) == ("BIDS", "classification")
    assert layout.rows["label"].tolist() == ["AD", "CN", "AD"]
    assert layout.rows["patient"].tolist() == ["sub-01", "sub-02", "sub-03"]
    assert layout.rows["modality"].tolist() == ["T1w"] * 3
    assert layout.rows["mask"].str.endswith("T1w_label-lesion_mask.nii.gz").all()


def test_volumes_in_class_folders(tmp_path: Path) -> None:
    for number in range(4):
        volume(
            tmp_path / f"{'ab'[number % 2]}/{number}.nii", np.random.default_rng(0).random((6, 6, 6)).astype(np.float32)
        )
    layout, task, _ = found(tmp_path)
    assert (layout.name, task) == ("class folders", "classification")
    assert layout.settings["axes"] == 3


def test_medmnist_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x/bloodmnist_64.npz").write_bytes(b"PK")
    layout, _, _ = found(tmp_path)
    assert layout.source == {"kind": "medmnist", "set": "bloodmnist", "pixels": 64, "folder": "x"}


def test_pairs_of_two_modalities(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / f"PET-MRI/PET/{number}.png", noise(number))
        save(tmp_path / f"PET-MRI/MRI/{number}.png", noise(number + 10))
    layout, task, _ = found(tmp_path)
    assert (layout.name, task) == ("pairs of two modalities", "image_fusion")
    assert layout.rows.iloc[0].to_dict() == {
        "image": "PET-MRI/PET/0.png",
        "pair": "PET-MRI/MRI/0.png",
        "patient": "PET-MRI/0",
        "modality": "PET-MRI",
    }
    assert found(tmp_path, "super_resolution")[2] == "image"


def test_what_is_not_understood_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none: no such folder"):
        found(tmp_path / "none")
    (tmp_path / "notes.docx").touch()
    with pytest.raises(DataError, match=r"holds no image, .* but 1 .docx"):
        found(tmp_path)
    (tmp_path / "t.csv").write_text("a,b\n1,2")
    with pytest.raises(DataError, match=r"its layout is not recognised \(1 tables\)"):
        found(tmp_path)
    save(tmp_path / "x/1.png", noise(1))
    with pytest.raises(
        DataError, match=r"nothing for task = 'vqa'; it was recognised as a folder of images \(for super"
    ):
        found(tmp_path, "vqa")
    with pytest.raises(DataError, match=r"cannot serve task = 'segmentaton' .* Did you mean 'segmentation'"):
        found(tmp_path, "segmentaton")
