from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_run import living, wait_until

from omnifm.utils.errors import DataError, OmniFMError
from omnifm.workers import memory, process
from omnifm.workers.pool import WorkerPool, auto_workers

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(sys.platform != "linux", reason="workers need fork"),
]


def ran(pool: WorkerPool[str, str], *names: str) -> list[str]:
    return list(pool.run(names, lambda name: name))


def once(folder: Path) -> Callable[[str], bool]:
    """Return a function that is true the first time that it is asked for a name, in whatever process."""

    def first(name: str) -> bool:
        try:
            (folder / name).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    return first


def test_results_come_in_the_order_asked() -> None:
    naps = {"a": 0.2, "b": 0.0, "c": 0.1, "d": 0.0, "e": 0.0}
    with WorkerPool[str, str](3, lambda name: (time.sleep(naps[name]), name.upper())[1], queue=2) as pool:
        for _ in range(2):
            assert ran(pool, *naps) == ["A", "B", "C", "D", "E"]
        assert ran(pool) == []


def test_workers_are_kept_and_work_side_by_side() -> None:
    with WorkerPool[str, int](2, lambda name: (time.sleep(0.05), os.getpid())[1]) as pool:
        first = set(pool.run("abcd", str))
        assert len(first) == 2
        assert os.getpid() not in first
        assert set(pool.run("abcd", str)) == first
    wait_until(lambda: not any(map(living, first)), seconds=5)


def test_each_computes_on_one_thread() -> None:
    with WorkerPool[str, int](2, lambda name: torch.get_num_threads()) as pool:
        assert list(pool.run("ab", str)) == [1, 1]


def test_no_more_is_in_hand_than_asked_for(tmp_path: Path) -> None:
    begun: list[str] = []

    def request(name: str) -> str:
        begun.append(name)
        return name

    with WorkerPool[str, str](2, str.upper, queue=2, ahead=3) as pool:
        results = pool.run("abcdefgh", request)
        next(results)
        time.sleep(0.1)
        assert next(results) == "B"
        assert len(begun) <= 1 + 3
        assert list(results) == list("CDEFGH")
    assert begun == list("abcdefgh")


def test_a_killed_worker_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = once(tmp_path)

    def work(name: str) -> str:
        if name in "bd" and first(name):
            os.kill(os.getpid(), signal.SIGKILL)
        return name.upper()

    with WorkerPool[str, str](2, work, queue=2) as pool:
        assert ran(pool, *"abcdef") == list("ABCDEF")
        assert ran(pool, *"abcdef") == list("ABCDEF")
    assert "The worker process at 'b' died (SIGKILL): another one does it again." in caplog.text
    assert "'d'" in caplog.text


def test_workers_killed_while_idle_are_replaced(caplog: pytest.LogCaptureFixture) -> None:
    with WorkerPool[str, int](2, lambda name: (time.sleep(0.05), os.getpid())[1]) as pool:
        before = set(pool.run("abcd", str))
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(map(living, before)), seconds=5)
        after = list(pool.run("abcd", str))
        assert len(after) == 4
        assert not before & set(after)
    assert "died" not in caplog.text, "no request was lost"


def test_a_worker_that_exits_is_distinguished(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = once(tmp_path)
    with WorkerPool[str, str](1, lambda name: os._exit(7) if first(name) else name) as pool:
        assert ran(pool, "a") == ["a"]
    assert "The worker process at 'a' died (exit status 7)" in caplog.text


def test_a_request_that_kills_every_worker_ends_it_in_its_turn() -> None:
    def work(name: str) -> str:
        if name == "b":
            os.kill(os.getpid(), signal.SIGUSR1)
        return name

    with WorkerPool[str, str](2, work, queue=2) as pool:
        results = pool.run("abc", str)
        assert next(results) == "a"
        with pytest.raises(OmniFMError, match=r"3 worker processes died, one after another, at 'b' \(last: SIGUSR1\)"):
            next(results)
        assert ran(pool, *"ac") == ["a", "c"]


def test_an_error_is_raised_in_its_turn_and_the_pool_continues() -> None:
    def work(name: str) -> str:
        if name in "bc":
            time.sleep(0.2 if name == "b" else 0)  # c fails first
            raise DataError(f"no {name}")
        return name

    with WorkerPool[str, str](2, work) as pool:
        results = pool.run("abcd", str)
        assert next(results) == "a"
        with pytest.raises(DataError, match="no b") as caught:
            next(results)
        assert "In a worker process:" in caught.value.__notes__[0]
        assert ran(pool, *"ad") == ["a", "d"]


def test_what_cannot_be_sent_is_reported() -> None:
    with WorkerPool[str, object](1, lambda name: lambda: name) as pool, pytest.raises(RuntimeError, match="lambda"):
        list(pool.run("a", str))


def test_what_nobody_waits_for_is_not_waited_for() -> None:
    with WorkerPool[str, str](2, lambda name: (time.sleep(60 if name == "b" else 0), name)[1]) as pool:
        results = pool.run("abc", str)
        assert next(results) == "a"
        started = time.monotonic()
        results.close()  # type: ignore[attr-defined]
        assert ran(pool, *"cd") == ["c", "d"]
        assert time.monotonic() - started < 30


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("no memory"), OSError(12, "no memory")])
def test_too_little_memory_makes_the_pool_smaller(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    first = once(tmp_path)

    def work(name: str) -> int:
        if name == "b" and first(name):
            raise error
        time.sleep(0.02)
        return os.getpid()

    with WorkerPool[str, int](3, work, queue=2) as pool:
        assert len(list(pool.run("abcdef", str))) == 6
        assert len(set(pool.run("abcdef", str))) == 2
    assert "A worker process ran out of memory: continuing with 2." in caplog.text


def test_a_kill_by_the_system_for_lack_of_memory_makes_the_pool_smaller(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = once(tmp_path)
    monkeypatch.setattr(memory, "kills", lambda: len(list(tmp_path.iterdir())))

    def work(name: str) -> str:
        if name == "a" and first(name):
            os.kill(os.getpid(), signal.SIGKILL)
        return name

    with WorkerPool[str, str](2, work) as pool:
        assert ran(pool, *"abc") == ["a", "b", "c"]
    assert "continuing with 1" in caplog.text
    assert "died" not in caplog.text


def test_too_little_memory_for_one_worker() -> None:
    def work(name: str) -> str:
        raise MemoryError

    with WorkerPool[str, str](2, work) as pool, pytest.raises(OmniFMError, match=r"for even one worker.*batch_size"):
        ran(pool, *"ab")


def test_a_pool_that_cannot_grow_continues_with_fewer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, forked = os.fork, list[int]()

    def fork() -> int:
        if len(forked) == 1:
            raise OSError(11, "Resource temporarily unavailable")
        forked.append(True)
        return real()

    monkeypatch.setattr(os, "fork", fork)
    with WorkerPool[str, str](3, str.upper) as pool:
        assert ran(pool, *"abc") == ["A", "B", "C"]
    assert "No further worker process can be started (Resource temporarily unavailable)" in caplog.text
    with (
        WorkerPool[str, str](3, str.upper) as pool,
        pytest.raises(OmniFMError, match="No worker process can be started"),
    ):
        ran(pool, "a")


def test_auto_workers_fit_the_machine() -> None:
    assert 1 <= auto_workers() <= (os.cpu_count() or 1)


def test_a_system_without_fork_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: str) -> None:
        raise ValueError("cannot find context for 'fork'")

    monkeypatch.setattr(process, "get_context", unknown)
    with WorkerPool[str, str](2, str.upper) as pool, pytest.raises(OmniFMError, match=r"cannot fork.*--workers 1"):
        ran(pool, "a")
