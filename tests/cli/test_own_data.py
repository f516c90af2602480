"""The journey of a new user: own images in, a trained federation of three clients and its report out, and no code."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Callable
from pathlib import Path

import made_folders
import pandas as pd
import pytest
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


JOURNEYS: dict[str, tuple[Callable[[Path], Path], str, list[str], list[str]]] = {
    "masks beside": (
        made_folders.masks_beside_images,
        "dice",
        ["--task", "segmentation", "--modality", "US"],
        ["segmentation.depth=2"],
    ),
    "table of labels": (made_folders.labels_in_a_table, "accuracy", [], ["classification.width=8"]),
    "dicom series": (made_folders.dicom_series, "accuracy", [], ["classification.width=8", "data.sources.0.slices=2"]),
    "nnunet": (made_folders.nnunet_volumes, "dice", [], ["segmentation.depth=2"]),
    "questions": (made_folders.questions_in_a_table, "accuracy", [], ["vqa.compact.width=16", "vqa.compact.layers=1"]),
}


@pytest.mark.parametrize("name", JOURNEYS)
def test_from_a_folder_to_a_federation_of_three(tmp_path: Path, name: str) -> None:
    make, metric, options, small = JOURNEYS[name]
    make(tmp_path / "mine")
    said = done("data", "init", "mine", *options).text
    assert "Recognised" in said
    done("data", "check", "experiment.toml")
    changes = [part for change in small for part in ("--set", change)]
    done("run", "experiment.toml", "--out", "run", *SMALL, *changes)
    assert (tmp_path / "run/report.html").stat().st_size > 10_000
    results = pd.read_csv(tmp_path / "run/results.csv")
    assert results["client"].nunique() == 3
    assert metric in set(results["metric"])


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
