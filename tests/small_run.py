"""A run so small that a test can afford several: hospitals of a few images, run by the command itself."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import multiprocessing
import os
import re
import runpy
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from described_charts import described
from PIL import Image

from omnifm import cli
from omnifm.results import charts
from omnifm.utils.signals import SIGNALS

ROUNDS = 6
_TOLD = r"\d\d:\d\d:\d\d "
HOSPITALS = {"a": "CT", "b": "MRI", "c": "PET"}


@dataclass(frozen=True)
class Outcome:
    """How the command ended, and all that it printed."""

    status: int
    text: str

    @property
    def rounds(self) -> list[str]:
        """The lines that tell how a round went, since no terminal is there, without their time of day."""
        return [line[9:] for line in self.text.splitlines() if re.match(_TOLD, line)]

    @property
    def said(self) -> str:
        """What was printed besides."""
        return "".join(line for line in self.text.splitlines(keepends=True) if not re.match(_TOLD, line))


def write_images(root: Path, folders: dict[str, str] | None = None, count: int = 10) -> list[dict[str, Any]]:
    """Write ``count`` images of each of two classes into each folder and return the sources that read them."""
    folders = HOSPITALS if folders is None else folders
    for number, folder in enumerate(folders):
        noise = np.random.default_rng(number)
        for label in ("left", "right"):
            place = root / folder / label
            place.mkdir(parents=True)
            for index in range(count):
                pixels = noise.integers(0, 100, (16, 16)).astype(np.uint8)
                pixels[:, slice(0, 8) if label == "left" else slice(8, 16)] += 100
                Image.fromarray(pixels).save(place / f"{index}.png")
    return [{"kind": "image_folder", "folder": folder, "modality": name} for folder, name in folders.items()]


def document(root: Path, sources: list[dict[str, Any]], *arms: str) -> dict[str, Any]:
    return {
        "name": "tiny",
        "data": {"root": str(root), "size": 16, "sources": sources},
        "classification": {"width": 8},
        "training": {"batch_size": 4},
        "federation": {"rounds": ROUNDS, "evaluate_every": 2},
        "adapter": {"grid": 7, "token_dim": 8},
        "bank": {"prototypes": 3, "min_cluster": 4},
        "arms": {arm: {"algorithm": arm} for arm in arms or ("fedavg", "omnifm")},
    }


def write_experiment(folder: Path, *arms: str, folders: dict[str, str] | None = None, **changes: Any) -> Path:
    """Write images and an experiment file; ``changes`` replace whole tables of it."""
    path = folder / "tiny.toml"
    sources = write_images(folder / "data", folders)
    path.write_text(tomli_w.dumps({**document(folder / "data", sources, *arms), **changes}), encoding="utf-8")
    return path


def omnifm(*arguments: object) -> Outcome:
    """Run the command in this process."""
    text, log = io.StringIO(), logging.getLogger()
    handlers, log.handlers = log.handlers, []
    signals = {number: signal.getsignal(number) for number in SIGNALS}
    status = 0
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        patch.setattr(sys, "argv", ["omnifm", *map(str, arguments)])
        try:
            cli.main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        finally:
            log.handlers = handlers
            for number, handler in signals.items():
                signal.signal(number, handler)
    return Outcome(status, text.getvalue())


class Process:
    """The command in a process of its own, forked off one that has imported everything; ``prepare`` is done first.

    Or a ``program`` in its place: a file of Python.
    """

    def __init__(
        self, log: Path, *arguments: object, prepare: Callable[[], None] | None = None, program: Path | None = None
    ) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["omnifm.cli", "omnifm.runs.run", "torch._dynamo"])
        self.log = log
        self.process = context.Process(target=_command, args=(log, [str(a) for a in arguments], prepare, program))
        self.process.start()

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.is_alive()

    def wait(self, seconds: float | None = 60) -> Outcome:
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.process.kill()
            raise AssertionError(f"still running after a minute: {self.log.read_text()}")
        return Outcome(self.process.exitcode, self.log.read_text(encoding="utf-8"))

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


def _command(log: Path, arguments: list[str], prepare: Callable[[], None] | None, program: Path | None) -> None:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor in (1, 2):
        os.dup2(file, descriptor)
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = [str(program or "omnifm"), *arguments]
    charts.svg = described
    if prepare is not None:
        prepare()
    if program is None:
        cli.main()
    else:
        sys.path.insert(0, str(program.parent))
        runpy.run_path(str(program), run_name="__main__")


def played(program: Path, folder: Path, *arguments: object) -> Outcome:
    """Run a file of Python in a process of its own; what it prints goes through a file in ``folder``."""
    with ended(Process(folder / f"{program.stem}.log", *arguments, program=program)) as process:
        return process.wait(None)


def wait_until(condition: Callable[[], bool], process: Process | None = None, seconds: float = 60) -> None:
    """Poll; fail when time is over, or the process has ended before."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end or not (process is None or process.alive):
            raise AssertionError("it did not happen" if process is None else process.log.read_text())
        time.sleep(0.002)


def reached(arm: Path, round_number: int) -> Callable[[], bool]:
    """Tell whether an arm has kept the checkpoint of a round."""
    return lambda: (arm / f"checkpoints/round-{round_number:06d}.safetensors").exists()


def family(pid: int) -> list[int]:
    """Return the living children of a process, zombies left out."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(stat.parent.name))
    return found


def halted(pid: int) -> list[int]:
    """Halt a process, so that it cannot come to its end before it is signalled, and return its children."""
    os.kill(pid, signal.SIGSTOP)
    return family(pid)


def living(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def result(arm: Path) -> dict[str, Any]:
    return dict(json.loads((arm / "result.json").read_text(encoding="utf-8")))


def hashes(run: Path) -> dict[str, str]:
    """Return the hash of the final weights of every finished arm."""
    return {path.parent.name: result(path.parent)["weights_sha256"] for path in sorted(run.glob("*/result.json"))}


def log_lines(arm: Path) -> list[tuple[Any, ...]]:
    """Return what each line of the metrics log is of."""
    lines = [json.loads(line) for line in (arm / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [(line["event"], line["round"], line.get("split"), line.get("point")) for line in lines]


@contextlib.contextmanager
def ended(process: Process) -> Iterator[Process]:
    """Kill the process when the block is left, whatever happens in it."""
    try:
        yield process
    finally:
        if process.alive:
            process.kill()
