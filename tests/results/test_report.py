from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from comparison_folder import arm, failed_arm, write_comparison_folder
from described_charts import drawn
from page import Page, headings
from run_folder import EVALUATION_POINTS, change_result, change_rounds, write_run

from omnifm.results.findings import read_findings
from omnifm.results.report import report_html

ARMS = {"local": "local", "fedavg": "fedavg", "omnifm": "omnifm"}
CLIENTS = ("T1", "T2", "CT", "PET", "US", "XR")
HOSTILE = '<script>alert("1")</script> & $x_1$ #010203 100 %'


def report_of(out: Path) -> str:
    return report_html(read_findings(out))


def drawn_report(out: Path) -> str:
    with drawn():
        return report_of(out)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("report") / "r", ARMS)


@pytest.fixture(scope="module")
def text(run: Path) -> str:
    return drawn_report(run)


def score(name: str, seed: int, level: float, point: str, place: int) -> float:
    base = {"omnifm": 0.7, "fedavg": 0.4, "local": 0.6, "alone": 0.58, "no-bank": 0.695, "omnifm x=1": 0.69}.get(
        name, 0.5
    )
    return round(base + 0.02 * place + 0.001 * ((7 * seed + 3 * place + len(name)) % 5) - 0.1 * (1 - level), 4)


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    points: list[Mapping[str, Any]] = [
        {"settings": {"training.learning_rate": 0.02, "fedavg.mu": 0.1}, "validation": 0.61, "failure": None},
        {"settings": {"training.learning_rate": 0.06}, "validation": None, "failure": "The loss is <nan> & bad."},
    ]
    arms = [
        arm("omnifm", "omnifm"),
        arm("fedavg", points=points, about="plain & simple"),
        arm("no-bank", "ablation", "omnifm"),
        arm("omnifm x=1", "sweep", "omnifm"),
        arm("local", "baseline"),
        arm("alone", "baseline", "local"),
        failed_arm("moon", "It broke."),
    ]
    failed = {("fedavg", 2, 0.5): "Broken cell."}
    out = tmp_path_factory.mktemp("report") / "c"
    return write_comparison_folder(out, arms, score, CLIENTS, levels=(1.0, 0.5), failed_cells=failed)


@pytest.fixture(scope="module")
def compared(comparison: Path) -> str:
    return drawn_report(comparison)


@pytest.mark.parametrize("kind", ["text", "compared"])
def test_it_is_whole_and_needs_nothing_else(kind: str, request: pytest.FixtureRequest) -> None:
    text = request.getfixturevalue(kind)
    page = Page(text)
    assert text.startswith("<!DOCTYPE html>")
    assert page.links
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "@import" not in text
    assert "url(http" not in text
    assert all(page.labels)
    assert "prefers-color-scheme: dark" in text


def test_the_sections_of_a_run(text: str) -> None:
    assert headings(text) == [
        "Results",
        "Compared with local",
        "Compared with omnifm",
        "Hospital by hospital",
        "Learning",
        "Mistakes",
        "Pictures",
        "The bank",
        "Cost",
        "Reproduce",
    ]
    for shown in (
        "4 March 2026",
        "seed 7",
        "3 of 3 arms",
        "omnifm 0.1.0",
        "torch 2.6.0",
        f"{2:064x}",
        "experiment.toml",
    ):
        assert shown in text
    assert "Before local training, omnifm has the best mean test accuracy" in text


def test_the_sections_of_a_comparison(compared: str) -> None:
    assert headings(compared) == [
        "Results",
        "Compared with local",
        "Compared with alone",
        "Compared with omnifm",
        "Hospital by hospital",
        "Learning",
        "Participation",
        "Tuning",
        "Cost",
        "Reproduce",
    ]
    assert "6 of 7 arms finished" in compared
    assert "clearly better: 6 of 6 hospitals gain and 0 lose" in compared


def test_the_tables_of_a_comparison(compared: str) -> None:
    groups, heads, *rows = Page(compared).tables[0]
    assert [cell for cell in groups if cell] == ["before", "after", "cost"]
    assert [cell for cell in heads if cell][:4] == ["mean", "worst", "over local", "over alone"]
    names = [row[-11] for row in rows]
    assert names == ["omnifm", "fedavg (1)", "moon (2)", "no-bank", "local", "alone"]
    assert [row[0] for row in rows if len(row) == 12] == ["OmniFM", "Reference algorithms", "Ablation", "Baselines"]
    values = [[score("omnifm", seed, 1.0, "before_local_training", place) for place in range(6)] for seed in (0, 1, 2)]
    assert rows[0][2].startswith(f"{sum(map(sum, values)) / 18:.3f} ±")
    assert rows[2][-10:] == ["–"] * 10  # noqa: RUF001
    assert "(1) plain &amp; simple; seed 2 at 50 % participation failed: Broken cell" in compared


def test_tuning_shows_every_configuration(compared: str) -> None:
    rows = next(table for table in Page(compared).tables if "validation" in table[0] and "chosen" in table[0])
    assert ["fedavg", "learning_rate 0.02, mu 0.1", "0.610", "✓", ""] in rows
    assert ["learning_rate 0.06", "–", "", "The loss is <nan> & bad."] in rows  # noqa: RUF001


def test_participation_at_both_points(compared: str) -> None:
    table = next(table for table in Page(compared).tables if "50 %" in table[1])
    assert [cell for cell in table[1] if cell] == ["50 %", "100 %", "50 %", "100 %"]


def test_many_arms_get_a_chart_each(comparison: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnifm.results.report.FEW_ARMS", 3)
    text = report_of(comparison)
    label = re.search(r'aria-label="(Validation accuracy before local training by MB per hospital[^"]*)"', text)
    assert label is not None
    assert label[1].count("local:") == 0  # clients alone send nothing
    label = re.search(r'aria-label="(Validation accuracy before local training by round[^"]*)"', text)
    assert label is not None
    assert all(f" {name}: local:" in label[1] for name in ("omnifm", "fedavg", "no-bank", "omnifm x=1", "alone"))


def test_other_metrics_and_what_is_lower_is_better(tmp_path: Path) -> None:
    out = write_run(tmp_path / "r", ARMS)
    for place, name in enumerate(ARMS):
        numbers = {"psnr": 30.123 + place, "hd95_core": 12.5 - place}
        test = {
            point: {"T1": {"numbers": {**numbers, "dice": 0.5}}, "CT": {"numbers": numbers}}
            for point in EVALUATION_POINTS
        }
        change_result(out / name, test=test, main_metric="psnr", lower_is_better=["hd95_core"])
    text = report_of(out)
    table = next(table for table in Page(text).tables if table[1][0] == "PSNR (dB)")
    assert [row[-3:] for row in table[1:]] == [
        *[["30.12", "31.12", "32.12"]] * 2,
        *[["12.50", "11.50", "10.50"]] * 2,
        *[["0.500", "0.500", "0.500"]] * 2,
    ]
    assert [row[0] for row in table[1::2]] == ["PSNR (dB)", "HD95, core ↓", "Dice"]
    assert "<b>10.50</b>" in text
    assert "<b>12.50</b>" not in text
    assert "Test HD95, core by hospital after local training, mean over seeds. Lower is better." in text


def test_confusion_is_of_the_classes_that_occur(text: str, run: Path, tmp_path: Path) -> None:
    mistakes = text[text.index('id="mistakes"') : text.index('id="pictures"')]
    assert "T1: 9 of 12 right" in mistakes
    assert "glioma" in mistakes
    assert "infarct" not in mistakes
    assert mistakes.count("<svg") == len(ARMS)
    out = shutil.copytree(run, tmp_path / "r")
    for name in ARMS:
        change_result(
            out / name,
            test={
                "before_local_training": {"T1": {"numbers": {"accuracy": 1}, "tables": {"confusion": [[1, 2], [3]]}}}
            },
        )
    assert "Mistakes" not in headings(report_of(out))


def test_the_bank_in_shares_of_a_row(text: str) -> None:
    bank = text[text.index('id="bank"') : text.index('id="cost"')]
    assert "omnifm: whose prototypes each hospital retrieved in the last 2 rounds, in percent" in bank
    assert "25 % from others" in bank
    assert [bank.count(f">{share}</text>") for share in (75, 25)] == [2, 2]


def test_circles_have_a_section_where_there_are_any(run: Path, tmp_path: Path) -> None:
    out = write_run(tmp_path / "r", ARMS, ("T1", "CT", "T2"))
    circles = {"circles": {"0": ["T1", "T2"]}}
    accepted = {"T1": [1, 0, 0], "CT": [1, 1, 1], "T2": [1, 1, 0.5]}
    change_rounds(out / "omnifm", {1: {"circles": {}}, 2: circles, 3: circles}, accepted)
    text = report_of(out)
    assert headings(text)[-4:] == ["Circles", "The bank", "Cost", "Reproduce"]
    section, bank = text[text.index('id="circles"') : text.index('id="bank"')], text[text.index('id="bank"') :]
    sentence = "omnifm: 2 hospitals learn together, the same since round 2. CT is alone. T1 mostly kept its own weights"
    assert sentence in section
    assert sentence in text[: text.index("<nav")]  # it is among the first things that a reader sees
    assert "omnifm: who learns with whom after each round" in section
    rows = next(table for table in Page(text).tables if "% retrieved from its circle" in table[1])[2:]
    assert rows == [
        ["circle 0", "T1", "80", "0.33", "1", "0", "2"],
        ["T2", "80", "0.83", "2", "1", "0"],
        ["alone", "CT", "60", "1.00", "3", "0", "0"],
    ]
    assert "in percent; hospitals of a circle stand together" in bank
    assert "Circles" not in headings(report_of(run))


def test_sizes_of_circles_have_a_chart(tmp_path: Path) -> None:
    out = write_run(tmp_path / "r", ARMS, [f"H{number}" for number in range(70)])
    change_rounds(out / "omnifm", {2: {"circles": [30, 20]}, 3: {"circles": [30, 25]}}, {})
    text = report_of(out)
    section = text[text.index('id="circles"') : text.index('id="bank"')]
    assert "sizes of the circles after each round" in section
    assert "After round 3: 30, 25 of 70 hospitals." in section
    assert "15 hospitals are each alone" in section


def test_it_tells_how_to_run_it_again(comparison: Path, text: str, tmp_path: Path) -> None:
    assert "omnifm run experiment.toml --out ../again\nomnifm run --resume ." in text
    copy = shutil.copytree(comparison, tmp_path / "c")
    path = copy / "comparison.json"
    asked = {"algorithms": "omnifm,fedavg", "seeds": 3, "ablate": True, "sweep": ["a.b=1,2"]}
    path.write_text(json.dumps({**json.loads(path.read_text()), "asked": asked}))
    command = "omnifm compare experiment.toml --algorithms omnifm,fedavg --seeds 3 --ablate --sweep a.b=1,2"
    assert f"{command} --out ../again\nomnifm compare --resume ." in report_of(copy)


def test_same_folder_same_bytes(run: Path, text: str, tmp_path: Path) -> None:
    assert drawn_report(shutil.copytree(run, tmp_path / "elsewhere")) == text


@pytest.mark.parametrize("clients", [(HOSTILE, "T1"), ("_T2 \n\x07", "医院 é"), ("a" * 200, '" onload="x')])
def test_names_are_escaped(tmp_path: Path, clients: tuple[str, str]) -> None:
    text = drawn_report(write_run(tmp_path / "r", {"a & <b>$": "omnifm", "_x [y] 'z'": "fedavg"}, clients))
    assert "script" not in Page(text).tags
    assert "onload" not in re.sub(r'"[^"]*"|>[^<]*<', "", text)
    assert "<b>$" not in text


def test_names_of_a_comparison_are_escaped(tmp_path: Path) -> None:
    arms = [arm(HOSTILE, "omnifm", about=HOSTILE), failed_arm("<b>x</b>", HOSTILE), arm("_y", "<i>kind</i>")]
    page = Page(report_of(write_comparison_folder(tmp_path / "c", arms, score, (HOSTILE, "CT"))))
    assert not {"script", "i"} & set(page.tags)
    assert any(HOSTILE in cell for table in page.tables for row in table for cell in row)


def test_sections_without_matter_are_left_out(tmp_path: Path) -> None:
    out = write_run(tmp_path / "r", {"local": "local"}, clients=("T1",))
    only: dict[str, Any] = {"T1": {"numbers": {"dice": 0.5}, "tables": {}}}
    change_result(
        out / "local", panels={}, main_metric="dice", test={"before_local_training": only, "after_local_training": only}
    )
    (out / "local" / "metrics.jsonl").unlink()
    assert headings(report_of(out)) == ["Results", "Hospital by hospital", "Reproduce"]


def test_unfinished_runs(run: Path, tmp_path: Path) -> None:
    out = shutil.copytree(run, tmp_path / "r")
    (out / "omnifm" / "result.json").unlink()
    text = report_of(out)
    assert "Without results so far: omnifm." in text
    assert "2 of 3 arms finished" in text
    for name in ("local", "fedavg"):
        (out / name / "result.json").unlink()
    assert headings(report_of(out)) == ["Learning", "The bank", "Cost", "Reproduce"]
    for name in ARMS:
        shutil.rmtree(out / name)
    assert headings(report_of(out)) == ["Reproduce"]


def test_a_comparison_of_which_nothing_was_played(tmp_path: Path) -> None:
    text = report_of(write_comparison_folder(tmp_path / "c", [failed_arm("moon", "nan")], score))
    assert headings(text) == ["Results", "Tuning", "Reproduce"]


def test_missing_and_broken_values_do_no_harm(run: Path, tmp_path: Path) -> None:
    out = shutil.copytree(run, tmp_path / "r")
    broken: dict[str, Any] = {"T1": {"numbers": {"accuracy": float("nan"), "auc": 0.7}}, "CT": {"numbers": {}}}
    panels = {"T1": [{"given": [{"title": "", "file": "pictures/gone.png"}], "caption": "?", "right": None}], "CT": []}
    change_result(
        out / "fedavg", test={"before_local_training": broken, "after_local_training": {}}, panels=panels, best={}
    )
    with (out / "fedavg" / "metrics.jsonl").open("a") as file:
        file.write('{"event": "round", "round": 4, "seconds": null, "clients": {"T1": {"loss": NaN}}}\n')
    rows = Page(report_of(out)).tables[0]
    assert next(row for row in rows if row[0] == "fedavg")[1:7] == ["–"] * 6  # noqa: RUF001


def test_a_large_run_stays_small_enough_to_be_sent(tmp_path: Path) -> None:
    arms = {f"arm-{number:02d}": kind for number, kind in enumerate(["local", "omnifm", *["fedavg"] * 6])}
    out = write_run(tmp_path / "r", arms, [f"hospital {number:02d}" for number in range(40)], rounds=3)
    text = drawn_report(out)
    Page(text)
    assert len(text) < 10_000_000


def test_a_private_run_says_what_it_promised_and_spent(tmp_path: Path) -> None:
    out = write_run(tmp_path / "run", {"fedavg": "fedavg", "open": "fedavg"})
    assert "differentially" not in report_of(out)
    result = json.loads((out / "fedavg" / "result.json").read_text())
    (out / "fedavg" / "result.json").write_text(json.dumps({**result, "privacy": {"epsilon": 3.0, "delta": 1e-5}}))
    lines = [json.loads(line) for line in (out / "fedavg" / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        for numbers in line["clients"].values() if line["event"] == "round" else ():
            numbers["epsilon"] = line["round"]
    (out / "fedavg" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = report_of(out)
    assert "fedavg: all that left a hospital is (3, 1e-05)-differentially private for each of its patients." in text
    assert "Epsilon spent by round" in text
    assert "open: all that left" not in text
