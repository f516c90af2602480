from __future__ import annotations

from pathlib import Path

from omnifm.callbacks.metrics_log import MetricsLog


def log_of(path: Path, *rounds: int) -> MetricsLog:
    log = MetricsLog(path / "metrics.jsonl")
    for number in rounds:
        log.append(event="round", round=number, loss=number / 4)
    return log


def test_lines_come_back(tmp_path: Path) -> None:
    log = log_of(tmp_path, 1, 2)
    log.append(event="evaluation", round=2, clients={"CT-1": {"accuracy": 0.5}})
    assert log.read() == [
        {"event": "round", "round": 1, "loss": 0.25},
        {"event": "round", "round": 2, "loss": 0.5},
        {"event": "evaluation", "round": 2, "clients": {"CT-1": {"accuracy": 0.5}}},
    ]


def test_each_line_is_on_the_file_at_once(tmp_path: Path) -> None:
    assert log_of(tmp_path, 1).path.read_text() == '{"event": "round", "round": 1, "loss": 0.25}\n'


def test_no_file_is_no_lines(tmp_path: Path) -> None:
    assert MetricsLog(tmp_path / "metrics.jsonl").read() == []


def test_a_line_cut_short_is_left_out(tmp_path: Path) -> None:
    log = log_of(tmp_path, 1, 2)
    log.path.write_text(log.path.read_text()[:-4])
    assert [line["round"] for line in log.read()] == [1]


def test_rounds_to_run_again_are_forgotten(tmp_path: Path) -> None:
    log = log_of(tmp_path, 1, 2, 3)
    log.forget_after(2)
    log.append(event="round", round=3, loss=9.0)
    assert [(line["round"], line["loss"]) for line in log.read()] == [(1, 0.25), (2, 0.5), (3, 9.0)]


def test_a_cut_line_does_not_spoil_the_next(tmp_path: Path) -> None:
    log = log_of(tmp_path, 1, 2)
    log.path.write_text(log.path.read_text()[:-4])
    log.forget_after(1)
    log.append(event="round", round=2, loss=9.0)
    assert [line["loss"] for line in log.read()] == [0.25, 9.0]


def test_forgetting_needs_no_file(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.forget_after(0)
    assert log.read() == []
