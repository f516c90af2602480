from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from comparison_folder import arm, failed_arm, write_comparison_folder
from rich.console import Console

from omnifm.results.comparison.latex import escape
from omnifm.results.comparison.write import write_comparison

ARMS = {"local": 0.60, "alone": 0.58, "omnifm": 0.64, "fed_avg & <co>%": 0.40}
HOSTILE = "fed_avg & <co>%"


def score(name: str, seed: int, level: float, point: str, place: int) -> float:
    """Seeds differ by 0.01, the second hospital is 0.10 better, personalising brings 0.02."""
    return round(ARMS[name] + 0.01 * seed + 0.1 * place + (0.02 if point == "after_local_training" else 0.0), 4)


def folder(out: Path, **changes: object) -> Path:
    arms = [
        arm("local", "yardstick"),
        arm("alone", "yardstick", "local"),
        arm("omnifm", "omnifm"),
        arm(HOSTILE, about="plain SGD, 100 % <b>"),
        failed_arm("moon", "The loss of client 'T1' is nan."),
    ]
    return write_comparison_folder(out, arms, score, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = folder(tmp_path_factory.mktemp("table") / "c", failed_cells={(HOSTILE, 1, 1.0): "It broke."})
    write_comparison(made)
    return made


def table(out: Path) -> dict[tuple[str, str], dict[str, str]]:
    rows = csv.DictReader(io.StringIO((out / "table.csv").read_text()))
    return {(row["arm"], row["point"]): row for row in rows}


def test_means_spreads_and_worst_by_hand(out: Path) -> None:
    row = table(out)["omnifm", "before_local_training"]
    # Means of the seeds: 0.69, 0.70, 0.71; worst hospitals 0.64, 0.65, 0.66.
    assert (row["mean"], row["spread"], row["worst"], row["worst_spread"], row["seeds"]) == (
        "0.7", "0.01", "0.65", "0.01", "3",
    )  # fmt: skip
    assert (row["gain_over_local"], row["gain_over_alone"]) == ("0.04", "0.06")
    assert table(out)["omnifm", "after_local_training"]["mean"] == "0.72"


def test_cost_by_hand(out: Path) -> None:
    # The third arm sends 3 MB a round and hospital, three rounds; a round takes 2.5 seconds.
    row = table(out)["omnifm", "before_local_training"]
    assert (row["megabytes_per_hospital"], row["seconds_per_round"]) == ("9", "2.5")
    assert table(out)["local", "before_local_training"]["megabytes_per_hospital"] == "0"


def test_a_failed_cell_is_left_out_and_named(out: Path) -> None:
    row = table(out)[HOSTILE, "before_local_training"]
    assert (row["seeds"], row["mean"], row["difference"], row["compared_with"]) == ("2", "0.46", "-0.24", "omnifm")
    assert row["note"] == "plain SGD, 100 % <b>; seed 1 failed: It broke"


def test_a_failed_arm_has_no_numbers(out: Path) -> None:
    row = table(out)["moon", "before_local_training"]
    assert [row[key] for key in ("seeds", "mean", "difference", "p", "megabytes_per_hospital")] == ["0", "", "", "", ""]
    assert row["note"] == "failed: The loss of client 'T1' is nan"


def test_results_are_tidy(out: Path) -> None:
    rows = list(csv.DictReader(io.StringIO((out / "results.csv").read_text())))
    assert len(rows) == (4 * 3 - 1) * 2 * 2
    assert rows[0] == {
        "arm": "local", "algorithm": "local", "kind": "yardstick", "level": "1", "seed": "0",
        "point": "before_local_training", "hospital": "T1", "metric": "accuracy", "value": "0.6",
    }  # fmt: skip


def test_latex_is_escaped(out: Path) -> None:
    text = (out / "table.tex").read_text()
    assert r"fed\_avg \& \textless{}co\textgreater{}\%\textsuperscript{1}" in text
    assert r"omnifm & \textbf{0.700 $\pm$ 0.010}" in text
    assert r"local & 0.660 $\pm$ 0.010" in text
    assert r"plain SGD, 100 \% \textless{}b\textgreater{}" in text
    assert "−" not in text  # noqa: RUF001
    for name in ("table", "tabular"):
        assert text.count(f"\\begin{{{name}}}") == text.count(f"\\end{{{name}}}") == 2


def test_escape() -> None:
    assert escape("a\\b{c}^~$#\n[x]*") == (
        r"a\textbackslash{}b\{c\}\textasciicircum{}\textasciitilde{}\$\# {[}x]{*}"
    )  # fmt: skip


def test_plain_text_holds_it_all(out: Path) -> None:
    text = (out / "table.txt").read_text()
    assert "0.700 ± 0.010" in text
    assert "−0.240" in text  # noqa: RUF001
    assert f"{HOSTILE} (1)" in text
    assert "(2) failed: The loss of client 'T1' is nan" in text
    assert "learning_rate 0.02" in text
    assert "by hospital, personalised" in " ".join(text.split())


def test_the_terminal_needs_no_more_than_a_hundred_columns(out: Path) -> None:
    console = Console(width=100, file=io.StringIO())
    with console.capture() as capture:
        for shown in write_comparison(out):
            console.print(shown)
    text = capture.get()
    assert max(map(len, text.splitlines())) <= 100
    assert "0.700 ± 0.010" in text
    assert "…" not in text


def test_one_seed_has_no_spread(tmp_path: Path) -> None:
    one = folder(tmp_path / "c", seeds=(4,))
    write_comparison(one)
    row = table(one)["omnifm", "before_local_training"]
    assert (row["mean"], row["spread"]) == ("0.73", "")
    assert "Test accuracy, seed 4 (" in (one / "table.txt").read_text()


def test_without_yardsticks_there_are_no_gains(tmp_path: Path) -> None:
    out = write_comparison_folder(tmp_path / "c", [arm("omnifm", "omnifm")], score)
    write_comparison(out)
    assert table(out)["omnifm", "before_local_training"]["gain_over_local"] == ""
    assert "over local" not in (out / "table.txt").read_text()
    assert "over local" not in (out / "table.tex").read_text()


def test_nothing_played_yet(tmp_path: Path) -> None:
    out = write_comparison_folder(tmp_path / "c", [failed_arm("moon", "nan")], score)
    write_comparison(out)
    assert table(out)["moon", "before_local_training"]["mean"] == ""


def test_sweeps_stand_by_themselves(tmp_path: Path) -> None:
    arms = [arm("omnifm", "omnifm"), arm("local", "sweep", "omnifm")]
    out = write_comparison_folder(tmp_path / "c", arms, score)
    write_comparison(out)
    assert "Sweeps" in (out / "table.txt").read_text()
    assert table(out)["local", "before_local_training"]["difference"] == ""
    scores, _, sweeps = (out / "table.tex").read_text().split("\\end{table}")[:3]
    assert "local" not in scores
    assert "local & 0.660" in sweeps


def test_sweeps_alone_have_nothing_to_be_compared_with(tmp_path: Path) -> None:
    out = write_comparison_folder(tmp_path / "c", [arm("omnifm", "sweep"), arm("local", "yardstick")], score)
    tables = write_comparison(out)
    assert len(tables) == 3  # yardsticks, sweeps, hospitals
    assert "Difference" not in (out / "table.txt").read_text() + (out / "table.tex").read_text()
    assert "judges no arm" in (out / "report.html").read_text()


def test_arms_of_which_the_same_is_said_share_a_footnote(tmp_path: Path) -> None:
    said = "what both are"
    arms = [arm("local", "yardstick", about=said), arm("omnifm", "omnifm"), arm("alone", "yardstick", about=said)]
    made = write_comparison_folder(tmp_path / "c", arms, score)
    write_comparison(made)
    text = (made / "table.txt").read_text(encoding="utf-8")
    assert text.count(said) == 1
    assert "local (1)" in text
    assert "alone (1)" in text
    assert (made / "report.html").read_text(encoding="utf-8").count(f">{said}<") == 1
