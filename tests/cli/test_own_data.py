"""The journey of a new user: own images in, a trained federation of three clients and its report out, and no code."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import made_folders
import nibabel
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from small_run import Outcome, omnifm

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("charts_drawn")]

SMALL = ["--workers", "1", "--set", "federation.rounds=1", "--set", "federation.evaluate_every=1"]
SMALL += ["--set", "federation.evaluate=['before_local_training']", "--set", "adapter.grid=7", "--set", "data.size=16"]


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder of the test's own, with cache and key there too."""
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.chdir(tmp_path)


def done(*arguments: object) -> Outcome:
    outcome = omnifm(*arguments)
    assert outcome.status == 0, outcome.text
    return outcome


@dataclass(frozen=True)
class Journey:
    """What a user has and wants: a folder, the options of ``data init`` and ``predict``, and a metric in the report."""

    make: Callable[[Path], Path]
    new: Callable[[Path], object]
    metric: str
    init: tuple[str, ...] = ()
    predict: tuple[str, ...] = ()
    small: tuple[str, ...] = ("classification.width=8",)


def picture(new: Path) -> None:
    """Write an image of another size and form than those of the training."""
    made_folders.save(new / "Müller 1.png", made_folders.noise(1, 20, 30))


def volume(new: Path) -> None:
    """Write a volume of another size than those of the training, turned and moved."""
    affine = np.array([[0, -2.0, 0, 5], [1.5, 0, 0, -7], [0, 0, 3.0, 11], [0, 0, 0, 1]])
    new.mkdir()
    values = np.random.default_rng(0).random((20, 22, 12), np.float32)
    nibabel.save(nibabel.Nifti1Image(values, affine), new / "v.nii.gz")


MASKS_BESIDE = (made_folders.masks_beside_images, picture)
JOURNEYS = {
    "masks beside": Journey(*MASKS_BESIDE, "accuracy", ("--task", "classification", "--modality", "US")),
    "masks beside, drawn": Journey(
        *MASKS_BESIDE, "dice", ("--task", "segmentation", "--modality", "US"), (), ("segmentation.depth=2",)
    ),
    "table of labels": Journey(made_folders.labels_in_a_table, picture, "accuracy"),
    "dicom series": Journey(
        made_folders.dicom_series,
        lambda new: made_folders.dicom_series(new, patients=1, slices=3),
        "accuracy",
        small=("classification.width=8", "data.sources.0.slices=2"),
    ),
    "nnunet": Journey(made_folders.nnunet_volumes, volume, "dice", small=("segmentation.depth=2",)),
    "questions": Journey(
        made_folders.questions_in_a_table,
        picture,
        "accuracy",
        predict=("--question", "Is it bright?"),
        small=("vqa.compact.width=16", "vqa.compact.layers=1"),
    ),
}


@pytest.mark.parametrize("name", JOURNEYS)
def test_from_a_folder_to_predictions_of_a_federation_of_three(tmp_path: Path, name: str) -> None:
    journey = JOURNEYS[name]
    journey.make(tmp_path / "mine")
    journey.new(tmp_path / "new")
    assert "Recognised" in done("data", "init", "mine", *journey.init).text
    done("data", "check", "experiment.toml")
    changes = [part for change in journey.small for part in ("--set", change)]
    said = done("run", "experiment.toml", "--out", "run", *SMALL, *changes).text
    assert "Nobody learns with anybody" not in said
    assert (tmp_path / "run/report.html").stat().st_size > 10_000
    results = pd.read_csv(tmp_path / "run/results.csv")
    assert results["client"].nunique() == 3
    assert journey.metric in set(results["metric"])
    said = done("predict", "run", "new", "--client", results["client"][0], *journey.predict).text
    assert "(1 of 1 images)" in said
    (row,) = pd.read_csv(tmp_path / "predictions/predictions.csv").to_dict("records")
    _check_prediction(row, tmp_path)


def _check_prediction(row: dict[str, Any], folder: Path) -> None:
    """Check that a row says something that the training has taught, or that its mask lies on the image."""
    if "mask" not in row:
        taught = (folder / "manifest.csv").read_text()
        assert f",{row.get('predicted', row.get('answer'))}" in taught
        return
    mask, image = folder / "predictions" / row["mask"], folder / row["file"]
    if mask.suffix == ".png":
        with Image.open(mask) as drawn_on, Image.open(image) as given_to:
            assert drawn_on.size == given_to.size
        return
    drawn: Any = nibabel.load(mask)
    given: Any = nibabel.load(image)
    assert drawn.shape == given.shape
    np.testing.assert_allclose(drawn.affine, given.affine, atol=1e-5)
    assert set(np.unique(drawn.get_fdata())) <= {0, 1, 2}


def test_from_another_folder_it_is_told_where_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_folders.labels_in_a_table(tmp_path / "mine")
    said = done("data", "init", "mine", "--out", "a b").text
    assert "Next: omnifm data check 'a b/experiment.toml', then omnifm run 'a b/experiment.toml'" in said
    monkeypatch.chdir(tmp_path / "a b")
    for command in (("run",), ("data", "check"), ("data", "show")):
        outcome = omnifm(*command, "experiment.toml")
        assert outcome.status == 1
        assert f"there is no folder a b (data.root) in {tmp_path / 'a b'}. Run omnifm where" in outcome.text


def test_what_is_given_in_place_of_an_experiment_or_a_run(tmp_path: Path) -> None:
    made_folders.labels_in_a_table(tmp_path / "mine", count=18)
    assert "mine is a folder, and no experiment file: give the one" in omnifm("data", "check", "mine").text
    for name in ("b", "a"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "versions.json").touch()
    for command in (("predict", "runs", "mine"), ("report", "runs"), ("export", "runs")):
        outcome = omnifm(*command)
        assert outcome.status == 1
        assert "runs holds no run: there is no runs/experiment.toml. Give a run in it: a and b." in outcome.text
    assert "Give the folder of a run, such as runs/NAME." in omnifm("report", "nothing").text


def test_the_commands_of_the_page_run(tmp_path: Path) -> None:
    made_folders.masks_beside_images(tmp_path / "breast-ultrasound")
    page = Path(__file__).parents[2] / "docs/own-data.md"
    block = page.read_text(encoding="utf-8").partition("```sh\n")[2].partition("```")[0]
    commands = [shlex.split(line, comments=True) for line in block.splitlines()]
    assert len(commands) <= 6
    for program, *arguments in commands:
        assert program == "omnifm"
        small = [*SMALL, "--set", "classification.width=8"] if arguments[0] == "run" else []
        done(*arguments, *small)
    assert (tmp_path / "runs/first/report.html").exists()
    assert (tmp_path / "data.png").exists()


def test_what_was_written_is_not_overwritten(tmp_path: Path) -> None:
    made_folders.labels_in_a_table(tmp_path / "mine", count=18)
    done("data", "init", "mine", "--out", "x")
    outcome = omnifm("data", "init", "mine", "--out", "x")
    assert outcome.status == 1
    assert "manifest.csv exists already. Give another --out, or remove it." in outcome.text


def test_pydicoms_own_files(tmp_path: Path) -> None:
    """Single files of several kinds and sizes, each an image of its own."""
    (tmp_path / "mine").mkdir()
    for name in ("CT_small.dcm", "MR_small.dcm", "examples_palette.dcm", "examples_rgb_color.dcm", "rtplan.dcm"):
        path = get_testdata_file(name)
        if path is not None:
            (tmp_path / "mine" / name).write_bytes(Path(str(path)).read_bytes())
    done("data", "init", "mine", "--task", "super_resolution")
    with (tmp_path / "manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {Path(row["image"]).name for row in rows} >= {"CT_small.dcm", "MR_small.dcm"}
    assert "rtplan.dcm" not in {Path(row["image"]).name for row in rows}
    assert omnifm("data", "check", "manifest.csv").status == 0


def test_a_check_with_errors_ends_with_status_1(tmp_path: Path) -> None:
    made_folders.labels_in_a_table(tmp_path / "mine", count=18)
    done("data", "init", "mine")
    (tmp_path / "mine/images/cell_004.jpg").write_bytes(b"cut off")
    (tmp_path / "mine/images/cell_005.jpg").unlink()
    outcome = omnifm("data", "check", "experiment.toml")
    assert outcome.status == 1
    assert "manifest.csv, row 6: " in outcome.text
    assert "manifest.csv, row 7: its image mine/images/cell_005.jpg does not exist" in outcome.text
    assert outcome.text.rstrip().endswith("2 errors.")
    quick = omnifm("data", "check", "experiment.toml", "--no-decode")
    assert quick.text.rstrip().endswith("1 error.")
