"""Runs that meet a fault at a random point: what each kind does, and what must hold once the run is at its end.

``tests/test_faults.py`` lets each kind happen once, ``benchmarks/faults.py`` as often as one likes.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from small_run import Outcome, Process, family, hashes, living, log_lines, result, wait_until, write_experiment

from omnifm.checkpoint.file import read_plain
from omnifm.federation.client import ClientRuntime
from omnifm.utils.lock import is_held

ARMS = ("fedavg", "omnifm", "scaffold")
ROUNDS = 4
ASKED = 60
"""Clients are trained and judged at least so many times in the run, at 2 of 3 a round."""
SHARED = Path("/dev/shm")
FEDERATION = {"rounds": ROUNDS, "evaluate_every": 2, "participation": 0.7}


@dataclass(frozen=True)
class Reference:
    """An experiment, and the folder of the run of it that nothing disturbed; ``seconds`` is how long that took."""

    experiment: Path
    whole: Path
    seconds: float


@dataclass
class Trial:
    """One run that meets a fault. ``statuses`` are those of the disturbed run and of each that went on with it."""

    reference: Reference
    folder: Path
    dice: random.Random
    workers: int = 2
    statuses: list[int] = field(default_factory=list)
    sessions: list[int] = field(default_factory=list)
    text: str = ""

    @property
    def out(self) -> Path:
        """The run's folder; in a folder of its own, which may be a small disk."""
        return self.folder / "disk" / "run"

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"

    def start(self, *arguments: object, disturb: Callable[[], None] | None = None) -> Process:
        """Start the run, or go on with it, in a session of its own."""
        begun = (
            ["--resume", self.out]
            if (self.out / "experiment.toml").exists()
            else [self.reference.experiment, "--out", self.out]
        )
        more = ["--workers", self.workers, *arguments]
        log = self.folder / f"log{len(list(self.folder.glob('log*')))}"
        process = Process(log, "run", *begun, *more, prepare=Prepared(self.temporary, disturb))
        self.sessions.append(process.pid)
        return process

    def some_time(self) -> float:
        """Return a random moment of the run, in seconds from the first trace of it."""
        return self.dice.uniform(0, 0.9 * self.reference.seconds)


@dataclass(frozen=True)
class Prepared:
    """What a process does before the command: its temporary files go here."""

    temporary: Path
    disturb: Callable[[], None] | None

    def __call__(self) -> None:
        tempfile.tempdir = os.environ["TMPDIR"] = str(self.temporary)
        if self.disturb is not None:
            self.disturb()


Fault = Callable[[Trial], Outcome]
"""Plays a run from its start and disturbs it; returns how it ended."""


def _disturbed(trial: Trial, fault: Callable[[Process], None]) -> Outcome:
    """Let a fault happen some time after the run has begun; it may come too late, when all is done."""
    process = trial.start()
    wait_until((trial.out / "experiment.toml").exists, process)
    _pause(process, trial.some_time())
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        fault(process)
    return process.wait()


def _pause(process: Process, seconds: float) -> None:
    end = time.monotonic() + seconds
    while process.alive and time.monotonic() < end:
        time.sleep(0.002)


def _signalled(number: int) -> Fault:
    return lambda trial: _disturbed(trial, lambda process: os.kill(process.pid, number))


def _worker(trial: Trial, process: Process) -> int:
    """Return a random worker; between two arms there is none for a moment."""
    wait_until(lambda: bool(family(process.pid)) or not process.alive)
    workers = family(process.pid)
    if not workers:
        raise ProcessLookupError
    return trial.dice.choice(workers)


def _worker_killed(trial: Trial) -> Outcome:
    return _disturbed(trial, lambda process: os.kill(_worker(trial, process), signal.SIGKILL))


def _worker_out_of_memory(trial: Trial) -> Outcome:
    asked = trial.dice.randrange(ASKED)
    outcome = trial.start(disturb=Starving(trial.folder / "asked", asked, trial.dice.random() < 0.5)).wait()
    assert f"A worker process ran out of memory: continuing with {trial.workers - 1}." in outcome.text, outcome.text
    return outcome


@dataclass(frozen=True)
class Starving:
    """Gives a worker no more memory, and lets it ask for some, when clients have been served so many times."""

    count: Path
    times: int
    of_torch: bool

    def __call__(self) -> None:
        main = os.getpid()

        def starving(work: Callable[..., Any]) -> Callable[..., Any]:
            def served(*arguments: Any) -> Any:
                if os.getpid() != main and self._counted() == self.times:
                    self._starve()
                return work(*arguments)

            return served

        ClientRuntime.update = starving(ClientRuntime.update)  # type: ignore[method-assign]
        ClientRuntime.evaluate = starving(ClientRuntime.evaluate)  # type: ignore[method-assign]

    def _counted(self) -> int:
        with self.count.open("a") as file:
            file.write(".")
            file.flush()
            return os.lseek(file.fileno(), 0, os.SEEK_CUR) - 1  # where its own dot is, whoever else writes

    def _starve(self) -> None:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize(), resource.RLIM_INFINITY))
        _ = torch.empty(1 << 30) if self.of_torch else bytearray(1 << 30)


def _file_too_large(trial: Trial) -> Outcome:
    def bound(process: Process) -> None:
        room = trial.dice.randrange(5_000, 200_000)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))

    return _disturbed(trial, bound)


def _disk_full(trial: Trial) -> Outcome:
    """Play on a disk that is too small, which then grows; as root only."""
    disk = trial.out.parent
    disk.mkdir(parents=True)
    room = trial.dice.randrange(200, 1200)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room}k", "tmpfs", disk], check=True)
    process = trial.start()
    outcome = process.wait()
    subprocess.run(["mount", "-o", "remount,size=256m", disk], check=True)
    return outcome


def _main_killed(trial: Trial) -> Outcome:
    return _disturbed(trial, lambda process: os.kill(process.pid, signal.SIGKILL))


def _checkpoint_damaged(trial: Trial) -> Outcome:
    """Kill the run, and spoil a file that only its newest checkpoint needs, as a power cut may."""
    outcome = _main_killed(trial)
    for folder in trial.out.glob("*/checkpoints"):
        rounds = sorted(folder.glob("round-*.safetensors"))
        if len(rounds) > 1 and not (folder.parent / "result.json").exists():
            older, newest = (read_plain(path)["clients"] for path in rounds[-2:])
            states = set(newest.items()) - set(older.items())
            paths = [folder / "clients" / client / f"{digest}.safetensors" for client, digest in states]
            _spoil(trial.dice.choice(sorted([rounds[-1], *paths])), trial.dice)
    return outcome


def _spoil(path: Path, dice: random.Random) -> None:
    data = bytearray(path.read_bytes())
    place = dice.randrange(len(data))
    data[place] ^= 1
    path.write_bytes(data if dice.random() < 0.5 else data[:place])


def _second_run(trial: Trial) -> Outcome:
    """Start a second run in the same folder: it is refused, and the first takes no notice."""
    refused: list[Outcome] = []

    def start(process: Process) -> None:
        os.kill(process.pid, signal.SIGSTOP)  # that it cannot end before the second has begun
        try:
            if is_held(trial.out):
                refused.append(trial.start().wait())
        finally:
            os.kill(process.pid, signal.SIGCONT)

    outcome = _disturbed(trial, start)
    for second in refused:
        assert second.status == 1, second.text
        assert f"{trial.out} is in use by process " in second.text
    return outcome


def _clock_jumps(trial: Trial) -> Outcome:
    return trial.start(disturb=Jumping(trial.dice.random())).wait()


@dataclass(frozen=True)
class Jumping:
    """Lets the clock jump, by up to ten years to and fro, each time that it is read."""

    seed: float

    def __call__(self) -> None:
        dice, real = random.Random(self.seed), time.time
        time.time = lambda: real() + dice.uniform(-3e8, 3e8)


def _time_is_up(trial: Trial) -> Outcome:
    return trial.start("--time-limit", f"{trial.some_time() + 0.001:.3f}s").wait()


FAULTS: dict[str, Fault] = {
    "worker killed": _worker_killed,
    "worker out of memory": _worker_out_of_memory,
    "main process killed": _main_killed,
    "newest checkpoint damaged": _checkpoint_damaged,
    "file cannot grow": _file_too_large,
    "disk full": _disk_full,
    "SIGTERM": _signalled(signal.SIGTERM),
    "SIGINT": _signalled(signal.SIGINT),
    "SIGHUP": _signalled(signal.SIGHUP),
    "second run in the folder": _second_run,
    "clock jumps": _clock_jumps,
    "time limit": _time_is_up,
}

STATUSES = {
    "worker killed": {0},
    "worker out of memory": {0},
    "main process killed": {0, -signal.SIGKILL},
    "newest checkpoint damaged": {0, -signal.SIGKILL},
    "file cannot grow": {0, 1},
    "disk full": {0, 1},
    "SIGTERM": {0, 143},
    "SIGINT": {0, 130},
    "SIGHUP": {0, 129},
    "second run in the folder": {0},
    "clock jumps": {0},
    "time limit": {0, 75},
}
"""How the disturbed run may end: 0 is as if nothing had happened, or the fault came too late."""


def can_mount() -> bool:
    """Tell whether this process may mount a small disk."""
    with tempfile.TemporaryDirectory() as place:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], capture_output=True, check=False)
        if mounted.returncode == 0:
            subprocess.run(["umount", place], check=True)
    return mounted.returncode == 0


def make_reference(folder: Path) -> Reference:
    """Play the run that nothing disturbs."""
    experiment = write_experiment(folder, *ARMS, federation=FEDERATION)
    process = Process(folder / "log", "run", experiment, "--out", folder / "whole", "--workers", 2)
    wait_until((folder / "whole/experiment.toml").exists, process)
    started = time.monotonic()
    outcome = process.wait()
    assert outcome.status == 0, outcome.text
    return Reference(experiment, folder / "whole", time.monotonic() - started)


def try_fault(kind: str, reference: Reference, folder: Path, seed: str) -> Trial:
    """Let a fault of this kind happen, bring the run to its end, and check that nothing of it is to be seen.

    Raises:
        AssertionError: something is; says what.
    """
    trial = Trial(reference, folder, random.Random(seed))
    trial.temporary.mkdir(parents=True)
    shared = set(SHARED.iterdir())
    try:
        with _nothing_left(trial, shared):
            outcome = FAULTS[kind](trial)
        _note(trial, outcome)
        assert outcome.status in STATUSES[kind], f"status {outcome.status}: {outcome.text}"
        while trial.statuses[-1]:
            assert len(trial.statuses) < 4, trial.text
            with _nothing_left(trial, shared):
                outcome = trial.start().wait()
            _note(trial, outcome)
        _check(trial)
    finally:
        if trial.out.parent.is_mount():
            subprocess.run(["umount", trial.out.parent], check=True)
    shutil.rmtree(folder)
    return trial


def _note(trial: Trial, outcome: Outcome) -> None:
    assert "Traceback" not in outcome.text, outcome.text
    trial.statuses.append(outcome.status)
    trial.text += outcome.text


@contextlib.contextmanager
def _nothing_left(trial: Trial, before: set[Path]) -> Iterator[None]:
    """Check that the processes of a run have gone, and their shared memory with them."""
    yield
    wait_until(lambda: not _session(trial), seconds=10)
    wait_until(lambda: not _orphans(set(SHARED.iterdir()) - before), seconds=10)


def _check(trial: Trial) -> None:
    whole, out = trial.reference.whole, trial.out
    assert hashes(out) == hashes(whole), "other weights"
    for arm in ARMS:
        assert log_lines(out / arm) == log_lines(whole / arm), f"another log of {arm}"
        assert result(out / arm) == result(whole / arm), f"another result of {arm}"
    # The names of what is known of the data follow from a key that each run draws for itself.
    files = [
        {re.sub("-[0-9a-f]{32}", "", str(path.relative_to(run))) for path in run.rglob("*")} for run in (out, whole)
    ]
    assert files[0] == files[1], f"too many: {sorted(files[0] - files[1])}; missing: {sorted(files[1] - files[0])}"
    left = list(trial.temporary.iterdir())
    assert not left, f"temporary files are left: {left}"


def _session(trial: Trial) -> list[int]:
    """Return the processes of a trial that still live, whoever is their parent by now."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.getsid(int(path.name)) in trial.sessions and living(int(path.name)):
                found.append(int(path.name))
    return found


def _orphans(files: set[Path]) -> set[Path]:
    """Return those of these files that no living process uses."""
    if not files:
        return set()
    used = ""
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            used += (path / "maps").read_text() + " ".join(str(fd.readlink()) for fd in (path / "fd").iterdir())
    return {path for path in files if str(path) not in used}
