from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from omnifm.data.columns import Shared, Texts, as_tensor, read_texts
from omnifm.data.questions import as_text, is_closed, read_entries, read_utf8
from omnifm.data.slake import SLAKESource
from omnifm.data.source import Loading
from omnifm.data.subset import SourceTable, Subset
from omnifm.data.vocabulary import agreed_answers
from omnifm.data.vqa_med import VQAMedSource
from omnifm.data.vqa_rad import VQARADSource
from omnifm.utils.errors import DataError


def loading(root: Path, size: int = 8) -> Loading:
    return Loading(root=root, size=size, channels=1, seed=0, cache=root)


def draw_image(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8), value, np.uint8)).save(path)


def texts(table: SourceTable, field: str) -> list[str]:
    return read_texts(as_tensor(table.fields[field]))


def types(table: SourceTable) -> list[str]:
    return [table.label_names[label] for label in as_tensor(table.fields["label"]).tolist()]


RAD: dict[str, Any] = {
    "qid": 1,
    "image_name": "synpic1.jpg",
    "image_organ": "HEAD",
    "answer": "Yes",
    "answer_type": "CLOSED ",
    "question_type": "PRES, ATTRIB",
    "question": "Is  there a Lesion?\t",
    "phrase_type": "freeform",
    "modality": "MRI",
}


def rad_folder(root: Path, *changes: dict[str, Any], without: str = "") -> Path:
    """Lay VQA-RAD with an entry for each set of changes, and one for test; return the file of training questions."""
    folder = root / "vqa-rad"
    for number, name in enumerate(("synpic1.jpg", "synpic2.jpg"), start=1):
        draw_image(folder / "images" / name, 100 * number)
    entries = [{key: value for key, value in {**RAD, **change}.items() if key != without} for change in changes]
    (folder / "trainset.json").write_text(json.dumps(entries), encoding="utf-8")
    (folder / "testset.json").write_text(json.dumps([{**RAD, "image_name": "synpic2.jpg"}]), encoding="utf-8")
    return folder / "trainset.json"


@pytest.mark.slow
def test_vqa_rad_as_published(shared_data: Path) -> None:
    table = VQARADSource(split="question").load(loading(shared_data))
    assert len(table) == 3064 + 451
    image = table.fields["image"]
    assert isinstance(image, Shared)
    assert image.values.shape == (314, 1, 8, 8)
    assert len(set(table.patients)) == 314
    assert int(as_tensor(table.fields["closed"]).sum()) == 2095
    assert set(table.modalities) == {"CT", "MRI", "X-ray"}
    assert types(table).count("presence") == 1377 + 20 + 2  # of these types alone or first, and misspelt
    assert {"1", "2"} & set(texts(table, "answer"))  # published as integers
    assert table.split is not None
    assert [table.split.count(name) for name in ("train", "validation", "test")] == [2758, 306, 451]


def test_a_question_becomes_a_row(tmp_path: Path) -> None:
    rad_folder(tmp_path, {}, {"answer": 3, "answer_type": "open", "image_name": "synpic2.jpg", "question_type": "SIZE"})
    table = VQARADSource().load(loading(tmp_path))
    assert texts(table, "question")[0] == "is there a lesion?"
    assert texts(table, "answer") == ["yes", "3", "yes"]
    assert as_tensor(table.fields["closed"]).tolist() == [True, False, True]
    assert types(table) == ["presence", "size", "presence"]
    assert (255 * as_tensor(table.fields["image"])[:, 0, 0, 0]).round().tolist() == [100, 200, 200]
    assert table.patients[1] == table.patients[2] == "vqa-rad/images/synpic2.jpg"
    assert table.split is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": ""}, "entry 2: its answer is empty"),
        ({"answer": None}, "entry 2: its answer is nothing, but must be a text"),
        ({"answer": ["yes"]}, "entry 2: its answer is a list"),
        ({"answer": True}, "entry 2: its answer is true or false"),
        ({"question": " \n"}, "entry 2: its question is empty"),
        ({"answer": "a\0b"}, "entry 2: its answer holds an invalid character"),
        ({"question": "what is \ud800?"}, "entry 2: its question holds an invalid character"),
        ({"answer_type": "MAYBE"}, "entry 2: its answer_type is 'MAYBE', but must be OPEN or CLOSED"),
        ({"image_name": "synpic3.jpg"}, r"entry 2: its image .*synpic3\.jpg is missing"),
        ({"image_name": ""}, "entry 2: its image_name is empty"),
    ],
)
def test_an_entry_that_does_not_fit_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    rad_folder(tmp_path, {}, change)
    with pytest.raises(DataError, match=message):
        VQARADSource().load(loading(tmp_path))


@pytest.mark.parametrize("key", ["image_name", "answer", "question", "answer_type", "modality"])
def test_an_entry_that_lacks_a_key_is_named(tmp_path: Path, key: str) -> None:
    rad_folder(tmp_path, {}, without=key)
    with pytest.raises(DataError, match=f"entry 1: has no '{key}'"):
        VQARADSource().load(loading(tmp_path))


def test_the_organ_needs_no_modality(tmp_path: Path) -> None:
    rad_folder(tmp_path, {}, without="modality")
    assert VQARADSource(group="organ").load(loading(tmp_path)).modalities == ("HEAD", "HEAD")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[\n{}, \xff]", "line 2 is not UTF-8"),
        (b"{}", "must be a list of questions, but is an object"),
        (b"[1]", "entry 1: must be an object with .*, but is a number"),
        (b"[{", "is not valid JSON"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    rad_folder(tmp_path, {}).write_bytes(content)
    with pytest.raises(DataError, match=rf"trainset\.json.*{message}"):
        VQARADSource().load(loading(tmp_path))


def test_missing_files_say_what_to_lay_where(tmp_path: Path) -> None:
    for source, missing in ((VQARADSource(), "trainset.json"), (SLAKESource(), "train.json")):
        with pytest.raises(DataError, match=rf"{missing}: cannot be read .*Put "):
            source.load(loading(tmp_path))
    with pytest.raises(DataError, match=r"C1_Modality_train.txt: cannot be read .*docs/data\.md"):
        VQAMedSource(2019).load(loading(tmp_path))


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf[{"a": 1}]')
    assert list(read_entries(tmp_path / "a.json", ("a",), "", loading(tmp_path))) == [
        (f"{tmp_path / 'a.json'}, entry 1", {"a": 1})
    ]
    assert read_utf8(tmp_path / "a.json", "", loading(tmp_path)).startswith("[")


def test_texts_and_answer_types() -> None:
    assert as_text(" 肺  In  CT ", "answer", "here") == "肺 in ct"
    assert as_text(2.5, "answer", "here") == "2.5"
    assert is_closed(" closed", "here")
    assert not is_closed("Open", "here")


SLAKE = {
    "img_id": 1,
    "img_name": "xmlab1/source.jpg",
    "question": "What modality is used to take this image?",
    "answer": "MRI",
    "q_lang": "en",
    "location": "Pelvic Cavity",
    "modality": "MRI",
    "answer_type": "OPEN",
    "base_type": "vqa",
    "content_type": "Modality",
    "triple": ["vhead", "_", "_"],
    "qid": 9,
}


def test_slake(tmp_path: Path) -> None:
    folder = tmp_path / "Slake1.0"
    for number in range(3):
        draw_image(folder / f"imgs/xmlab{number}/source.jpg", number)
    chinese = {"q_lang": "zh", "question": "图中有肿块吗?", "answer": "有", "answer_type": "CLOSED"}
    for number, name in enumerate(("train", "validate", "test")):
        place = {"img_name": f"xmlab{number}/source.jpg"}
        entries = [{**SLAKE, **place}, {**SLAKE, **place, **chinese, "content_type": "Color", "modality": "X-Ray"}]
        (folder / f"{name}.json").write_text(json.dumps(entries), encoding="utf-8")
    english = SLAKESource().load(loading(tmp_path))
    assert texts(english, "answer") == ["mri"] * 3
    assert english.split == ("train", "validation", "test")
    assert english.patients[1] == "slake/xmlab1/source.jpg"
    both = SLAKESource(language="both").load(loading(tmp_path))
    assert types(both) == ["modality", "colour"] * 3
    assert both.modalities == ("MRI", "X-ray") * 3
    assert SLAKESource(language="zh").load(loading(tmp_path)).fields["closed"].tolist() == [True] * 3
    assert texts(both, "question")[1] == "图中有肿块吗?"
    assert set(SLAKESource(group="location").load(loading(tmp_path)).modalities) == {"Pelvic cavity"}


MED = {
    2019: {
        "ImageClef-2019-VQA-Med-Training/QAPairsByCategory/C1_Modality_train.txt": "a|what type of image is this?|CTA",
        "ImageClef-2019-VQA-Med-Training/QAPairsByCategory/C2_Plane_train.txt": "a|in what plane is this?|Axial\n",
        "ImageClef-2019-VQA-Med-Training/QAPairsByCategory/C3_Organ_train.txt": "b|what organ is this?|spine, contents",
        "ImageClef-2019-VQA-Med-Training/QAPairsByCategory/C4_Abnormality_train.txt": "b|is it normal?|Yes",
        "ImageClef-2019-VQA-Med-Validation/QAPairsByCategory/C1_Modality_val.txt": "c|is this an mri?|no",
        "ImageClef-2019-VQA-Med-Validation/QAPairsByCategory/C2_Plane_val.txt": "",
        "ImageClef-2019-VQA-Med-Validation/QAPairsByCategory/C3_Organ_val.txt": "\n",
        "ImageClef-2019-VQA-Med-Validation/QAPairsByCategory/C4_Abnormality_val.txt": "",
        "VQAMed2019Test/VQAMed2019_Test_Questions_w_Ref_Answers.txt": "d|organ|which organ?|esophagus#stomach",
    },
    2020: {
        "VQA-Med-2020-Task1-VQAnswering-TrainVal-Sets/VQAMed2020-VQAnswering-TrainingSet/"
        "VQAnswering_2020_Train_QA_pairs.txt": "a|what is abnormal?|intussusception",
        "VQA-Med-2020-Task1-VQAnswering-TrainVal-Sets/VQAMed2020-VQAnswering-ValidationSet/"
        "VQAnswering_2020_Val_QA_Pairs.txt": "c|is this normal?|no",
        "VQA-TestSet-ReferenceAnswers-VQAMed2020-Task1/VQAMed2020-Task1-VQAnswering-Test-Questions.txt": "d|what?",
        "VQA-TestSet-ReferenceAnswers-VQAMed2020-Task1/VQAMed2020-Task1-VQAnswering-Test-ReferenceAnswers.txt": (
            "d|Ankle joint"
        ),
    },
}
MED[2021] = {
    **{name: text for name, text in MED[2020].items() if "TrainVal" in name},
    "VQA-Med-2021-Tasks-1-2-NewValidationSets/VQA-Med-2021-VQAnswering-Task1-New-ValidationSet.txt": "e|what?|cyst",
    "Task1-VQA-2021-TestSet-w-GroundTruth/Task1-VQA-2021-TestSet-Questions.txt": "f|what is abnormal?",
    "Task1-VQA-2021-TestSet-w-GroundTruth/Task1-VQA-2021-TestSet-ReferenceAnswers.txt": "f|lipoma|a fatty mass",
}
MED_IMAGES = {
    "ImageClef-2019-VQA-Med-Training/Train_images": "ab",
    "ImageClef-2019-VQA-Med-Validation/Val_images": "c",
    "VQAMed2019Test/VQAMed2019_Test_Images": "d",
    "VQA-Med-2020-Task1-VQAnswering-TrainVal-Sets/VQAMed2020-VQAnswering-TrainingSet/VQAnswering_2020_Train_images": (
        "a"
    ),
    "VQA-Med-2020-Task1-VQAnswering-TrainVal-Sets/VQAMed2020-VQAnswering-ValidationSet/VQAnswering_2020_Val_images": (
        "c"
    ),
    "VQA-TestSet-ReferenceAnswers-VQAMed2020-Task1/Task1-2020-VQAnswering-Test-Images": "d",
    "VQA-Med-2021-Tasks-1-2-NewValidationSets/ImageCLEF-2021-VQA-Med-New-Validation-Images": "e",
    "Task1-VQA-2021-TestSet-w-GroundTruth/VQA-500-Images": "f",
}


def med_folder(root: Path) -> Path:
    for files in MED.values():
        for name, text in files.items():
            path = root / "vqa-med" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for folder, images in MED_IMAGES.items():
        for image in images:
            draw_image(root / "vqa-med" / folder / f"{image}.jpg")
    return root / "vqa-med"


@pytest.mark.parametrize(
    ("year", "answers", "split", "kinds"),
    [
        (
            2019,
            ["cta", "axial", "spine, contents", "yes", "no", "esophagus"],
            ["train"] * 4 + ["validation", "test"],
            ["modality", "plane", "organ", "abnormality", "modality", "organ"],
        ),
        (2020, ["intussusception", "no", "ankle joint"], ["train", "validation", "test"], ["abnormality"] * 3),
        (
            2021,
            ["intussusception", "no", "cyst", "lipoma"],
            ["train", "train", "validation", "test"],
            ["abnormality"] * 4,
        ),
    ],
)
def test_vqa_med(tmp_path: Path, year: Any, answers: list[str], split: list[str], kinds: list[str]) -> None:
    med_folder(tmp_path)
    table = VQAMedSource(year).load(loading(tmp_path))
    assert texts(table, "answer") == answers
    assert table.split == tuple(split)
    assert types(table) == kinds
    assert as_tensor(table.fields["closed"]).tolist() == [answer in ("yes", "no") for answer in answers]
    assert set(table.institutions) == {f"vqa-med-{year}"}
    assert set(table.modalities) == {"radiology"}


def test_damaged_vqa_med_is_named(tmp_path: Path) -> None:
    folder = med_folder(tmp_path)
    path = folder / "ImageClef-2019-VQA-Med-Training/QAPairsByCategory/C2_Plane_train.txt"
    for content, message in (
        (b"a|in what plane?\n", r"line 1: must be image\|question\|answer, but is 'a\|in what plane\?'"),
        (b"\na|in what plane?|\n", "line 2: its answer is empty"),
        (b"a|in what plane?|axial\n\xe9\n", "line 2 is not UTF-8"),
        (b"z|in what plane?|axial", r"line 1: its image .*z\.jpg is missing"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            VQAMedSource(2019).load(loading(tmp_path))
    (folder / list(MED[2020])[-1]).write_text("x|tumour", encoding="utf-8")
    with pytest.raises(DataError, match="line 1: d has no answer in"):
        VQAMedSource(2020).load(loading(tmp_path))


def test_answers_are_agreed_on_by_patients_of_one_hospital() -> None:
    def hospital(answers: str, patients: str) -> Subset:
        return Subset({"answer": Texts.of(answers.split())}, patients.split())

    one = hospital("yes yes left left cyst", "a b a b a")
    other = hospital("no no cyst cyst yes", "c d c c c")
    assert agreed_answers([one, other], 2) == ("left", "no", "yes")
    assert agreed_answers([one, other], 1) == ("cyst", "left", "no", "yes")
    assert agreed_answers([one, other], 3) == ()


def test_images_are_kept_once_for_many_questions(tmp_path: Path) -> None:
    rad_folder(tmp_path, {}, {}, {})
    image = VQARADSource().load(loading(tmp_path)).fields["image"]
    assert isinstance(image, Shared)
    assert image.index.tolist() == [0, 0, 0, 1]
    assert torch.equal(image.index_select(0, torch.tensor([3]))[0], image.values[1])
