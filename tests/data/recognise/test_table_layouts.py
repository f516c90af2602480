"""Tables beside volumes, in the words of other countries, and what is said of tables that are not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from made_folders import dicom_series, masks_beside_images, noise, questions_in_a_table, save, write_dicom

from omnifm.data.recognise.folder_contents import FolderContents
from omnifm.data.recognise.layout import FolderLayout, Hints
from omnifm.data.recognise.recognise_folder import recognise
from omnifm.data.recognise.starter import starter
from omnifm.utils.errors import DataError


@pytest.fixture(autouse=True)
def own_key(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the key of pseudonyms out of the user's own folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("home")))


def layout_of(root: Path, task: str = "", **hints: str) -> FolderLayout:
    return recognise(FolderContents.of(root), Hints(**hints), task)[0]


def source_of(root: Path, learned: str, task: str) -> dict[str, Any]:
    return dict(starter(layout_of(root), root, root, task, learned).experiment["data"]["sources"][0])


def write_volume(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).random((6, 6, 6)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)


def volumes_in_a_table(folder: Path, header: str, row: str, below: str = "") -> None:
    """Write twelve volumes and a table of them; in ``row``, ``{name}`` is a volume's name and ``{word}`` a or b."""
    for number in range(12):
        write_volume(folder / below / f"s{number}.nii.gz", number)
    rows = [row.format(name=f"s{number}", word="ab"[number % 2]) for number in range(12)]
    (folder / "table.csv").write_text("\n".join([header, *rows]))


def test_of_volumes_that_a_table_names_slices_are_taken(tmp_path: Path) -> None:
    volumes_in_a_table(tmp_path, "scan,diagnosis", "{name},{word}", below="scans")
    assert source_of(tmp_path, "label", "classification")["slices"] == 8


def test_a_question_about_a_volume_is_about_its_middle(tmp_path: Path) -> None:
    volumes_in_a_table(tmp_path, "image,question,answer", "{name}.nii.gz,what is it?,{word}")
    source = source_of(tmp_path, "answer", "vqa")
    assert source["pages"] == "middle"
    assert "slices" not in source


def test_a_table_may_name_the_folders_of_series(tmp_path: Path) -> None:
    dicom_series(tmp_path / "all", patients=4, slices=2)
    words = [(("gesund", "krank")[number % 2], ("Nord", "Süd")[number // 2]) for number in range(4)]
    rows = ["series;Befund;Klinik", *(f"series{number};{';'.join(two)}" for number, two in enumerate(words))]
    (tmp_path / "Liste.csv").write_bytes("\n".join(rows).encode("latin-1"))
    layout = layout_of(tmp_path)
    assert layout.name == "a table of labels"
    assert layout.settings == {"axes": 3}
    assert layout.rows["image"].tolist() == [f"all/{('lesion', 'healthy')[n % 2]}/series{n}" for n in range(4)]
    assert layout.rows["label"].tolist() == ["gesund", "krank"] * 2
    assert layout.rows["institution"].tolist() == ["Nord", "Nord", "Süd", "Süd"]
    assert layout.rows["modality"].tolist() == ["CT"] * 4, "as the headers say"
    assert layout.rows["patient"].nunique() == 4
    assert "MRN" not in layout.rows.to_csv()
    assert layout_of(tmp_path, modality="X").rows["modality"].tolist() == ["X"] * 4


def test_files_of_dicom_in_a_table_are_images(tmp_path: Path) -> None:
    rows = ["file,label"]
    for number in range(4):
        write_dicom(tmp_path / f"x{number}.dcm", noise(number).astype(np.int16), patient=number, position=0)
        rows.append(f"x{number}.dcm,{'ab'[number % 2]}")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    layout = layout_of(tmp_path)
    assert layout.settings == {}
    assert set(layout.rows["modality"]) == {"CT"}


def test_a_table_that_is_not_there_is_not_passed_over(tmp_path: Path) -> None:
    masks_beside_images(tmp_path, each=2)
    with pytest.raises(DataError, match=r"no table in it names the images, of which --label 'foo' could .* class fold"):
        layout_of(tmp_path, label="foo")
    (tmp_path / "other.csv").write_text("a,b\n1,2")
    with pytest.raises(DataError, match=r"other.csv: no column of it names the images"):
        layout_of(tmp_path, table="other.csv")
    questions_in_a_table(tmp_path / "asked", images=2)
    assert layout_of(tmp_path / "asked", table="questions.csv").of_table


def test_what_was_made_of_images_is_none(tmp_path: Path) -> None:
    import pydicom

    for number in range(3):
        write_dicom(tmp_path / f"x{number}.dcm", noise(number).astype(np.int16), patient=number, position=0)
    drawn = pydicom.dcmread(tmp_path / "x2.dcm")
    drawn.Modality = "SEG"
    drawn.save_as(tmp_path / "x2.dcm")
    layout = layout_of(tmp_path)
    assert layout.rows["image"].tolist() == ["x0.dcm", "x1.dcm"]
    assert any("1 files of modality SEG and RTDOSE" in sentence for sentence in layout.guessed)
    for number in range(2):
        (tmp_path / f"x{number}.dcm").unlink()
    with pytest.raises(DataError, match=r"none of its 1 DICOM files is an image, such as x2.dcm. Give the folder"):
        layout_of(tmp_path)


def test_bids_names_the_hospitals_in_its_participants(tmp_path: Path) -> None:
    lines = ["participant_id\tgroup\tsite"]
    for number in range(1, 5):
        write_volume(tmp_path / f"sub-{number}/anat/sub-{number}_T1w.nii.gz", number)
        lines.append(f"sub-{number}\t{'ab'[number % 2]}\t{'NNSS'[number - 1]}")
    (tmp_path / "participants.tsv").write_text("\n".join(lines))
    layout = layout_of(tmp_path)
    assert layout.rows["institution"].tolist() == ["N", "N", "S", "S"]
    assert "The institution is the column 'site' of participants.tsv." in layout.recognised


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"but nothing at all. Give the folder that holds your images"):
        FolderContents.of(tmp_path)
    save(tmp_path / "x.png", noise(1))
    assert FolderContents.of(tmp_path).images
