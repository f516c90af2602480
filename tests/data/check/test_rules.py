"""Each rule of a check, on tables and files small enough to know what it must find."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_folders import SIDE, noise, save, write_dicom

from omnifm.data.check.check_examples import check_examples
from omnifm.data.check.duplicate_rules import duplicate_images
from omnifm.data.check.examples import Examples
from omnifm.data.check.file_rules import files_there, litter_listed, masks_shared
from omnifm.data.check.finding import Finding
from omnifm.data.check.row_rules import (
    lone_labels,
    names_of_people,
    patients_in_several_hospitals,
    patients_in_several_splits,
    patients_unknown,
    spellings,
    untrained_labels,
)
from omnifm.data.manifest.manifest_source import ManifestSource
from omnifm.data.source import Loading


def examples(learned: str = "label", files: Sequence[tuple[int, str, str]] = (), **columns: list[str]) -> Examples:
    """Return rows with these columns; the others are the same in every row."""
    count = len(next(iter(columns.values())))
    plain = {"name": [""] * count, "label": ["a"] * count, "patient": [f"p{row}" for row in range(count)]}
    plain |= {"modality": ["CT"] * count, "institution": ["here"] * count, "split": [""] * count}
    plain |= {"place": [f"t.csv, row {row + 2}" for row in range(count)]}
    labels = tuple(sorted(set("|".join(columns.get("label", ["a"])).split("|"))))
    frame = pd.DataFrame({**plain, **columns})
    return Examples(frame, pd.DataFrame(list(files), columns=["row", "role", "path"]), learned, labels)


def places(rule: Callable[[Examples], Iterator[Finding]], given: Examples) -> list[str]:
    return [finding.place for finding in rule(given)]


def test_a_label_of_one_image_or_one_patient() -> None:
    labels, patients = ["a", "b", "c", "b", "c", "c|a"], ["1", "2", "3", "2", "4", "5"]
    found = list(lone_labels(examples(label=labels, patient=patients)))
    assert [(finding.place, "only example" in finding.text) for finding in found] == [("t.csv, row 3", False)]
    assert "all 2 examples of 'b' are of this one patient" in found[0].text
    found = list(lone_labels(examples(label=["a", "b", "a"])))
    assert [finding.place for finding in found] == ["t.csv, row 3"]
    assert "is the only example of 'b'" in found[0].text
    assert not list(lone_labels(examples("mask", label=["", "", "x"])))


def test_a_label_that_is_never_trained() -> None:
    given = examples(label=["a", "a", "b"], split=["train", "test", "test"])
    assert places(untrained_labels, given) == ["t.csv, row 4"]
    assert not places(untrained_labels, examples(label=["a", "b"], split=["", ""]))


def test_words_that_differ_in_case_or_blanks() -> None:
    found = list(spellings(examples(label=["Benign", "benign", "benign", "x"], institution=["A", "A", "a ", "B"])))
    assert [finding.place for finding in found] == ["t.csv, row 4", "t.csv, row 2"]
    assert "'a ' (1) and 'A' (2) differ only in case or blanks, and count as 2 institutions" in found[0].text
    assert "'Benign' (1) and 'benign' (2)" in found[1].text


def test_a_patient_in_two_splits_or_hospitals() -> None:
    given = examples(
        patient=["p", "p", "q", "", ""],
        split=["train", "test", "test", "train", "test"],
        institution=["A", "A", "B", "A", "B"],
    )
    (found,) = patients_in_several_splits(given)
    assert (found.severity, found.place) == ("error", "t.csv, row 2")
    assert "is in train here, and also in test (t.csv, row 3)" in found.text
    assert not places(patients_in_several_hospitals, given)
    given = examples(patient=["p", "q", "p"], institution=["A", "B", "B"])
    assert places(patients_in_several_hospitals, given) == ["t.csv, row 2"]


def test_the_split_of_the_partition_counts() -> None:
    given = examples(patient=["p", "p"], client=["c", "c"], part=["train", "validation"])
    assert places(patients_in_several_splits, given) == ["t.csv, row 2"]


def test_rows_without_a_patient_are_counted_once() -> None:
    (found,) = patients_unknown(examples(patient=["", "p", ""]))
    assert found.place == "t.csv"
    assert "2 of 3 rows" in found.text


def test_names_of_people_are_told_by_row_and_never_shown() -> None:
    names = ["scans/Mueller_Anna_01.png", "scans/Chest_Normal_02.png", "DOE^JOHN.dcm", "Left_Lung.png", "x_12.png"]
    found = list(names_of_people(examples(name=names, patient=["1", "2", "3", "Smith, Peter", "5"])))
    assert [finding.place for finding in found] == ["t.csv, row 2", "t.csv, row 4", "t.csv, row 5"]
    assert not any(word in str(found) for word in ("Mueller", "Anna", "DOE", "Smith", "Peter"))


def test_labels_are_no_names() -> None:
    names = [f"Adipose_Stroma_{number}.png" for number in range(3)]
    assert not list(names_of_people(examples(name=names, label=["Adipose", "Stroma", "x"])))


def test_files_that_are_missing_empty_or_litter(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "._x.png").write_bytes(b"x")
    paths = [str(tmp_path / name) for name in ("empty.png", "none.png", "._x.png")]
    given = examples(files=[(row, "image", path) for row, path in enumerate(paths)], name=paths)
    assert places(files_there, given) == ["t.csv, row 2", "t.csv, row 3"]
    assert places(litter_listed, given) == ["t.csv, row 4"]


def test_a_mask_of_two_images() -> None:
    files = [(0, "image", "a.png"), (1, "image", "b.png"), (2, "image", "a.png")]
    files += [(0, "mask", "m.png"), (1, "mask", "m.png"), (2, "mask", "m.png")]
    (found,) = masks_shared(examples("mask", files, name=["", "", ""]))
    assert found.place == "t.csv, row 2"
    assert found.text.startswith("its mask m.png is also that of t.csv, row 3.")


@pytest.fixture
def copies(tmp_path: Path) -> list[tuple[int, str, str]]:
    """Rows 0, 2 and 3 have files of one content, row 1 one of the same size."""
    for row, content in enumerate((b"same", b"othr", b"same", b"same")):
        (tmp_path / f"{row}.png").write_bytes(content)
    return [(row, "image", str(tmp_path / f"{row}.png")) for row in range(4)]


def test_images_of_one_content(copies: list[tuple[int, str, str]]) -> None:
    given = examples(
        files=copies, split=["train", "test", "test", "train"], label=["a", "a", "a", "b"], institution=["A"] * 4
    )
    found = list(duplicate_images(given))
    assert [(finding.severity, finding.place) for finding in found] == [
        ("error", "t.csv, row 4"),
        ("error", "t.csv, row 5"),
    ]
    assert "as that of t.csv, row 2, which is for training, and this for test" in found[0].text
    assert "labelled 'b' here and 'a' there" in found[1].text


def test_images_of_one_content_at_two_hospitals(copies: list[tuple[int, str, str]]) -> None:
    found = list(duplicate_images(examples(files=copies, institution=["A", "A", "B", "A"])))
    assert [finding.severity for finding in found] == ["warning", "warning"]
    assert "at another hospital (A, here B)" in found[0].text
    assert "so that it counts twice" in found[1].text


def test_questions_about_one_image_are_no_duplicates(copies: list[tuple[int, str, str]]) -> None:
    files = [(0, "image", "a.png"), (1, "image", "a.png"), (2, "image", "a.png")]
    given = examples("answer", files, split=["train", "train", "test"])
    assert places(duplicate_images, given) == ["t.csv, row 4"]


def manifest(root: Path, *lines: str) -> list[Finding]:
    (root / "t.csv").write_text("\n".join(lines))
    loading = Loading(root=root, size=0, channels=1, seed=0, cache=root)
    return check_examples(ManifestSource("t.csv").everything(loading))


def told(findings: list[Finding], row: int) -> list[str]:
    return [finding.text for finding in findings if finding.place.endswith(f"t.csv, row {row}")]


def test_everything_is_told_at_once(tmp_path: Path) -> None:
    save(tmp_path / "good.png", noise(1) + np.uint8(90))
    save(tmp_path / "copy.bmp", noise(1) + np.uint8(90))
    save(tmp_path / "black.png", noise(1) * 0)
    save(tmp_path / "small.png", noise(2, 4, 40))
    save(tmp_path / "mask.png", np.zeros((SIDE, SIDE), np.uint8))
    (tmp_path / "bad.png").write_bytes(b"no image")
    write_dicom(tmp_path / "d.dcm", np.arange(256).reshape(16, 16), patient=0, position=0.0)
    findings = manifest(
        tmp_path,
        "image,label,mask,patient",
        "good.png,a,mask.png,1",
        "copy.bmp,a,,2",
        "black.png,b,,3",
        "small.png,b,mask.png,4",
        "bad.png,A,,5",
        "d.dcm,b,,6",
        ",b,,7",
    )
    assert any(text.startswith("its masks are empty") for text in told(findings, 2))
    assert told(findings, 3) == [
        "has no mask. Fill in the cell, or remove the row.",
        f"is the same image as that of {tmp_path}/t.csv, row 2, so that it counts twice. Remove one of them.",
    ]
    assert any("shows nothing: it is black" in text for text in told(findings, 4))
    assert any("the mask has 24 x 24 pixels, but its image small.png 4 x 40" in text for text in told(findings, 5))
    assert any("cannot be read as an image" in text for text in told(findings, 6))
    assert any("'A' (1) and 'a' (2) differ only in case" in text for text in told(findings, 6))
    assert any("holds PatientName and PatientID" in text for text in told(findings, 7))
    assert told(findings, 8)[0] == "has no image. Fill in the cell, or remove the row."
    assert not any("Doe" in str(finding) for finding in findings)
    assert {finding.severity for finding in findings} == {"error", "warning"}


def test_values_outside_the_range(tmp_path: Path) -> None:
    np.save(tmp_path / "nan.npy", np.array([[0.0, np.nan], [1.0, 2.0]]))
    save(tmp_path / "dim.png", (np.arange(576).reshape(SIDE, SIDE) % 200).astype(np.uint16) + 5000)
    save(tmp_path / "long.png", noise(3, 10, 40))
    findings = manifest(tmp_path, "image", "nan.npy", "dim.png", "long.png")
    assert any("values that are not finite" in text for text in told(findings, 2))
    assert any("uses 5000 to 5199 only, of 0 to 65535" in text for text in told(findings, 3))
    assert told(findings, 4) == [
        f"{tmp_path}/long.png is 10 x 40, and becomes a square. Cut it, or pad it to a square."
    ]
