"""Live progress of a run: rounds, clients, loss, time left. Silent where the output is no terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from omnifm.callbacks.callback import Callback
from omnifm.callbacks.circle_changes import CircleChanges
from omnifm.callbacks.events import ArmStart, EvaluationEvent, RoundEvent, RoundStart, RunEnd, RunInfo, UploadEvent


class LiveProgress(Progress, Callback):
    """One bar for each arm of a run, one after the other; above them, how circles of clients change."""

    def __init__(self, console: Console) -> None:
        super().__init__(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            TextColumn("[dim]{task.fields[note]}"),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=console,
            disable=not console.is_terminal,
        )
        self._bar = TaskID(0)
        self._clients = self._answered = 0
        self._score = ""
        self._circles = CircleChanges()

    def on_run_start(self, info: RunInfo) -> None:
        """Show that the data are being read."""
        self._bar = self.add_task("reading the data", total=None, note="")

    def on_arm_start(self, event: ArmStart) -> None:
        """Show the arm's bar."""
        self._data_are_read()
        self._circles.restart(event)
        self._bar, self._score = self.add_task(event.arm.name, total=event.arm.rounds, note=""), ""

    def on_run_end(self, event: RunEnd) -> None:
        """Leave nothing that says that work goes on, where every arm was finished before."""
        self._data_are_read()

    def _data_are_read(self) -> None:
        if self._bar in self.task_ids and self._tasks[self._bar].total is None:
            self.remove_task(self._bar)

    def on_round_start(self, event: RoundStart) -> None:
        """Show how many rounds are done."""
        self._clients, self._answered = len(event.clients), 0
        self.update(self._bar, completed=event.round - 1)

    def on_upload(self, event: UploadEvent) -> None:
        """Show how many clients have answered, and the last loss."""
        self._answered += 1
        loss, spent = event.upload.loss, event.upload.notes.get("epsilon")
        said = f"  loss {loss:.3f}" if loss is not None else "" if spent is None else f"  epsilon {spent:.2f}"
        note = f"{self._answered}/{self._clients} clients{said}{self._score}"
        self.update(self._bar, note=note)

    def on_round_end(self, event: RoundEvent) -> None:
        """Move the bar, and say whose circles have changed."""
        self.update(self._bar, completed=event.round)
        if (change := self._circles.after(event)) and not self.disable:
            self.console.print(Text(f"{event.arm.name}, round {event.round}: {change}."))

    def on_evaluate(self, event: EvaluationEvent) -> None:
        """Show the score from now on; at the test, complete the bar, also after an early stop."""
        if event.split == "test":
            self.update(self._bar, total=self._tasks[self._bar].completed)
        elif event.point == event.arm.points[0]:
            metric = next(iter(next(iter(event.scores.values())).numbers))
            self._score = f"  {metric} {event.mean(metric):.3f}"


class StageProgress(Progress):
    """One bar for each stage of a comparison, with the time left."""

    def __init__(self, console: Console) -> None:
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
            disable=not console.is_terminal,
        )

    def stage(self, name: str, total: int) -> None:
        """Begin a stage; the one before is done."""
        if self.tasks:
            self.update(self.tasks[-1].id, completed=self.tasks[-1].total)
        self.add_task(name, total=total)

    def advance_to(self, done: int) -> None:
        """Move the stage's bar."""
        self.update(self.tasks[-1].id, completed=done)
