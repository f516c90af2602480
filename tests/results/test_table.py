from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from run_folder import change_result, write_run

from omnifm.results.table import result_table
from omnifm.utils.errors import ExperimentError


def printed(out: Path) -> str:
    console = Console(width=200, file=io.StringIO())
    with console.capture() as capture:
        console.print(result_table(out))
    return capture.get()


def lines_of(text: str) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in line.strip("│┃").replace("┃", "│").split("│")] for line in text.splitlines()]
    return {row[0]: row[1:] for row in rows if len(row) > 1}


def test_rows_columns_and_means(tmp_path: Path) -> None:
    rows = lines_of(printed(write_run(tmp_path / "r", {"zeta": "omnifm", "alone": "local"})))
    assert rows["client"] == ["zeta", "alone"]
    assert rows["T1"] == ["0.300 / 0.400", "0.340 / 0.440"]
    assert rows["CT"] == ["0.311 / 0.411", "0.351 / 0.451"]
    assert rows["mean"] == ["0.305 / 0.405", "0.346 / 0.446"]


def test_a_missing_score_is_a_dash(tmp_path: Path) -> None:
    out = write_run(tmp_path / "r", {"local": "local"})
    change_result(
        out / "local",
        test={"before_local_training": {"CT": {"numbers": {"accuracy": 0.5}}}, "after_local_training": {}},
    )
    rows = lines_of(printed(out))
    assert rows["T1"] == ["– / –"]  # noqa: RUF001
    assert rows["mean"] == ["0.500 / –"]  # noqa: RUF001


def test_one_reading_is_one_column(tmp_path: Path) -> None:
    out = write_run(tmp_path / "r", {"local": "local"})
    change_result(out / "local", test={"before_local_training": {"CT": {"numbers": {"accuracy": 0.5}}}})
    text = printed(out)
    assert "Test accuracy: as received\n" in text.replace(" \n", "\n")
    assert lines_of(text)["CT"] == ["0.500"]
    assert lines_of(text)["mean"] == ["0.500"]


def test_unfinished_arms_are_left_out(tmp_path: Path) -> None:
    out = write_run(tmp_path / "r", {"local": "local", "fedavg": "fedavg"})
    (out / "local" / "result.json").unlink()
    assert lines_of(printed(out))["client"] == ["fedavg"]
    (out / "fedavg" / "result.json").unlink()
    assert "No arm is finished yet" in printed(out)


def test_names_are_not_markup(tmp_path: Path) -> None:
    text = printed(write_run(tmp_path / "r", {"[bold]": "local"}, clients=("[red]a[/]",)))
    assert "[bold]" in text
    assert "[red]a[/]" in text


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="holds no run"):
        result_table(tmp_path)


def test_large_scores_have_fewer_decimals(tmp_path: Path) -> None:
    out = write_run(tmp_path / "r", {"local": "local"})
    numbers = {"T1": {"numbers": {"psnr": 30.1234}}, "CT": {"numbers": {"psnr": 9.5}}}
    change_result(out / "local", test={"before_local_training": numbers}, main_metric="psnr")
    text = printed(out)
    assert "Test PSNR (dB): as received" in text
    assert lines_of(text)["T1"] == ["30.12"]
    assert lines_of(text)["CT"] == ["9.50"]
