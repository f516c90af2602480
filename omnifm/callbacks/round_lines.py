"""Progress where no terminal is: in a log file, of Slurm or of a container, a line says how each round went."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from statistics import median

from rich.console import Console
from rich.text import Text

from omnifm.callbacks.callback import Callback
from omnifm.callbacks.circle_changes import CircleChanges
from omnifm.callbacks.events import ArmStart, CheckpointEvent, EvaluationEvent, RoundEvent
from omnifm.callbacks.scalars import mean_loss
from omnifm.utils.words import duration

_RECENT = 10


class RoundLines(Callback):
    """Writes a line a round: loss, mean score, seconds and the time left of the arm; and when circles change."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self.console, self.clock = console, clock
        self._circles = CircleChanges()
        self._times: deque[float] = deque(maxlen=_RECENT + 1)
        self._parts: list[str] = []

    def on_arm_start(self, event: ArmStart) -> None:
        """Say that an arm starts, and from which round."""
        self._circles.restart(event)
        self._times.clear()
        self._times.append(self.clock())
        self._parts = []
        if done := event.checkpoint.server.round:
            self._say(f"{event.arm.name}: continues after round {done} of {event.arm.rounds}")

    def on_round_end(self, event: RoundEvent) -> None:
        """Keep what the line will say."""
        self._parts = [] if event.clients else ["no client has answered"]
        if (loss := mean_loss(event)) is not None:
            self._parts.append(f"loss {loss:.3f}")
        if event.rejected:
            self._parts.append(f"{len(event.rejected)} uploads do not count")
        if change := self._circles.after(event):
            self._say(f"{event.arm.name}, round {event.round}: {change}")

    def on_evaluate(self, event: EvaluationEvent) -> None:
        """Keep the score; that of the test is a line of its own."""
        if event.point != event.arm.points[0]:
            return
        score = f"{event.arm.metric} {event.mean(event.arm.metric):.3f}"
        if event.split == "test":
            self._say(f"{event.arm.name}: test {score}, of the best round on validation data")
        else:
            self._parts.append(score)

    def on_checkpoint(self, event: CheckpointEvent) -> None:
        """Write the line: the round is done and kept."""
        self._times.append(self.clock())
        spans = [after - before for before, after in pairwise(self._times)]
        done, rounds = event.checkpoint.server.round, event.arm.rounds
        left = f", {duration(median(spans) * (rounds - done))} left" if done < rounds else ""
        said = ", ".join([*self._parts, f"{spans[-1]:.1f} s"])
        self._say(f"{event.arm.name} {done}/{rounds}: {said}{left}")

    def _say(self, text: str) -> None:
        now = datetime.now().strftime("%H:%M:%S")
        self.console.print(Text(f"{now} {text}"), soft_wrap=True)


class StageLines:
    """The stages of a comparison, at most a line every ``pause`` seconds."""

    def __init__(self, console: Console, pause: float = 30.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.console, self.pause, self.clock = console, pause, clock
        self._name, self._total, self._done = "", 0, 0
        self._began = self._said = clock()

    def __enter__(self) -> StageLines:
        return self

    def __exit__(self, *error: object) -> None:
        """Do nothing: every line has been written."""

    def stage(self, name: str, total: int) -> None:
        """Begin a stage."""
        self._name, self._total, self._done = name, total, 0
        self._began = self._said = self.clock()
        if total:
            self._say("")

    def advance_to(self, done: int) -> None:
        """Say how far the stage is, unless that was said a moment ago."""
        now = self.clock()
        if done <= self._done or (done < self._total and now - self._said < self.pause):
            return
        self._done, self._said = done, now
        left = (now - self._began) / done * (self._total - done)
        self._say(f", {duration(left)} left" if done < self._total else f", after {duration(now - self._began)}")

    def _say(self, rest: str) -> None:
        now = datetime.now().strftime("%H:%M:%S")
        self.console.print(Text(f"{now} {self._name} {self._done}/{self._total}{rest}"), soft_wrap=True)
