"""Rounds are answered once, and so many a day, whatever the clock did."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from omnifm.engines.flower.answered_rounds import AnsweredRounds
from omnifm.utils.errors import DeploymentError

DAY = 24 * 3600.0


def claim(
    rounds: AnsweredRounds, number: int, digest: str = "d", a_day: int = 2, run: str = "r", models: int = 1
) -> str:
    return rounds.claim(run, "arm", number, digest, a_day=a_day, models=models, kept={"r"})


def test_so_many_a_day_and_the_same_again_is_no_other(tmp_path: Path) -> None:
    rounds = AnsweredRounds(tmp_path / "rounds.jsonl")
    assert [claim(rounds, number) for number in (1, 1, 2, 1)] == [""] * 4
    assert claim(rounds, 3) == "2 rounds were answered within 24 hours: policy.rounds_a_day = 2."
    assert "policy.rounds_a_day" in claim(rounds, 1, run="other")
    assert claim(rounds, 3, a_day=0) == ""


def test_another_model_for_a_round_is_refused(tmp_path: Path) -> None:
    rounds = AnsweredRounds(tmp_path / "rounds.jsonl")
    assert claim(rounds, 1, "one") == ""
    assert "Round 1 was answered before" in claim(rounds, 1, "other")
    assert claim(rounds, 1, "other", models=2) == ""
    assert "policy.rounds_a_day = 2" in claim(rounds, 1, "third", models=3), "each model counts"


def test_a_day_later_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds, now = AnsweredRounds(tmp_path / "rounds.jsonl"), time.time()
    assert claim(rounds, 1, a_day=1) == ""
    assert claim(rounds, 1, a_day=2, run="old") == ""
    monkeypatch.setattr(time, "time", lambda: now + DAY + 60)
    assert claim(rounds, 2, a_day=1) == ""
    kept = [json.loads(line)[0] for line in rounds.path.read_text().splitlines()]
    assert kept == ["r", "r"], "of a run that is kept all rounds, of others those of a day"
    assert "answered before" in claim(rounds, 1, "other", a_day=0)


def test_a_clock_that_was_ahead_neither_blocks_for_long_nor_frees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rounds, now = AnsweredRounds(tmp_path / "rounds.jsonl"), time.time()
    monkeypatch.setattr(time, "time", lambda: now + 60 * DAY)
    assert claim(rounds, 1, a_day=1) == ""
    monkeypatch.setattr(time, "time", lambda: now)
    assert "policy.rounds_a_day" in claim(rounds, 2, a_day=1), "it counts, as of now"
    assert "dated in the future" in caplog.text
    monkeypatch.setattr(time, "time", lambda: now + 30 * DAY)
    assert claim(rounds, 2, a_day=1) == ""


@pytest.mark.parametrize(
    "content", ["", "\n", "null\n", "[null]\n", '["r", "a", 1, "d"]\n', "\xff", '["r", "a", 1, "d", 2.0]']
)
def test_a_damaged_list_is_not_passed_over(tmp_path: Path, content: str) -> None:
    path = tmp_path / "rounds.jsonl"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(DeploymentError, match=r"rounds.jsonl is damaged.*Remove it"):
        claim(AnsweredRounds(path), 1)


def test_a_line_that_a_power_cut_has_shortened_is_that_of_no_round(tmp_path: Path) -> None:
    rounds = AnsweredRounds(tmp_path / "rounds.jsonl")
    assert [claim(rounds, number) for number in (1, 2)] == ["", ""]
    whole = rounds.path.read_bytes()
    rounds.path.write_bytes(whole[:-5])
    assert claim(rounds, 2, "other") == "", "round 2 was not answered, so that it can be for another model"
    assert [json.loads(line)[2:4] for line in rounds.path.read_text().splitlines()] == [[1, "d"], [2, "other"]]


def test_a_round_costs_a_line_and_the_file_does_not_grow_with_runs_that_have_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds, now = AnsweredRounds(tmp_path / "rounds.jsonl"), time.time()
    sizes = []
    for day in range(20):
        monkeypatch.setattr(time, "time", lambda day=day: now + 2 * day * DAY)
        assert claim(rounds, 1, run=f"run {day}") == ""
        sizes.append(len(rounds.path.read_text().splitlines()))
    assert max(sizes) <= 2, "the one needed, and one of before"
