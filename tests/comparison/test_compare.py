"""Comparisons from start to end, by the command: what they leave, that they repeat, and what interrupts them."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from small_run import Process, ended, omnifm, wait_until, write_experiment

from omnifm.comparison.arms import ABLATION
from omnifm.results.write import terminal_tables
from omnifm.runs import run_arm as module

pytestmark = [pytest.mark.slow, pytest.mark.process]

GRID = {"grid": {"training": {"learning_rate": [0.05, 0.1]}}, "participation": [0.4]}
ASKED = ("--algorithms", "fedavg,scaffold", "--seeds", 2, "--workers", 1)
FEW = ("--algorithms", "fedavg", "--seeds", 1, "--workers")
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs fork and /proc")


def write(folder: Path, rounds: int = 2, **compare: Any) -> Path:
    folder.mkdir(exist_ok=True)
    federation = {"rounds": rounds, "evaluate_every": 1}
    return write_experiment(folder, arms={}, federation=federation, compare=compare or GRID)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("experiment"))


@pytest.fixture(scope="module")
def whole(experiment: Path) -> Path:
    """A comparison that nothing interrupted."""
    out = experiment.parent / "whole"
    outcome = omnifm("compare", experiment, *ASKED, "--out", out)
    assert outcome.status == 0, outcome.text
    return out


def record(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "comparison.json").read_text(encoding="utf-8")))


def findings(out: Path) -> dict[str, Any]:
    """Return all that must repeat: choices and test results, without seconds."""
    cells = {
        str(path.parent.relative_to(out)): {k: v for k, v in json.loads(path.read_text()).items() if k != "panels"}
        for path in sorted(out.glob("cells/*/*/result.json"))
    }
    return {"arms": record(out)["arms"], "cells": cells}


def test_it_leaves_tables_and_report(whole: Path) -> None:
    for name in ("table.txt", "table.csv", "table.tex", "results.csv", "report.html"):
        assert (whole / name).stat().st_size > 0
    assert [arm["name"] for arm in record(whole)["arms"]] == ["fedavg", "scaffold", "local", "alone"]
    assert "plain SGD" in record(whole)["arms"][1]["about"]


def test_points_are_tried_on_one_seed_and_the_best_is_played_on_all(whole: Path) -> None:
    for arm in record(whole)["arms"]:
        scores = [point["validation"] for point in arm["points"]]
        assert len(scores) == 2
        assert scores[arm["chosen"]] == max(scores)
        assert [(cell["level"], cell["seed"]) for cell in arm["cells"]] == [(1.0, 0), (1.0, 1), (0.4, 0), (0.4, 1)]


def test_a_cell_is_what_omnifm_run_would_play(experiment: Path, whole: Path, tmp_path: Path) -> None:
    arm = record(whole)["arms"][0]
    rate = arm["points"][arm["chosen"]]["settings"]["training.learning_rate"]
    changes = ("--set", "algorithm=fedavg", "--set", f"training.learning_rate={rate}", "--set", "seed=1")
    assert omnifm("run", experiment, *changes, "--out", tmp_path / "run", "--workers", 1).status == 0
    run = json.loads((tmp_path / "run/fedavg/result.json").read_text())
    cell = json.loads((whole / arm["cells"][1]["folder"] / "result.json").read_text())
    assert (cell["weights_sha256"], cell["test"]) == (run["weights_sha256"], run["test"])


def test_validation_of_a_point_is_the_mean_of_both_evaluation_points(whole: Path) -> None:
    arm = record(whole)["arms"][0]
    best = json.loads((whole / "cells/fedavg/p0-s0-r100/trained.json").read_text())["best"]
    assert best.keys() == {"before_local_training", "after_local_training"}
    expected = (best["before_local_training"][1] + best["after_local_training"][1]) / 2
    assert arm["points"][0]["validation"] == pytest.approx(expected)


def test_the_test_data_of_points_that_were_not_chosen_are_never_read(whole: Path) -> None:
    for arm in record(whole)["arms"]:
        lost = whole / "cells" / arm["name"] / f"p{1 - arm['chosen']}-s0-r100"
        assert (lost / "trained.json").exists()
        assert not (lost / "result.json").exists()
        assert '"test"' not in (lost / "metrics.jsonl").read_text(encoding="utf-8")


def test_no_test_data_are_read_before_all_training_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[bool] = []
    real = module.run_arm

    def noted(*arguments: Any, **more: Any) -> Any:
        order.append(arguments[-1])
        return real(*arguments, **more)

    monkeypatch.setattr("omnifm.comparison.compare.run_arm", noted)
    assert omnifm("compare", write(tmp_path / "e"), *FEW, 1, "--out", tmp_path / "out").status == 0
    assert order == sorted(order)
    assert order.count(True) == 6  # 3 arms at 2 levels
    assert order.count(False) == 3 * (2 + 1)  # two points, and the other level


def test_weights_are_let_go(whole: Path) -> None:
    assert list(whole.rglob("*.safetensors")) == []


@linux
def test_again_with_two_workers_it_finds_the_same(experiment: Path, whole: Path) -> None:
    out = experiment.parent / "again"
    assert omnifm("compare", experiment, *ASKED[:-1], 2, "--out", out).status == 0
    assert findings(out) == findings(whole)


@linux
def test_killed_and_resumed_it_finds_the_same(experiment: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    with ended(Process(tmp_path / "log", "compare", experiment, *ASKED, "--out", out)) as process:
        wait_until(lambda: len(list(out.glob("cells/*/*/trained.json"))) >= 5, process)
        process.kill()
    done = {path: path.stat().st_mtime_ns for path in out.glob("cells/*/*/trained.json")}
    outcome = omnifm("compare", "--resume", out, "--workers", 1)
    assert outcome.status == 0, outcome.text
    assert findings(out) == findings(whole)
    assert {path: path.stat().st_mtime_ns for path in done} == done, "a finished cell was played again"


@linux
def test_interrupted_it_says_how_to_resume(experiment: Path, tmp_path: Path) -> None:
    out = tmp_path / "stopped"
    with ended(Process(tmp_path / "log", "compare", experiment, *ASKED[:-1], 2, "--out", out)) as process:
        wait_until(lambda: any(out.glob("cells/*/*/trained.json")), process)
        process.process.terminate()
        outcome = process.wait()
    assert outcome.status == 143
    assert f"omnifm compare --resume {out}" in outcome.text.replace("\n", "")
    assert signal.getsignal(signal.SIGTERM) is not None


def test_resuming_a_finished_one_plays_nothing(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnifm.comparison.compare.run_arm", None)
    before = (whole / "table.csv").read_bytes()
    assert omnifm("compare", "--resume", whole).status == 0
    assert (whole / "table.csv").read_bytes() == before


def test_a_changed_experiment_is_refused_and_the_difference_named(experiment: Path, whole: Path) -> None:
    outcome = omnifm("compare", experiment, *ASKED, "--resume", whole, "--set", "training.batch_size=2")
    assert outcome.status == 1
    assert "arms.fedavg.training.batch_size: 4 then, 2 now" in outcome.text
    outcome = omnifm("compare", experiment, "--algorithms", "fedavg", "--seeds", 3, "--resume", whole)
    assert "arms.scaffold: there then, not there now" in outcome.text
    assert "seeds: [0, 1] then, [0, 1, 2] now" in outcome.text


def test_a_folder_in_use_is_refused(experiment: Path, whole: Path) -> None:
    outcome = omnifm("compare", experiment, *ASKED, "--out", whole)
    assert outcome.status == 1
    assert f"holds a comparison already. Give another --out, or resume it: --resume {whole}" in outcome.text


@pytest.mark.parametrize("there", [(), ("versions.json",), ("versions.json", "comparison.json")])
def test_one_that_was_killed_before_it_had_begun_bars_no_folder(
    small: tuple[Path, Path], tmp_path: Path, there: tuple[str, ...]
) -> None:
    (experiment, whole), out = small, tmp_path / "out"
    out.mkdir()
    for name in there:
        shutil.copy(whole / name, out / name)
    outcome = omnifm("compare", "--resume", out)
    assert outcome.status == 1
    assert "holds no comparison to resume: there is no" in outcome.text
    assert omnifm("compare", experiment, *FEW, 1, "--out", out).status == 0
    assert findings(out) == findings(whole)


def test_a_run_does_not_write_over_a_comparison(experiment: Path, whole: Path) -> None:
    before = (whole / "experiment.toml").read_bytes()
    assert "holds a comparison already" in omnifm("run", experiment, "--out", whole).text
    assert (whole / "experiment.toml").read_bytes() == before


def test_nothing_to_resume(tmp_path: Path) -> None:
    outcome = omnifm("compare", "--resume", tmp_path)
    assert outcome.status == 1
    assert "holds no comparison to resume" in outcome.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--algorithms", "fedavg,scafold"), "there is no 'scafold'. Did you mean 'scaffold'?"),
        (("--set", "compare.grid.training.learning_rate=[]"), "training.learning_rate is an empty grid"),
        (("--set", "fedprox.beta=1"), "Unknown key 'fedprox.beta'"),
        (("--sweep", "adapter.alignment"), "write it as key=a,b,c"),
        (("--sweep", "adapter.alignmet=1.0"), "Did you mean 'alignment'?"),
        (("--resume", "x", "--out", "y"), "give only one of them"),
        (("--algorithms", "scaffold", "--set", "training.optimizer=adamw"), "plain SGD only"),
    ],
)
def test_mistakes_are_one_message(experiment: Path, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    out = () if "--out" in arguments else ("--out", tmp_path / "out")
    outcome = omnifm("compare", experiment, *arguments, *out)
    assert outcome.status == 1
    assert message in " ".join(outcome.text.split())
    assert "Traceback" not in outcome.text
    assert {path.name for path in (tmp_path / "out").glob("[!.]*")} <= {"data"}


def test_without_an_experiment_there_is_nothing_to_compare() -> None:
    assert "Give an experiment file" in omnifm("compare").text
    assert "Give an experiment file too" in omnifm("compare", "--resume", "x", "--ablate").text


def test_of_all_those_that_cannot_are_left_out_and_say_why(tmp_path: Path) -> None:
    path = write(tmp_path / "e", rounds=1, tuning_seeds=1)
    out = tmp_path / "out"
    arguments = ("--algorithms", "all", "--seeds", 1, "--set", "training.optimizer=adamw", "--workers", 1)
    outcome = omnifm("compare", path, *arguments, "--out", out)
    assert outcome.status == 0, outcome.text
    arms = {arm["name"]: arm for arm in record(out)["arms"]}
    assert len(arms) == 17
    assert "plain SGD only" in arms["scaffold"]["failure"]
    assert arms["scaffold"]["cells"] == []
    assert all(arm["failure"] is None for name, arm in arms.items() if name != "scaffold")


def test_a_point_that_diverges_is_not_chosen(tmp_path: Path) -> None:
    path = write(tmp_path / "e", grid={"training": {"learning_rate": [1e30, 0.05]}})
    out = tmp_path / "out"
    assert omnifm("compare", path, "--algorithms", "fedavg", "--seeds", 1, "--workers", 1, "--out", out).status == 0
    arm = record(out)["arms"][0]
    assert arm["chosen"] == 1
    assert "Lower training.learning_rate" in arm["points"][0]["failure"]


def test_an_arm_whose_points_all_diverge_has_failed(tmp_path: Path) -> None:
    path = write(
        tmp_path / "e",
        grid={"training": {"learning_rate": [0.05]}},
        grids={"fedprox": {"fedprox": {"mu": [1e30]}}},
    )
    out = tmp_path / "out"
    arguments = ("--algorithms", "fedavg,fedprox", "--seeds", 1, "--workers", 1)
    outcome = omnifm("compare", path, *arguments, "--out", out)
    assert outcome.status == 0, outcome.text
    assert "fedprox" in (out / "table.txt").read_text(encoding="utf-8")


def test_ablation_and_sweep(tmp_path: Path) -> None:
    path = write(tmp_path / "e", rounds=1, tuning_seeds=1)
    arguments: tuple[str | int, ...] = ("--ablate", "--seeds", 1, "--workers", 1)
    assert omnifm("compare", path, *arguments, "--out", tmp_path / "ablation").status == 0
    kinds = [arm["kind"] for arm in record(tmp_path / "ablation")["arms"]]
    assert kinds == [arm.kind for arm in ABLATION] + ["baseline"] * 2
    arguments = ("--sweep", "adapter.rho=0.2,0.5", "--seeds", 1, "--workers", 1)
    assert omnifm("compare", path, *arguments, "--out", tmp_path / "sweep").status == 0
    names = [arm["name"] for arm in record(tmp_path / "sweep")["arms"]]
    assert names == ["omnifm adapter.rho=0.2", "omnifm adapter.rho=0.5", "local", "alone"]


def test_the_report_is_made_again_from_the_folder(whole: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    (copy / "report.html").unlink()
    assert omnifm("report", copy).status == 0
    assert (copy / "report.html").read_bytes() == (whole / "report.html").read_bytes()
    assert len(terminal_tables(copy)) == 3


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The experiment and the folder of a comparison of three cells, two rounds each."""
    folder = tmp_path_factory.mktemp("small")
    experiment, out = write(folder / "e", tuning_seeds=1), folder / "whole"
    assert omnifm("compare", experiment, *FEW, 1, "--out", out).status == 0
    return experiment, out


def rounds_played(out: Path) -> int:
    logs = [path.read_text(encoding="utf-8") for path in out.rglob("metrics.jsonl")]
    return sum(log.count('"event": "round"') for log in logs)


def test_by_and_by_it_finds_the_same(small: tuple[Path, Path], tmp_path: Path) -> None:
    (experiment, whole), out, times = small, tmp_path / "out", 0
    start: tuple[Any, ...] = (experiment, *FEW, 1, "--out", out)
    while (outcome := omnifm("compare", *start, "--time-limit", "0.001s")).status == 75:
        assert f"Time is up. The finished cells are kept: resume with  omnifm compare --resume {out}" in outcome.text
        start, times = ("--resume", out, "--workers", 1), times + 1
        assert rounds_played(out) == times, "one round each time"
    assert outcome.status == 0, outcome.text
    assert times == 5
    assert findings(out) == findings(whole)


@linux
def test_workers_share_the_limit_and_end_after_a_round(small: tuple[Path, Path], tmp_path: Path) -> None:
    (experiment, whole), out = small, tmp_path / "out"
    assert omnifm("compare", experiment, *FEW, 2, "--out", out, "--time-limit", "0.001s").status == 75
    assert 1 <= rounds_played(out) <= 2
    assert omnifm("compare", "--resume", out, "--workers", 2).status == 0
    assert findings(out) == findings(whole)


def test_one_evaluation_point_chooses_evaluates_and_reports(tmp_path: Path) -> None:
    out, only = tmp_path / "out", ("--set", 'federation.evaluate=["before_local_training"]')
    outcome = omnifm("compare", write(tmp_path / "e"), *FEW, 1, *only, "--out", out)
    assert outcome.status == 0, outcome.text
    for arm in record(out)["arms"]:
        best = json.loads((out / f"cells/{arm['name']}/p0-s0-r100/trained.json").read_text())["best"]
        assert best.keys() == {"before_local_training"}
        assert arm["points"][0]["validation"] == best["before_local_training"][1]
    for name in ("table.txt", "table.csv", "table.tex", "results.csv", "report.html"):
        text = (out / name).read_text(encoding="utf-8").lower().split("</style>", 1)[-1]
        assert "after_local_training" not in text
        assert "after local training" not in text
        assert ("before_local_training" if name.endswith(".csv") else "before local training") in text


def test_cells_may_stop_early(tmp_path: Path) -> None:
    out, early = tmp_path / "out", ("--set", "federation.patience=1", "--set", "federation.rounds=30")
    arguments = ("--algorithms", "fedavg", "--seeds", 1, "--workers", 1)
    outcome = omnifm("compare", write(tmp_path / "e", tuning_seeds=1), *arguments, *early, "--out", out)
    assert outcome.status == 0, outcome.text
    found = [json.loads(path.read_text()) for path in out.rglob("result.json")]
    assert any(result["rounds"] < 30 for result in found)
    assert "ended early, after round" in (out / "table.txt").read_text(encoding="utf-8")
