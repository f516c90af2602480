"""A run knows its data: it goes on with these only, keeps its split, and what it has learned needs them no more."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from small_run import document, omnifm, result, write_images

import omnifm as library
from omnifm.config.experiment import read_plan
from omnifm.data.federated_dataset import load_dataset

ROUNDS = {"rounds": 2, "evaluate_every": 1}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data, the experiment and a finished run of two hospitals."""
    folder = tmp_path_factory.mktemp("original")
    sources = write_images(folder / "data", {"a": "CT", "b": "MRI"}, count=6)
    content = {**document(Path("data"), sources, "omnifm"), "federation": ROUNDS}
    (folder / "tiny.toml").write_text(tomli_w.dumps(content), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert omnifm("run", "tiny.toml", "--out", "run", "--workers", 1).status == 0
    return folder


@pytest.fixture
def place(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of all of it, which is the working directory; the run lacks its last step."""
    shutil.copytree(original, tmp_path / "copy", copy_function=shutil.copy2)
    monkeypatch.chdir(tmp_path / "copy")
    (tmp_path / "copy/run/omnifm/result.json").unlink()
    return tmp_path / "copy"


def add_class(place: Path) -> None:
    shutil.copytree(place / "data/a/left", place / "data/a/aa")


def rename_class(place: Path) -> None:
    (place / "data/a/left").rename(place / "data/a/zleft")


def change_file(place: Path) -> None:
    shutil.copy(place / "data/b/right/0.png", place / "data/b/left/3.png")


def remove_files(place: Path) -> None:
    for name in ("left/3.png", "right/0.png"):
        (place / "data/b" / name).unlink()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (add_class, ("the class 'aa' was added; 6 files were added, such as a/aa/",)),
        (rename_class, ("the class 'zleft' was added", "6 files were removed")),
        (change_file, ("1 file was changed, such as b/left/3.png",)),
        (remove_files, ("2 files were removed.",)),
    ],
)
@pytest.mark.parametrize("finished", [False, True])
def test_a_run_does_not_go_on_with_other_data(
    original: Path, place: Path, change: Any, words: tuple[str, ...], finished: bool
) -> None:
    if finished:
        shutil.copy(original / "run/omnifm/result.json", place / "run/omnifm")
    change(place)
    ended = omnifm("run", "--resume", "run", "--workers", 1)
    assert ended.status == 1
    assert "The data are not those of run: " in ended.text
    assert all(word in ended.text for word in words), ended.text
    assert "Traceback" not in ended.text
    assert len([line for line in ended.text.splitlines() if line]) <= 2  # the sentence, and that rounds are kept


def test_with_the_same_data_elsewhere_it_ends_as_it_would_have(original: Path, place: Path) -> None:
    (place / "data").rename(place / "moved")
    changed = (place / "tiny.toml").read_text().replace('root = "data"', 'root = "moved"')
    (place / "tiny.toml").write_text(changed)
    ended = omnifm("run", "tiny.toml", "--resume", "run", "--workers", 1, "--no-cache")
    assert ended.status == 0, ended.text
    assert result(place / "run/omnifm")["weights_sha256"] == result(original / "run/omnifm")["weights_sha256"]


def test_a_run_of_an_older_version_goes_on_with_a_warning(original: Path, place: Path) -> None:
    shutil.rmtree(place / "run/data")
    ended = omnifm("run", "--resume", "run", "--workers", 1)
    assert ended.status == 0, ended.text
    assert "did not record the data" in ended.text
    assert result(place / "run/omnifm")["weights_sha256"] == result(original / "run/omnifm")["weights_sha256"]


def test_even_an_older_run_does_not_go_on_with_other_classes(place: Path) -> None:
    shutil.rmtree(place / "run/data")
    add_class(place)
    ended = omnifm("run", "--resume", "run", "--workers", 1)
    assert ended.status == 1
    assert "the class 'aa' was added" in ended.text


def test_no_name_of_a_file_or_patient_is_in_the_run(original: Path) -> None:
    text = "".join(path.read_text() for path in (original / "run/data").iterdir())
    assert "png" not in text
    assert "left/" not in text
    files = [json.loads(line) for line in next((original / "run/data").glob("files-*")).read_text().splitlines()]
    assert len(files) == 24
    assert all(len(line) == 3 for line in files)
    assert (original / "run/data/key").stat().st_mode & 0o77 == 0


def test_names_of_files_are_in_the_run_if_asked_for(place: Path) -> None:
    assert omnifm("run", "tiny.toml", "--out", "named", "--workers", 1, "--set", "data.name_files=true").status == 0
    names = [json.loads(line)[3] for line in next((place / "named/data").glob("files-*")).read_text().splitlines()]
    assert "a/left/0.png" in names
    remove_files(place)
    ended = omnifm("run", "--resume", "named", "--workers", 1)
    assert "2 files were removed, such as b/left/3.png" in ended.text


def test_what_was_learned_needs_no_data(original: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(original / "run/omnifm/result.json", place / "run/omnifm")
    images = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    monkeypatch.chdir(original)
    expected = {client: library.load("run").model(client)(images) for client in ("CT", "MRI")}
    monkeypatch.chdir(place)
    shutil.rmtree(place / "data")
    run = library.load("run")
    for client, prediction in expected.items():
        assert torch.equal(run.model(client)(images), prediction)
        assert run.model(client).label_names == ("left", "right")
        ended = omnifm("export", "run", f"exported-{client}", "--client", client)
        assert ended.status == 0, ended.text
    assert omnifm("report", "run").status == 0
    assert omnifm("run", "--resume", "run").status == 0  # it is finished: there is nothing to do
    assert run.results is not None


def test_a_client_s_model_is_that_which_was_tested(original: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(original)
    loaded = library.load("run").load()
    test = load_dataset(loaded.experiment.data, loaded.experiment.partition, loaded.experiment.seed).client("CT").test
    chosen = loaded.model("CT")(test.column("image")).argmax(dim=1)
    accuracy = float((chosen == test.column("target").argmax(dim=1)).float().mean())
    scores = result(original / "run/omnifm")["test"]["before_local_training"]["CT"]["numbers"]
    assert accuracy == pytest.approx(scores["accuracy"])


def test_a_new_run_keeps_the_split_of_another(place: Path) -> None:
    def places(changes: list[str]) -> dict[str, tuple[str, str]]:
        experiment = next(iter(read_plan("tiny.toml", changes).arms.values()))
        dataset = load_dataset(experiment.data, experiment.partition, experiment.seed)
        return {
            patient: (client.name, split)
            for client in dataset.clients
            for split in ("train", "validation", "test")
            for patient in getattr(client, split).patients
        }

    before = places([])
    for index in range(6):
        shutil.copy(place / f"data/a/left/{index}.png", place / f"data/a/left/new{index}.png")
    after = places(["partition.split_from=run"])
    assert after.items() > before.items()
    assert len(after) == len(before) + 6
    assert places(["seed=3", "partition.split_from=run"]).items() > before.items()
    ended = omnifm("run", "tiny.toml", "--out", "more", "--set", "partition.split_from=run", "--workers", 1)
    assert ended.status == 0, ended.text
    shutil.rmtree(place / "run")  # the new run has its own copy
    assert places(["partition.split_from=more"]) == after
    (place / "more/omnifm/result.json").unlink()
    assert omnifm("run", "--resume", "more", "--workers", 1).status == 0


def test_a_run_without_a_split_to_keep_is_named(place: Path) -> None:
    ended = omnifm("run", "tiny.toml", "--out", "new", "--set", "partition.split_from=nowhere", "--workers", 1)
    assert ended.status == 1
    assert "partition.split_from = 'nowhere': this folder holds no split" in ended.text


def test_a_damaged_record_is_named(place: Path) -> None:
    path = next((place / "run/data").glob("split-*"))
    path.write_text(path.read_text()[:-30], encoding="utf-8")
    ended = omnifm("run", "--resume", "run", "--workers", 1)
    assert ended.status == 1
    assert f"{path.relative_to(place)} is damaged" in ended.text


def test_data_of_a_run_that_never_began_are_forgotten(place: Path) -> None:
    shutil.rmtree(place / "run/omnifm")  # it has recorded the data, and then failed
    change_file(place)
    ended = omnifm("run", "tiny.toml", "--out", "run", "--workers", 1)
    assert ended.status == 0, ended.text
