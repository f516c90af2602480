"""Of old runs nothing is kept for ever, and invented ones displace no real one."""

from __future__ import annotations

import os
import time
from pathlib import Path

from omnifm.engines.flower.kept_runs import KeptRuns

DAY = 24 * 3600.0


def begun(folder: Path, **ages: float) -> KeptRuns:
    """Return runs that were last asked for so many days ago."""
    runs = KeptRuns(folder / "runs", days=90, most=3)
    for name, age in ages.items():
        (folder / "runs" / name / "arm").mkdir(parents=True)
        path = folder / "runs" / name / "issued"
        path.write_text("5")
        os.utime(path, (time.time() - age * DAY,) * 2)
    return runs


def test_old_runs_go_when_a_new_one_begins(tmp_path: Path) -> None:
    runs = begun(tmp_path, old=91, young=2)
    assert runs.begin("young", 6) == ""
    assert runs.names == {"old", "young"}
    assert runs.begin("new", 1) == ""
    assert runs.names == {"young", "new"}


def test_of_too_many_the_longest_unused_go(tmp_path: Path) -> None:
    runs = begun(tmp_path, a=5, b=4, c=3)
    assert runs.begin("new", 1) == ""
    assert runs.names == {"b", "c", "new"}


def test_those_of_today_stay_and_one_more_is_refused(tmp_path: Path) -> None:
    runs = begun(tmp_path, a=0.1, b=0.2, c=0.3)
    assert "3 runs were asked for within 24 hours" in runs.begin("new", 1)
    assert runs.names == {"a", "b", "c"}


def test_an_older_request_is_told_from_the_same_one_again(tmp_path: Path) -> None:
    runs = begun(tmp_path, a=1)
    assert runs.reject_old("a", 4)
    assert not runs.reject_old("a", 5)
    assert not runs.reject_old("b", 0)


def test_the_highest_number_counts_also_after_a_power_cut(tmp_path: Path) -> None:
    runs = begun(tmp_path, a=1)
    for issued in (6, 7, 1042):
        assert runs.begin("a", issued) == ""
    path = tmp_path / "runs" / "a" / "issued"
    with path.open("a") as file:
        file.write("\n10")  # of 1043, whose request was not answered
    assert runs.reject_old("a", 1041)
    assert not runs.reject_old("a", 1042)
    runs.begin("a", 1043)
    assert runs.reject_old("a", 1042)


def test_the_numbers_of_requests_take_little_room(tmp_path: Path) -> None:
    runs, sizes = begun(tmp_path, a=1), list[int]()
    (tmp_path / "runs" / "a" / "issued").write_text("5\n" * 2040)
    for issued in range(10_000, 10_010):
        runs.begin("a", issued)
        sizes.append((tmp_path / "runs" / "a" / "issued").stat().st_size)
        assert runs.reject_old("a", issued - 1)
    assert 4080 < max(sizes) < 4200
    assert min(sizes) == len("10003")
