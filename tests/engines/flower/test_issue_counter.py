"""Requests are numbered by a counter that outlives the server, whatever its clock does."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from omnifm.engines.flower.issue_counter import IssueCounter
from omnifm.utils.errors import DeploymentError


def test_it_grows_also_when_the_clock_goes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = IssueCounter(tmp_path)
    first = [counter.next() for _ in range(2500)]
    assert first == sorted(set(first))
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    assert IssueCounter(tmp_path).next() > first[-1]


def test_a_run_of_an_earlier_version_goes_on_above_its_time(tmp_path: Path) -> None:
    before = time.time_ns()
    assert IssueCounter(tmp_path).next() > before


def test_a_damaged_number_is_reported(tmp_path: Path) -> None:
    (tmp_path / "issued").write_text("none")
    with pytest.raises(DeploymentError, match=r"issued is damaged"):
        IssueCounter(tmp_path)
