"""A hospital's log cannot be changed unseen, survives what is wrong in it, and is bounded."""

from __future__ import annotations

import hashlib
import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from small_run import omnifm
from visit import Visit

from omnifm.engines.flower import audit_log
from omnifm.engines.flower.audit_log import AuditLog, audited
from omnifm.engines.flower.messages import Reply


def log_of(folder: Path, entries: int = 4, **bounds: int) -> AuditLog:
    log = AuditLog(folder / "audit.jsonl", **bounds)
    for number in range(entries):
        log.write(run="r", arm="a", round=number, trained=True, circle=1)
    return log


def test_each_line_holds_the_digest_of_the_one_before(tmp_path: Path) -> None:
    log = log_of(tmp_path)
    count, last, problems = audited(log.path)
    assert (count, problems) == (4, [])
    log.write(run="r")
    assert json.loads(log.path.read_text().splitlines()[-1])["previous"] == last


@pytest.mark.parametrize("line", [0, 1, 2])
def test_a_line_that_was_changed_or_taken_out_is_found(tmp_path: Path, line: int) -> None:
    log = log_of(tmp_path)
    lines = log.path.read_text().splitlines()
    log.path.write_text("\n".join(one.replace('"r"', '"x"') if n == line else one for n, one in enumerate(lines)))
    assert len(audited(log.path)[2]) == 1
    log.path.write_text("\n".join(one for n, one in enumerate(lines) if n != line or (line == 0 and n)) + "\n")
    assert len(audited(log.path)[2]) == (0 if line == 0 else 1), "the oldest lines go in time"


def test_the_command_checks_it(tmp_path: Path) -> None:
    log = log_of(tmp_path)
    outcome = omnifm("deploy", "audit", log.path)
    assert outcome.status == 0
    assert "4 entries, 0 problems" in outcome.text
    assert audited(log.path)[1] in outcome.text
    log.path.write_text(log.path.read_text().replace('"round": 1', '"round": 7'))
    outcome = omnifm("deploy", "audit", log.path)
    assert outcome.status == 1
    assert "line 3: the line before it is not the one that was there" in outcome.text
    assert "There is no entry in" in omnifm("deploy", "audit", tmp_path / "none.jsonl").text


AHEAD = json.dumps({"time": (datetime.now(UTC) + timedelta(days=30)).isoformat(), "trained": True, "run": "r"}).encode()
BAD = [b"null", b"[1]", b"\xff\xfe", b'{"time": "today"}', b'{"time": 5}', b"{" * 100_000, b'{"a', AHEAD]


@pytest.mark.parametrize("line", BAD, ids=range(len(BAD)))
def test_a_bad_line_is_reported_and_survived(tmp_path: Path, caplog: pytest.LogCaptureFixture, line: bytes) -> None:
    visit = Visit(tmp_path, rounds_a_day=1)
    visit.ask()
    path = visit.hospital.state_folder / "audit.jsonl"
    path.write_bytes(path.read_bytes() + line)  # as a crash leaves it: without the end of the line
    assert visit.train().outcome == "done"
    assert any("audit.jsonl" in record.getMessage() for record in caplog.records)
    assert visit.train(2).reason.endswith("policy.rounds_a_day = 1.")
    _, _, problems = audited(path)
    assert any("line 2" in problem for problem in problems)
    assert not any("the line before it is not" in problem for problem in problems), "the chain goes on behind it"


def test_naive_times_do_not_stop_it(tmp_path: Path) -> None:
    visit = Visit(tmp_path)
    path = visit.hospital.state_folder / "audit.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text('\n{"time": "2026-01-01T00:00:00", "trained": true}')
    assert visit.train().outcome == "done"


def test_what_cannot_be_written_down_does_not_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    visit = Visit(tmp_path)
    broadcast = visit.broadcast()

    def full(log: AuditLog, line: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(AuditLog, "_append", full)
    for reply in (visit.ask(broadcast=broadcast, train=True), visit.ask()):
        assert reply == Reply("CT", "failed", "The hospital's audit log cannot be written.")
    monkeypatch.undo()
    assert visit.ask(broadcast=broadcast, train=True).outcome == "done"


def test_a_full_file_is_put_aside_and_the_oldest_go(tmp_path: Path) -> None:
    log = log_of(tmp_path, entries=40, most_bytes=1000, files=3)
    names = [path.name for path in log.parts()]
    assert len(names) == 4
    assert names[-1] == "audit.jsonl"
    assert all(path.stat().st_size <= 1000 for path in log.parts())
    count, _, problems = audited(log.path)
    assert 10 < count < 40
    assert problems == []
    assert log.rounds_in_circle("r", "a", 40, 1) > 3


def test_of_a_long_log_only_the_end_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_of(tmp_path)
    entry = log.path.read_bytes().splitlines()[0] + b"\n"
    log.path.write_bytes(entry * 2000)
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"all of {path} was read"))
    monkeypatch.setattr(Path, "glob", lambda *given: pytest.fail("the folder was listed"))
    assert log.rounds_in_circle("r", "a", 1, 2) == 1
    log.write(run="r", arm="a", round=5, trained=True, circle=2)
    monkeypatch.undo()
    assert json.loads(log.path.read_bytes().splitlines()[-1])["previous"] == hashlib.sha256(entry[:-1]).hexdigest()


@pytest.mark.parametrize("end", [b"", b"\n", b"\n \n"])
def test_lines_are_read_from_the_end_wherever_a_block_begins(tmp_path: Path, end: bytes) -> None:
    path, chance = tmp_path / "log", random.Random(0)
    for longest in (3, 5000, 40_000):
        lines = [b"x" * chance.randrange(longest) for _ in range(20)]
        data = b"\n".join(lines) + end
        path.write_bytes(data)
        found = list(audit_log._newest_first(path))
        assert [line for _, line in found][::-1] == [line for line in lines if line]
        assert all(data[place : place + len(line)] == line for place, line in found)
        assert all(place == 0 or data[place - 1 : place] == b"\n" for place, _ in found)


def test_a_line_that_is_passed_over_is_named_by_its_number(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = log_of(tmp_path)
    lines = log.path.read_bytes().splitlines()
    log.path.write_bytes(b"\n".join([*lines[:3], b'{"run": "r"', *lines[3:]]) + b"\n")
    assert log.rounds_in_circle("r", "a", 9, 1) == 5
    assert "line 4 is not an entry" in caplog.text


def test_circles_are_counted(tmp_path: Path) -> None:
    log = log_of(tmp_path)
    assert log.rounds_in_circle("r", "a", 4, 1) == 5
    assert log.rounds_in_circle("r", "a", 4, 2) == 1
    assert log.rounds_in_circle("other", "a", 4, 1) == 1


def test_circles_are_counted_from_the_newest_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AuditLog(tmp_path / "audit.jsonl")
    for number in range(1, 30):
        log.write(run="r", arm="a", round=number, trained=True, circle=1, circle_rounds=number)
        log.write(run="other", arm="a", round=number, trained=True, circle=2, circle_rounds=number)
    read, entry = list[bytes](), audit_log._entry

    def noted(line: bytes) -> dict[str, Any] | None:
        read.append(line)
        return entry(line)

    monkeypatch.setattr(audit_log, "_entry", noted)
    assert log.rounds_in_circle("r", "a", 30, 1) == 30
    assert log.rounds_in_circle("r", "a", 30, 2) == 1
    assert log.rounds_in_circle("r", "a", 11, 1) == 11, "a resumed run goes on from an earlier round"
    assert len(read) < 30, "what a round costs does not grow with the log"
    assert log.rounds_in_circle("none", "a", 30, 1) == 1
    assert len(read) < 30
