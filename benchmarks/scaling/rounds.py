"""Run some rounds of a federation as ``omnifm run`` does; print the cost of a round as one line of JSON."""

from __future__ import annotations

import argparse
import contextlib
import json
import mmap
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hospitals import add_arguments, dataset_of, experiment_of
from process_tree import processor_seconds

from omnifm.callbacks.callback import Callback, Stop
from omnifm.callbacks.circle_changes import circles_of
from omnifm.callbacks.events import RoundEvent, RoundStart
from omnifm.comparison.arms import ABLATION, KNOWN
from omnifm.runs.arm_folder import ArmFolder
from omnifm.runs.backend import LocalBackend
from omnifm.runs.run_arm import run_arm
from omnifm.training.trainer import Fit, Trainer
from omnifm.utils.errors import OutOfTime

WARM_UP = 1  # rounds in which caches fill


class Span(NamedTuple):
    """When a process trained a client, and the processor time it used."""

    process: float
    start: float
    end: float
    cpu: float


class Stopwatch:
    """Makes every ``Trainer.fit`` in this process and its children record its span, in shared memory."""

    def __init__(self, clients: Sequence[str]) -> None:
        self._row = {name: row for row, name in enumerate(clients)}
        shared = mmap.mmap(-1, 8 * len(Span._fields) * len(clients))
        self._spans = spans = np.frombuffer(shared, dtype=np.float64).reshape(len(clients), -1)
        row, plain = self._row, Trainer.fit

        def fit(self: Trainer, *arguments: Any, **named: Any) -> Fit:
            start, cpu = time.perf_counter(), time.thread_time()  # the first clock is the same for all processes
            done = plain(self, *arguments, **named)
            spans[row[self.client.name]] = os.getpid(), start, time.perf_counter(), time.thread_time() - cpu
            return done

        Trainer.fit = fit  # type: ignore[method-assign]

    def spans(self, clients: Sequence[str]) -> list[Span]:
        """Return the last span of each of the clients."""
        return [Span(*self._spans[self._row[name]]) for name in clients]


class Clock(Callback):
    """Measures each round from its start to that of the next, when its log and checkpoint are written."""

    def __init__(self, stopwatch: Stopwatch, rounds: int) -> None:
        self.stopwatch, self.rounds = stopwatch, rounds
        self.lines: list[dict[str, float]] = []
        self._last: tuple[float, float, float, Sequence[str]] | None = None
        self._event: RoundEvent | None = None

    def on_round_start(self, event: RoundStart) -> Stop | None:
        """End the previous round; stop after the requested number."""
        now = time.perf_counter(), processor_seconds(os.getpid()), time.process_time()
        if self._last is not None:
            assert self._event is not None
            *before, trained = self._last
            wall, cpu, server = (after - earlier for after, earlier in zip(now, before, strict=True))
            line = _line(self.stopwatch.spans(trained), wall, cpu, server)
            circles = len(circles_of(self._event.report) or ())
            self.lines.append({**line, "down": self._event.bytes_down, "up": self._event.bytes_up, "circles": circles})
        if event.round > self.rounds:
            return Stop("Enough rounds were run", pause=True)
        self._last = (*now, event.clients)
        return None

    def on_round_end(self, event: RoundEvent) -> None:
        """Keep the bytes of the round."""
        self._event = event


def _line(spans: Sequence[Span], wall: float, cpu: float, server: float) -> dict[str, float]:
    """Return the figures of a round. A worker is idle from its last client's end to the end of the round."""
    workers = len({span.process for span in spans})
    over = max(span.end for span in spans)
    last = {span.process: span.end for span in sorted(spans, key=lambda span: span.end)}
    train = sum(span.end - span.start for span in spans) / workers
    idle = sum(over - end for end in last.values()) / workers
    each = 1000 / len(spans)
    return {
        "sampled": len(spans),
        "round": wall,
        "train": train,
        "rest": each * (wall - train - idle),
        "cpu": each * (cpu - sum(span.cpu for span in spans)),
        "server": each * server,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clients", type=int)
    parser.add_argument("sampled", type=int)
    parser.add_argument("algorithm")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    add_arguments(parser)
    given = parser.parse_args()
    rounds = WARM_UP + given.rounds
    # The last round's evaluation of all clients is never reached.
    federation = {"rounds": rounds + 1, "evaluate_every": rounds + 1, "participation": given.sampled / given.clients}
    arm_of = {**KNOWN, **{arm.name: arm for arm in ABLATION}}
    experiment = experiment_of(given.clients, given, **{**arm_of[given.algorithm].changes, "federation": federation})
    before = time.perf_counter()
    dataset = dataset_of(experiment)
    load = time.perf_counter() - before
    clock = Clock(Stopwatch([client.name for client in dataset.clients]), rounds)
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(OutOfTime):
        arm = ArmFolder(Path(folder) / "arm")
        run_arm("scale", experiment, LocalBackend(given.workers, dataset), arm, callbacks=[clock], test=False)
    lines = clock.lines[WARM_UP:]
    print(json.dumps({"load": load, **{key: statistics.median(line[key] for line in lines) for key in lines[0]}}))


if __name__ == "__main__":
    main()
