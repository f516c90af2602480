from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from comparison_folder import arm, failed_arm, write_comparison_folder
from rich.console import Console
from run_folder import change_result, change_rounds, write_run

from omnifm.results.write import terminal_tables, write_results
from omnifm.utils.errors import ExperimentError

ARMS = {"local": 0.60, "alone": 0.58, "omnifm": 0.64, "fed_avg & <co>%": 0.40}
HOSTILE = "fed_avg & <co>%"
FILES = {"report.html", "results.csv", "table.csv", "table.txt", "table.tex"}


def score(name: str, seed: int, level: float, point: str, place: int) -> float:
    """Seeds differ by 0.01, the second client is 0.10 better, local training brings 0.02."""
    return round(ARMS[name] + 0.01 * seed + 0.1 * place + (0.02 if point == "after_local_training" else 0.0), 4)


def folder(out: Path, **changes: object) -> Path:
    arms = [
        arm("local", "baseline"),
        arm("alone", "baseline", "local"),
        arm("omnifm", "omnifm"),
        arm(HOSTILE, about="plain SGD, 100 % <b>"),
        failed_arm("moon", "The loss of client 'T1' is nan."),
    ]
    return write_comparison_folder(out, arms, score, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module", autouse=True)
def _without_charts() -> Iterator[None]:
    """Leave the report out, which ``test_report.py`` is about: it takes longer than all else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("omnifm.results.write.report_html", lambda found: found.folder.name)
        yield


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = folder(tmp_path_factory.mktemp("write") / "c", failed_cells={(HOSTILE, 1, 1.0): "It broke."})
    write_results(made)
    return made


def table(out: Path) -> dict[tuple[str, str], dict[str, str]]:
    rows = csv.DictReader(io.StringIO((out / "table.csv").read_text()))
    return {(row["arm"], row["point"]): row for row in rows}


def printed(out: Path, width: int = 100) -> str:
    console = Console(width=width, file=io.StringIO())
    with console.capture() as capture:
        for shown in terminal_tables(out):
            console.print(shown)
    return capture.get()


def rows_of(text: str) -> dict[str, list[str]]:
    """The last words of each line, by its first; of a word that comes twice, the first."""
    lines = [line.split() for line in reversed(text.splitlines()) if line.strip()]
    return {line[0]: line[1:] for line in lines}


def test_the_summary_by_hand(out: Path) -> None:
    row = table(out)["omnifm", "before_local_training"]
    # Means of the seeds: 0.69, 0.70, 0.71; worst clients 0.64, 0.65, 0.66.
    keys = ("mean", "spread", "worst", "worst_spread", "seeds", "gain_over_local", "gain_over_alone")
    assert [row[key] for key in keys] == ["0.7", "0.01", "0.65", "0.01", "3", "0.04", "0.06"]
    # The third arm sends 3 MB a round and client, three rounds; a round takes 2.5 seconds.
    assert (row["megabytes_per_client"], row["seconds_per_round"]) == ("9", "2.5")
    assert (row["algorithm"], row["kind"], row["chosen"]) == ("omnifm", "omnifm", "learning_rate 0.02")
    assert table(out)["omnifm", "after_local_training"]["mean"] == "0.72"
    assert table(out)["local", "before_local_training"]["megabytes_per_client"] == "0"


def test_a_failed_cell_is_left_out_and_named(out: Path) -> None:
    row = table(out)[HOSTILE, "before_local_training"]
    assert (row["seeds"], row["mean"], row["difference"], row["compared_with"]) == ("2", "0.46", "-0.24", "omnifm")
    assert row["note"] == "plain SGD, 100 % <b>; seed 1 failed: It broke"


def test_a_failed_arm_has_no_numbers(out: Path) -> None:
    row = table(out)["moon", "before_local_training"]
    assert [row[key] for key in ("seeds", "mean", "difference", "p", "megabytes_per_client")] == ["0", "", "", "", ""]
    assert row["note"] == "failed: The loss of client 'T1' is nan"


def test_results_are_tidy(out: Path) -> None:
    rows = list(csv.DictReader(io.StringIO((out / "results.csv").read_text())))
    assert len(rows) == (4 * 3 - 1) * 2 * 2
    assert rows[0] == {
        "arm": "local", "algorithm": "local", "kind": "baseline", "level": "1", "seed": "0", "round": "3",
        "point": "before_local_training", "split": "test", "client": "T1", "metric": "accuracy", "value": "0.6",
    }  # fmt: skip


def test_latex_is_escaped(out: Path) -> None:
    text = (out / "table.tex").read_text()
    assert r"fed\_avg \& \textless{}co\textgreater{}\% (1)" in text
    assert r"omnifm & \textbf{0.700 $\pm$ 0.010}" in text
    assert r"& 0.660 $\pm$ 0.010" in text
    assert r"(1) plain SGD, 100 \% \textless{}b\textgreater{}" in text
    assert text.count("\\begin{table}") == text.count("\\end{table}") == 2


def test_plain_text_holds_it_all(out: Path) -> None:
    text = (out / "table.txt").read_text()
    for part in ("0.700 ± 0.010", "−0.240", f"{HOSTILE} (1)", "(2) failed: The loss of client 'T1' is nan"):  # noqa: RUF001
        assert part in text
    assert "by hospital after local training" in " ".join(text.split())


def test_the_terminal_needs_no_more_than_a_hundred_columns(out: Path) -> None:
    text = printed(out)
    assert max(map(len, text.splitlines())) <= 100
    assert "0.700 ± 0.010" in text
    assert "…" not in text


def test_one_seed_has_no_spread(tmp_path: Path) -> None:
    one = folder(tmp_path / "c", seeds=(4,))
    write_results(one)
    row = table(one)["omnifm", "before_local_training"]
    assert (row["mean"], row["spread"]) == ("0.73", "")
    assert "Test accuracy, seed 4, before = before local training" in (one / "table.txt").read_text()


def test_without_baselines_there_are_no_gains(tmp_path: Path) -> None:
    out = write_comparison_folder(tmp_path / "c", [arm("omnifm", "omnifm")], score)
    write_results(out)
    assert "gain_over_local" not in table(out)["omnifm", "before_local_training"]
    assert "over local" not in (out / "table.txt").read_text() + (out / "table.tex").read_text()


def test_nothing_played_yet(tmp_path: Path) -> None:
    out = write_comparison_folder(tmp_path / "c", [failed_arm("moon", "nan")], score)
    write_results(out)
    assert table(out)["moon", "before_local_training"]["mean"] == ""
    assert rows_of(printed(out))["moon"][0] == "(1)"


def test_sweeps_stand_by_themselves(tmp_path: Path) -> None:
    out = write_comparison_folder(tmp_path / "c", [arm("omnifm", "omnifm"), arm("local", "sweep", "omnifm")], score)
    write_results(out)
    scores, sweeps = (out / "table.tex").read_text().split("\\end{table}")[:2]
    assert "local" not in scores.partition("\\midrule")[2]
    assert "local & 0.660" in sweeps
    assert table(out)["local", "before_local_training"].get("difference", "") == ""


def test_sweeps_alone_have_nothing_to_be_compared_with(tmp_path: Path) -> None:
    out = write_comparison_folder(tmp_path / "c", [arm("omnifm", "sweep"), arm("local", "baseline")], score)
    write_results(out)
    assert len(terminal_tables(out)) == 3  # baselines, sweeps, clients
    assert "Difference" not in (out / "table.txt").read_text() + (out / "table.tex").read_text()


def test_arms_of_which_the_same_is_said_share_a_footnote(tmp_path: Path) -> None:
    said = "what both are"
    arms = [arm("local", "baseline", about=said), arm("omnifm", "omnifm"), arm("alone", "baseline", about=said)]
    out = write_comparison_folder(tmp_path / "c", arms, score)
    write_results(out)
    text = (out / "table.txt").read_text(encoding="utf-8")
    assert text.count(said) == 1
    assert "local (1)" in text
    assert "alone (1)" in text


def test_the_tables_of_a_run(tmp_path: Path) -> None:
    out = write_run(tmp_path / "r", {"zeta": "omnifm", "alone": "local"})
    write_results(out)
    assert {path.name for path in out.iterdir()} >= FILES
    assert (out / "report.html").read_text() == "trial <1>"
    text = printed(out)
    scores, clients = text[: text.index("Difference")], text[text.index("by hospital") :]
    # Means of two clients, their gain over clients alone, 9 MB in three rounds over two clients, 1.5 s a round.
    assert rows_of(scores)["zeta"] == ["0.305", "−0.040", "0.405", "−0.040", "4.50", "1.50"]  # noqa: RUF001
    assert rows_of(scores)["alone"] == ["0.346", "–", "0.446", "–", "4.50", "1.50"]  # noqa: RUF001
    assert rows_of(clients)["zeta"] == ["0.300", "0.311"]
    assert rows_of(clients)["alone"] == ["0.340", "0.351"]


def test_a_missing_score_is_a_dash_and_one_point_is_one_group(tmp_path: Path) -> None:
    out = write_run(tmp_path / "r", {"local": "local", "fedavg": "fedavg"})
    for name in ("local", "fedavg"):
        change_result(
            out / name, test={"before_local_training": {"CT": {"numbers": {"accuracy": 0.5}}, "T1": {"numbers": {}}}}
        )
    change_result(out / "local", test={"before_local_training": {"T1": {"numbers": {"accuracy": 0.25}}}})
    text = printed(out, 200)
    assert rows_of(text[text.index("by hospital") :])["fedavg"] == ["–", "0.500"]  # noqa: RUF001
    assert "before = before local training" in " ".join(text.split())
    assert "after = " not in text


def test_clients_that_outnumber_the_arms_are_rows(tmp_path: Path) -> None:
    out = write_run(tmp_path / "r", {"local": "local", "fedavg": "fedavg"}, ("A1", "A2", "A3"))
    text = printed(out)
    assert rows_of(text[text.index("by hospital") :])["A3"] == ["0.322", "0.362"]
    many = write_run(tmp_path / "s", {"local": "local"}, [f"A{place}" for place in range(9)])
    assert "by hospital" not in printed(many)


def test_unfinished_arms_are_left_out(tmp_path: Path) -> None:
    out = write_run(tmp_path / "r", {"local": "local", "fedavg": "fedavg"})
    (out / "local" / "result.json").unlink()
    assert "local " not in printed(out, 300).replace("local training", "")
    (out / "fedavg" / "result.json").unlink()
    assert "No arm is finished yet" in printed(out)
    write_results(out)
    assert (out / "results.csv").read_text().startswith("arm,algorithm,kind,level,seed,round,point,split,client,")


def test_names_are_not_markup(tmp_path: Path) -> None:
    text = printed(write_run(tmp_path / "r", {"[bold]": "local"}, clients=("[red]a[/]",)))
    assert "[bold]" in text
    assert "[red]a[/]" in text


def test_no_run(tmp_path: Path) -> None:
    for function in (write_results, terminal_tables):
        with pytest.raises(ExperimentError, match="holds no run"):
            function(tmp_path)


def test_large_scores_have_fewer_decimals(tmp_path: Path) -> None:
    out = write_run(tmp_path / "r", {"local": "local"})
    numbers = {"T1": {"numbers": {"psnr": 30.1234}}, "CT": {"numbers": {"psnr": 9.5}}}
    change_result(out / "local", test={"before_local_training": numbers}, main_metric="psnr")
    text = printed(out, 200)
    assert "Test PSNR (dB), seed 7" in text
    rows = rows_of(text[text.index("by hospital") :])
    assert (rows["T1"], rows["CT"]) == (["30.12"], ["9.50"])


def test_circles_are_told_in_terminal_and_text(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", {"omnifm": "omnifm"}, ("[T1]", "CT", "T2"))
    change_rounds(run / "omnifm", {1: {"circles": {}}, 2: {"circles": {"0": ["[T1]", "T2"]}}}, {})
    sentence = "omnifm: 2 hospitals learn together; this changed as late as in round 2, the last one. CT is alone."
    assert sentence in printed(run, 200)
    write_results(run)
    assert sentence in (run / "table.txt").read_text()
