"""The lock of a folder: one process at a time, and free as soon as that process has ended."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest
from small_run import wait_until

from omnifm.utils.errors import ExperimentError, FolderInUseError
from omnifm.utils.lock import exclusively, is_held, locked

pytestmark = pytest.mark.process

if sys.platform == "win32":
    pytest.skip("Windows has no such lock", allow_module_level=True)

FORK = multiprocessing.get_context("fork")


@contextmanager
def another(work: Callable[..., None], *arguments: object) -> Iterator[int]:
    """Do the work in another process while the block lasts."""
    process = FORK.Process(target=work, args=arguments)
    process.start()
    assert process.pid is not None
    try:
        yield process.pid
    finally:
        process.kill()
        process.join()


def hold(folder: Path) -> None:
    with locked(folder):
        time.sleep(60)


def hold_and_fork(folder: Path, noted: Path) -> None:
    with locked(folder):
        if not (child := os.fork()):
            time.sleep(60)
        noted.write_text(str(child))
        time.sleep(60)


def take_turns(folder: Path, diary: Path, times: int) -> None:
    """Take the lock so many times and note its beginning and end."""
    while times:
        try:
            with locked(folder), diary.open("a") as file:
                for word in ("begin", "end"):
                    file.write(f"{word} {os.getpid()}\n")
                    file.flush()
                times -= 1
        except FolderInUseError:
            pass


def is_noted(folder: Path) -> bool:
    try:
        return bool((folder / ".lock").read_bytes())
    except FileNotFoundError:
        return False


def test_another_process_is_refused_with_the_name_of_the_holder(tmp_path: Path) -> None:
    with another(hold, tmp_path) as pid:
        wait_until(lambda: is_noted(tmp_path))
        with pytest.raises(FolderInUseError) as told, locked(tmp_path):
            pass
        assert f"{tmp_path} is in use by process {pid} on {platform.node()}." in str(told.value)
        assert is_held(tmp_path), "the one that was refused must leave the lock alone"
    assert not is_held(tmp_path)
    with locked(tmp_path):
        assert json.loads((tmp_path / ".lock").read_bytes())["process"] == os.getpid()
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_one_who_only_asks_bars_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    tried, real = [], fcntl.lockf

    def asked_meanwhile(*arguments: int) -> None:
        tried.append(arguments)
        if len(tried) < 3:  # is_held of another process has it for as long
            raise OSError(errno.EAGAIN, "in use")
        real(*arguments)

    monkeypatch.setattr(fcntl, "lockf", asked_meanwhile)
    with locked(tmp_path):
        assert len(tried) == 3


def test_a_killed_holder_holds_nothing_though_its_children_live(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    with another(hold_and_fork, folder, tmp_path / "child") as pid:
        wait_until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text() != "")
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        child = int((tmp_path / "child").read_text())
        assert not is_held(folder)
        try:
            with locked(folder):
                os.kill(child, 0)
        finally:
            os.kill(child, signal.SIGKILL)


def test_the_folder_is_made_and_its_lock_stays_there(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path / "a/b"):
            assert is_noted(tmp_path / "a/b")
        assert not is_held(tmp_path / "a/b")
        assert [path.name for path in (tmp_path / "a/b").iterdir()] == [".lock"]


def test_a_folder_without_a_lock_is_not_held(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "none")


def test_an_error_frees_it(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        _ = 1 / 0
    with another(hold, tmp_path):
        wait_until(lambda: is_held(tmp_path))


def test_no_two_hold_it_however_fast_it_comes_and_goes(tmp_path: Path) -> None:
    folder, diary = tmp_path / "folder", tmp_path / "diary"
    workers = [FORK.Process(target=take_turns, args=(folder, diary, 100)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    lines = diary.read_text().splitlines()
    assert len(lines) == 4 * 100 * 2
    assert all(begin.split() == ["begin", end.split()[1]] for begin, end in zip(lines[::2], lines[1::2], strict=True))


def test_a_file_system_without_locks_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.lockf", none)
    with locked(tmp_path):
        pass
    assert "has no locks: see that no other run writes into it." in caplog.text


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    words = r"The folder .*file/run cannot be written: Not a directory\."
    with pytest.raises(ExperimentError, match=words) as caught, locked(tmp_path / "file/run"):
        pass
    assert not isinstance(caught.value, FolderInUseError)


def test_one_at_a_time_holds_others_off(tmp_path: Path) -> None:
    order, inside = list[str](), Event()

    def second() -> None:
        inside.wait(10)
        with exclusively(tmp_path / "new/lock"):
            order.append("second")

    thread = Thread(target=second)
    thread.start()
    with exclusively(tmp_path / "new/lock"):
        inside.set()
        time.sleep(0.05)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


@pytest.mark.parametrize("below", ["", "run", "a/run"])
def test_a_link_that_leads_nowhere_is_named(tmp_path: Path, below: str) -> None:
    (tmp_path / "runs").symlink_to(tmp_path / "nowhere")
    words = f"{tmp_path / 'runs'} is a link to {tmp_path / 'nowhere'}, which does not exist. Create that, or remove"
    with pytest.raises(ExperimentError) as told, locked(tmp_path / "runs" / below):
        pass
    assert str(told.value).startswith(words)


def test_a_link_to_itself_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").symlink_to("runs")
    with pytest.raises(ExperimentError, match="is a link to runs, which does not exist"), locked(tmp_path / "runs/x"):
        pass
