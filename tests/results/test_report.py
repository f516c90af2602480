from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from page import Page, headings
from run_folder import EVALUATION_POINTS, change_result, score, write_run

from omnifm.results.report import write_report
from omnifm.utils.errors import ExperimentError

ARMS = {"local": "local", "fedavg": "fedavg", "omnifm": "omnifm"}
HOSTILE = '<script>alert("1")</script> & $x_1$ #010203'


def report_of(out: Path) -> str:
    return write_report(out).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = write_run(tmp_path_factory.mktemp("report") / "r", ARMS)
    write_report(out)
    return out


@pytest.fixture(scope="module")
def text(run: Path) -> str:
    return (run / "report.html").read_text(encoding="utf-8")


def test_it_is_whole_and_needs_nothing_else(text: str) -> None:
    page = Page(text)
    assert text.startswith("<!DOCTYPE html>")
    assert page.links
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "://" not in text
    assert "@import" not in text


def test_all_sections_are_there(text: str) -> None:
    assert headings(text) == [
        "Results",
        "Learning",
        "Hospital by hospital",
        "Mistakes",
        "Pictures",
        "The bank",
        "Cost",
        "Who holds what",
        "Run it again",
    ]
    for shown in ("4 March 2026", "seed 7", "omnifm 0.1.0", "torch 2.6.0", f"{2:064x}", "experiment.toml"):
        assert shown in text


def test_the_table_holds_the_results(text: str) -> None:
    names, points, *rows = Page(text).tables[0]
    assert names == ["hospital", "local", "fedavg", "omnifm"]
    assert points == ["as received", "after_local_training"] * 3
    pairs = [(arm, point) for arm in range(3) for point in ("before_local_training", "after_local_training")]
    assert rows[0] == ["T1", *(f"{score(arm, 0, point):.3f}" for arm, point in pairs)]
    assert rows[1] == ["CT", *(f"{score(arm, 1, point):.3f}" for arm, point in pairs)]
    means = [(score(arm, 0, point) + score(arm, 1, point)) / 2 for arm, point in pairs]
    assert rows[2] == ["mean", *(f"{value:.3f}" for value in means)]
    assert rows[3] == ["worst hospital", *(f"{score(arm, 0, point):.3f}" for arm, point in pairs)]
    assert "<b>0.380</b>" in text
    assert "+0.080" in text


def test_lower_is_better_for_a_loss(run: Path, tmp_path: Path) -> None:
    out = shutil.copytree(run, tmp_path / "r")
    numbers = {"numbers": {"accuracy": 0.5, "loss": 0.125}}
    change_result(out / "fedavg", test={point: {"T1": numbers, "CT": numbers} for point in EVALUATION_POINTS})
    text = report_of(out)
    assert "<b>0.125</b>" in text
    assert "<b>1.250</b>" not in text


def test_the_verdict_counts_gains(text: str) -> None:
    assert "omnifm is the best of 2 arms that learn together: mean test accuracy 0.386 as received" in text
    assert "0.080 above hospitals on their own (local)" in text
    assert "Of 2 hospitals that join omnifm, 2 gain and 0 lose" in text
    assert "one run with one seed" in text


def test_the_verdict_owns_up_to_a_loss(tmp_path: Path) -> None:
    text = report_of(write_run(tmp_path / "r", {"omnifm": "omnifm", "pooled": "centralised", "alone": "local"}))
    assert "omnifm is the one arm that learns together" in text
    assert "0.080 below hospitals on their own (alone)" in text
    assert "0 gain and 2 lose; T1 loses most (−0.080)" in text  # noqa: RUF001


def test_arms_that_tie_share_the_verdict(run: Path, tmp_path: Path) -> None:
    out = shutil.copytree(run, tmp_path / "r")
    numbers = {"numbers": {"accuracy": 0.5}}
    for arm in ("fedavg", "omnifm"):
        change_result(out / arm, test={point: {"T1": numbers, "CT": numbers} for point in EVALUATION_POINTS})
    assert "fedavg and omnifm are equal, the best of 2 arms" in report_of(out)


def test_confusion_shows_own_classes_only(text: str) -> None:
    table = next(table for table in Page(text).tables if table[0][0].startswith("truth"))
    assert table[0][1:] == ["healthy", "glioma"]
    assert table[1:] == [["healthy", "5", "2"], ["glioma", "1", "4"]]
    assert "9 of 12 right" in text


def test_many_classes_become_a_list(run: Path, tmp_path: Path) -> None:
    out = shutil.copytree(run, tmp_path / "r")
    table = [[1 if i == j else 7 if (i, j) == (3, 4) else 0 for j in range(30)] for i in range(30)]
    scores = {"numbers": {"accuracy": 0.9}, "tables": {"confusion": table}}
    change_result(out / "local", test={"before_local_training": {"T1": scores}})
    assert "7 × 3 taken for 4" in report_of(out)  # noqa: RUF001


def test_a_picture_is_shown_once_for_all_arms(text: str) -> None:
    assert Page(text).tags.count("img") == 2
    assert text.count("healthy, is glioma <i>omnifm, local, fedavg</i>") == 2
    assert "✗" in text
    assert "image-rendering: pixelated" in text


def test_the_bank_is_normalised_by_row(text: str) -> None:
    table = next(table for table in Page(text).tables if table[0][0].startswith("reader"))
    assert table == [["reader ↓ owner →", "T1", "CT"], ["T1", "75", "25"], ["CT", "25", "75"]]
    assert "took 25 % of its prototypes from other hospitals" in text


def test_charts_say_what_they_show(text: str) -> None:
    labels = Page(text).labels
    assert (
        "Validation accuracy, as received, mean over hospitals. local: 0.1 at round 1, 0.271 at round 3; " in labels[0]
    )
    assert all(labels)


def test_charts_follow_the_theme(text: str) -> None:
    assert "prefers-color-scheme: dark" in text
    assert "var(--c6)" in text  # the arm without joining is grey
    assert "currentColor" in text
    assert "#0102" not in text


def test_same_folder_same_bytes(run: Path, text: str, tmp_path: Path) -> None:
    assert report_of(shutil.copytree(run, tmp_path / "elsewhere")) == text


@pytest.mark.parametrize("clients", [(HOSTILE, "T1"), ("_T2 \n\x07", "医院 é"), ("a" * 200, '" onload="x')])
def test_names_are_escaped(tmp_path: Path, clients: tuple[str, str]) -> None:
    text = report_of(write_run(tmp_path / "r", {"a & <b>$": "omnifm", "_x [y] 'z'": "fedavg"}, clients))
    page = Page(text)
    assert "script" not in page.tags
    assert "onload" not in re.sub(r'"[^"]*"|>[^<]*<', "", text)
    assert "<b>$" not in text


def test_sections_without_matter_are_left_out(tmp_path: Path) -> None:
    out = write_run(tmp_path / "r", {"local": "local"}, clients=("T1",))
    only: dict[str, Any] = {"T1": {"numbers": {"dice": 0.5}, "tables": {}}}
    change_result(
        out / "local", panels={}, main_metric="dice", test={"before_local_training": only, "after_local_training": only}
    )
    (out / "local" / "metrics.jsonl").unlink()
    text = report_of(out)
    Page(text)
    assert headings(text) == ["Results", "Hospital by hospital", "Who holds what", "Run it again"]
    assert "nothing can be said of joining" in text


def test_unfinished_runs_say_so(run: Path, tmp_path: Path) -> None:
    out = shutil.copytree(run, tmp_path / "r")
    (out / "omnifm" / "result.json").unlink()
    text = report_of(out)
    assert "Not finished, and so not judged: omnifm." in text
    assert "2 of 3 arms finished" in text
    for arm in ("local", "fedavg"):
        (out / arm / "result.json").unlink()
    text = report_of(out)
    Page(text)
    assert headings(text) == ["Learning", "The bank", "Cost", "Run it again"]
    for arm in ARMS:
        shutil.rmtree(out / arm)
    assert headings(report_of(out)) == ["Run it again"]


def test_missing_and_broken_values_do_no_harm(run: Path, tmp_path: Path) -> None:
    out = shutil.copytree(run, tmp_path / "r")
    ragged: dict[str, Any] = {
        "T1": {"numbers": {"accuracy": float("nan"), "auc": 0.7}, "tables": {"confusion": [[1, 2], [3]]}},
        "CT": {"numbers": {}},
    }
    panels = {"T1": [{"given": [{"title": "", "file": "pictures/gone.png"}], "caption": "?", "right": None}], "CT": []}
    change_result(
        out / "fedavg", test={"before_local_training": ragged, "after_local_training": {}}, panels=panels, best={}
    )
    with (out / "fedavg" / "metrics.jsonl").open("a") as file:
        file.write('{"event": "round", "round": 4, "seconds": null, "clients": {"T1": {"loss": NaN}}}\n')
    page = Page(report_of(out))
    assert page.tables[0][2][3:5] == ["–", "–"]  # noqa: RUF001


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="holds no run"):
        write_report(tmp_path)


def test_a_large_run_stays_readable(tmp_path: Path) -> None:
    kinds = ["local", "omnifm", *["fedavg"] * 10]
    arms = {f"arm-{number:02d}": kind for number, kind in enumerate(kinds)}
    out = write_run(tmp_path / "r", arms, [f"hospital {number:02d}" for number in range(40)], rounds=5)
    path = write_report(out)
    Page(path.read_text(encoding="utf-8"))
    assert path.stat().st_size < 10_000_000


def with_numbers(out: Path, arm: str, **more: Any) -> None:
    """Give an arm other test scores: ``numbers`` by client, the same at both evaluation points."""
    numbers = more.pop("numbers")
    test = {point: {client: {"numbers": found} for client, found in numbers.items()} for point in EVALUATION_POINTS}
    change_result(out / arm, test=test, **more)


def many_metrics(out: Path) -> Path:
    """Write a run of a task with several metrics, one of which only one hospital has."""
    write_run(out, ARMS)
    for place, arm in enumerate(ARMS):
        base = {"psnr": 30.123 + place, "psnr_bicubic": 28.2, "hd95_core": 12.5 - place, "loss": 0.02}
        numbers = {"T1": {**base, "dice_core": 0.5}, "CT": base}
        with_numbers(out, arm, numbers=numbers, main_metric="psnr", lower_is_better=["hd95_core"])
    return out


def test_the_means_of_all_metrics_stand_in_one_table(tmp_path: Path) -> None:
    text = report_of(many_metrics(tmp_path / "r"))
    table = Page(text).tables[1]
    assert table[0] == ["metric", "local", "fedavg", "omnifm"]
    assert {row[0]: row[1::2] for row in table[2:]} == {
        "PSNR (dB)": ["30.12", "31.12", "32.12"],
        "PSNR, bicubic (dB)": ["28.20", "28.20", "28.20"],
        "HD95, core": ["12.50", "11.50", "10.50"],
        "loss": ["0.020", "0.020", "0.020"],
        "Dice, core": ["0.500", "0.500", "0.500"],
    }
    assert "HD95, core<small>lower is better</small>" in text
    assert "Dice, core<small>1 of 2 hospitals</small>" in text
    assert "<b>10.50</b>" in text
    assert "<b>12.50</b>" not in text
    assert "<b>28.20</b>" not in text  # equal for all: none is the best
    assert text.count("<details><summary>") >= 4
    assert "HD95, core <span" in text


def test_the_result_says_whether_lower_is_better(tmp_path: Path) -> None:
    out = write_run(tmp_path / "r", ARMS)
    for place, arm in enumerate(ARMS):
        numbers = {"T1": {"dice": 0.5, "hd95": 5.0 + place}, "CT": {"dice": 0.6, "hd95": 8.0 + place}}
        with_numbers(out, arm, numbers=numbers, main_metric="dice", lower_is_better=["hd95"])
    text = report_of(out)
    table = next(t for t in Page(text).tables[2:] if t[0][0] == "hospital")
    assert table[-1] == ["worst hospital", "8.00", "8.00", "9.00", "9.00", "10.00", "10.00"]
    assert "<b>8.00</b>" in text
    assert "<b>10.00</b>" not in text
    for arm in ARMS:
        change_result(out / arm, lower_is_better=[])
    assert "<b>10.00</b>" in report_of(out)


def test_large_scores_have_fewer_decimals_everywhere(tmp_path: Path) -> None:
    text = report_of(many_metrics(tmp_path / "r"))
    assert "mean test PSNR 32.12 as received, 2.00 above hospitals on their own" in text
    assert "(+2.00)" in text
    assert ">+2.00</small>" in text
    assert "32.123" not in text
