"""Volumes of two hospitals, one MR sequence each, through the command: from files to table and report."""

from __future__ import annotations

import math
from pathlib import Path

import nibabel
import numpy as np
import tomli_w
from PIL import Image
from small_run import omnifm, result

ARMS = ("local", "fedavg", "omnifm", "gpfl", "moon")


def write_cases(folder: Path) -> None:
    noise = np.random.default_rng(0)
    for case in range(6):
        codes = np.zeros((16, 16, 16), np.uint8)
        codes[3 + case : 8 + case, 4:10, 5:11] = 2
        codes[4 + case : 7 + case, 5:9, 6:10] = 4
        place = folder / f"case{case}"
        place.mkdir(parents=True)
        for what in ("t2", "flair"):
            values = (noise.integers(50, 100, codes.shape) + 80 * (codes > 0)).astype(np.int16)
            nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), place / f"case{case}_{what}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(codes, np.eye(4)), place / f"case{case}_seg.nii.gz")


def test_a_run_on_volumes(tmp_path: Path) -> None:
    write_cases(tmp_path / "brats")
    source = {"kind": "brats", "sequences": ["t2", "flair"], "per_sequence": True, "axes": 3, "field_of_view": 16.0}
    document = {
        "task": "segmentation",
        "data": {"root": str(tmp_path), "size": 16, "sources": [source]},
        "segmentation": {"depth": 2},
        "federation": {"rounds": 1, "evaluate_every": 1, "evaluate": ["before_local_training"]},
        "training": {"batch_size": 2},
        "adapter": {"grid": 5, "token_dim": 8},
        "bank": {"min_cluster": 1},
        "arms": {arm: {"algorithm": arm} for arm in ARMS},
    }
    experiment, run = tmp_path / "volumes.toml", tmp_path / "run"
    experiment.write_text(tomli_w.dumps(document), encoding="utf-8")
    done = omnifm("run", experiment, "--out", run, "--workers", 1)
    assert done.status == 0, done.text
    assert "Test Dice" in done.text
    for arm in ARMS:
        scores = result(run / arm)["test"]["before_local_training"]
        assert list(scores) == ["T2", "FLAIR"]
        for client in scores.values():
            assert 0 <= client["numbers"]["dice"] <= 1
            assert 0 <= client["numbers"]["hd95_whole_tumour"] <= 16 * math.sqrt(3)
    shown = sorted((run / "omnifm/pictures").glob("T2-0-*.png"))
    assert len(shown) == 3
    with Image.open(shown[-1]) as picture:
        assert picture.size[0] == picture.size[1]
    assert (run / "report.html").stat().st_size > 10_000

    looked = omnifm("data", "show", experiment, "--out", tmp_path / "data.png")
    assert looked.status == 0, looked.text


def test_a_size_that_cannot_be_halved_is_one_message(tmp_path: Path) -> None:
    write_cases(tmp_path / "brats")
    source = {"kind": "brats", "sequences": ["t2"]}
    document = {
        "task": "segmentation",
        "data": {"root": str(tmp_path), "size": 18, "sources": [source]},
        "partition": {"kind": "iid"},
    }
    experiment = tmp_path / "odd.toml"
    experiment.write_text(tomli_w.dumps(document), encoding="utf-8")
    done = omnifm("run", experiment, "--out", tmp_path / "run")
    assert done.status == 1
    assert "set data.size to a multiple of 8, such as 16 or 24" in " ".join(done.text.split())
    assert "Traceback" not in done.text
