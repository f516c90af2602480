from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from comparison_folder import arm, failed_arm, write_comparison_folder
from page import Page, headings

from omnifm.results.charts import Across, Interval, Line, Style, forest_chart, line_chart
from omnifm.results.comparison.write import is_comparison, write_comparison

BASE = {"omnifm": 0.70, "fedavg": 0.40, "local": 0.60, "alone": 0.58, "no-bank": 0.695, "omnifm x=1": 0.69}
NOISE = (0.003, -0.004, 0.002, -0.001, 0.004, -0.002, 0.001, -0.003, 0.002)
CLIENTS = ("T1", "T2", "CT", "PET", "US", "XR")


def score(name: str, seed: int, level: float, point: str, place: int) -> float:
    """Differences between arms vary little, so that they are clear."""
    noise = NOISE[(7 * seed + 3 * place + len(name)) % len(NOISE)]
    return round(BASE.get(name, 0.5) + 0.02 * place + noise - 0.1 * (1 - level), 4)


def some_arms() -> list[dict[str, object]]:
    points: list[dict[str, Any]] = [
        {"settings": {"training.learning_rate": 0.02, "fedavg.mu": 0.1}, "validation": 0.61, "failure": None},
        {"settings": {"training.learning_rate": 0.06}, "validation": None, "failure": "The loss is <nan> & bad."},
    ]
    return [
        arm("omnifm", "omnifm"),
        arm("fedavg", points=points, about="plain & simple"),
        arm("no-bank", "ablation", "omnifm"),
        arm("omnifm x=1", "sweep", "omnifm"),
        arm("local", "yardstick"),
        arm("alone", "yardstick", "local"),
        failed_arm("moon", "It broke."),
    ]


def report_of(out: Path) -> str:
    write_comparison(out)
    return (out / "report.html").read_text(encoding="utf-8")


def plain(text: str) -> str:
    return " ".join(text.replace("&#39;", "'").split())


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_comparison_folder(
        tmp_path_factory.mktemp("report") / "c", some_arms(), score, CLIENTS, levels=(1.0, 0.5),
        failed_cells={("fedavg", 2, 0.5): "Broken cell."},
    )  # fmt: skip


@pytest.fixture(scope="module")
def text(out: Path) -> str:
    return report_of(out)


def test_it_is_whole_and_needs_nothing_else(text: str) -> None:
    page = Page(text)
    assert text.startswith("<!DOCTYPE html>")
    assert all(link.startswith("#") for link in page.links)
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert not {"script", "link", "iframe", "object", "img"} & set(page.tags)
    assert "://" not in text
    assert "#0102" not in text


def test_all_sections_are_there(text: str) -> None:
    assert headings(text) == [
        "Results",
        "Sweeps",
        "Gains over staying alone",
        "Paired comparison with omnifm",
        "Hospital by hospital",
        "Learning",
        "Participation",
        "Tuning",
        "Who holds what",
        "Run it again",
    ]


def test_the_verdict_says_what_the_numbers_bear(text: str) -> None:
    told = plain(text)
    assert re.search(
        r"As received, omnifm \(\+0\.1\d\d, 95 % interval \+0\.0\d\d to \+0\.1\d\d\) clearly beats hosp", told
    )
    assert "Best test accuracy of 2 arms that learn together: as received omnifm, 0.7" in told
    assert "Of 6 hospitals that join omnifm, 6 gain and 0 lose" in told
    assert "Clearly worse than hospitals on their own (local), as received: fedavg." in told
    assert "Clearly worse than omnifm, as received: fedavg." in told
    assert "Without a result, and so not judged: moon." in told
    assert "3 seeds have 10 distinct resamples" in told


def test_the_verdict_owns_up_to_a_loss(tmp_path: Path) -> None:
    arms = [arm("fedavg"), arm("local", "yardstick")]
    told = plain(report_of(write_comparison_folder(tmp_path / "c", arms, score, CLIENTS)))
    assert "As received, no arm beats hospitals on their own (local): fedavg comes nearest (−0.2" in told  # noqa: RUF001
    assert "Of 6 hospitals that join fedavg, 0 gain and 6 lose" in told


def test_a_gain_within_doubt_is_no_victory(tmp_path: Path) -> None:
    def wavering(name: str, seed: int, level: float, point: str, place: int) -> float:
        return 0.5 + (0.01 + (0.1 if (seed + place) % 2 else -0.1) if name == "omnifm" else 0.0)

    arms = [arm("omnifm", "omnifm"), arm("fedavg"), arm("local", "yardstick")]
    told = plain(report_of(write_comparison_folder(tmp_path / "c", arms, wavering, CLIENTS)))
    assert "no arm is shown to beat hospitals on their own (local): 1 of 2 lies above, none clearly" in told
    assert "Other arms that learn together (1): none can be told from omnifm." in told


def test_the_tables_hold_the_results(out: Path, text: str) -> None:
    tables = Page(text).tables
    groups, heads, *rows = tables[0]
    assert groups == ["", "as received", "after_local_training", "cost"]
    assert heads[:5] == ["arm", "mean", "worst", "over local", "over alone"]
    names = [row[0] for row in rows]
    assert names == [
        "OmniFM", "omnifm", "Reference algorithms", "fedavg1", "moon2", "Ablation", "no-bank",
        "Yardsticks", "local", "alone",
    ]  # fmt: skip
    values = [[score("omnifm", s, 1.0, "before_local_training", i) for i in range(6)] for s in (0, 1, 2)]
    mean = sum(map(sum, values)) / 18
    assert rows[1][1].startswith(f"{mean:.3f} ±")
    assert rows[4][1:] == ["–"] * 10  # noqa: RUF001


def test_tuning_shows_every_point(text: str) -> None:
    rows = next(table for table in Page(text).tables if table[0][1:2] == ["settings"])
    assert ["fedavg", "learning_rate 0.02, mu 0.1", "0.610", "✓"] in rows
    assert ["learning_rate 0.06", "–", "The loss is <nan> & bad."] in rows  # noqa: RUF001


def test_participation_at_both_evaluation_points(text: str) -> None:
    table = next(table for table in Page(text).tables if table[1][1:2] == ["50 %"])
    assert table[1] == ["arm", "50 %", "100 %", "50 %", "100 %"]
    assert "seed 2 at 50 % participation failed: Broken cell" in text


def test_each_arm_has_its_own_small_chart(text: str) -> None:
    labels = Page(text).labels
    rounds = [label for label in labels if label.startswith("Validation accuracy against rounds, as received: ")]
    assert len(rounds) == 6
    traffic = [label for label in labels if label.startswith("Validation accuracy against MB")]
    assert len(traffic) == 4  # hospitals alone send nothing
    assert any("at MB 3" in label for label in traffic)
    assert sum(label.startswith("Difference from omnifm") for label in labels) == 2


def test_it_tells_how_to_play_it_again(out: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(out, tmp_path / "c")
    path = copy / "comparison.json"
    asked = {"algorithms": "omnifm,fedavg", "seeds": 3, "ablate": True, "sweep": ["a.b=1,2"]}
    path.write_text(json.dumps({**json.loads(path.read_text()), "asked": asked}))
    command = "omnifm compare experiment.toml --algorithms omnifm,fedavg --seeds 3 --ablate --sweep a.b=1,2"
    assert f"{command} --out ../again" in report_of(copy)


def test_same_folder_same_bytes(out: Path, text: str, tmp_path: Path) -> None:
    assert report_of(shutil.copytree(out, tmp_path / "elsewhere")) == text


def test_names_are_escaped(tmp_path: Path) -> None:
    hostile = '<script>alert("1")</script> & $x_1$ 100 %'
    arms = [arm(hostile, "omnifm", about=hostile), failed_arm("<b>x</b>", hostile), arm("_y", "<i>kind</i>")]
    page = Page(report_of(write_comparison_folder(tmp_path / "c", arms, score, (hostile, "CT"))))
    assert not {"script", "b>x", "i"} & set(page.tags)
    assert any(hostile in row for table in page.tables for row in table)


def test_one_seed_one_hospital_and_no_yardstick(tmp_path: Path) -> None:
    arms = [arm("omnifm", "omnifm"), arm("fedavg")]
    text = report_of(write_comparison_folder(tmp_path / "c", arms, score, ("T1",), seeds=(3,)))
    assert "Whether joining beats staying alone cannot be told: local has no result." in text
    assert "With one seed and one hospital there is no interval" in text
    assert "Gains over staying alone" not in headings(text)
    assert "Participation" not in headings(text)
    many = report_of(write_comparison_folder(tmp_path / "d", arms, score, CLIENTS, seeds=(3,)))
    assert "With one seed only the 6 hospitals are resampled" in many


def test_nothing_played(tmp_path: Path) -> None:
    text = report_of(write_comparison_folder(tmp_path / "c", [failed_arm("moon", "nan")], score))
    Page(text)
    assert headings(text) == ["Results", "Tuning", "Run it again"]
    assert "there is nothing to judge" in text


def test_a_folder_of_a_comparison_is_known(out: Path, tmp_path: Path) -> None:
    assert is_comparison(out)
    assert not is_comparison(tmp_path)


def test_a_line_chart_over_something_else_than_rounds() -> None:
    line = Line("a", Style(0), [(1.0, 0.2), (100.0, 0.4)])
    other = Line("b", Style(1), [(1.0, 0.3), (50.0, 0.3)])
    chart = line_chart([line], "t", "y", across=Across("MB", whole=False, log=True), background=[other])
    assert "t. a: 0.2 at MB 1, 0.4 at MB 100." in chart
    assert "MB" in re.findall(r">([^<]+)</text>", chart)
    assert "var(--c1)" not in chart  # what lies behind is grey
    assert ">50<" in line_chart([line], "t", "y", across=Across("percent", ticks=[20, 50]))


def test_a_forest_plot_says_its_numbers() -> None:
    rows = [Interval("a<b", Style(0), -0.1, -0.2, 0.0), Interval("c", Style(1), 0.05, sure=True, gap=True)]
    chart = forest_chart(rows, "Gain", "difference")
    assert "Gain. a&lt;b: -0.100; c: +0.050." in chart
    assert "a&lt;b" in chart
