"""What a person sees while a run goes on: rounds, clients, loss, time left. Quiet where nobody looks."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from omnifm.config.experiment import FederationSettings
from omnifm.core.records import Upload
from omnifm.federation.loop import Callback, EvaluationEvent, RoundEvent
from omnifm.runs.arm import Arm


class LiveProgress(Progress):
    """One bar for each arm."""

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

    def watch(self, name: str, arm: Arm) -> list[Callback]:
        """Return the callback that moves an arm's bar."""
        return [_Bar(self, name, arm.experiment.federation)]


class _Bar(Callback):
    def __init__(self, live: LiveProgress, name: str, settings: FederationSettings) -> None:
        self.live, self.bar = live, live.add_task(name, total=settings.rounds, note="")
        self.point = settings.evaluate[0]
        self.clients: Sequence[str] = ()
        self.answered = 0
        self.score = ""

    def round_started(self, number: int, clients: Sequence[str]) -> None:
        self.clients, self.answered = clients, 0
        self.live.update(self.bar, completed=number - 1)

    def client_done(self, upload: Upload) -> None:
        self.answered += 1
        note = f"{self.answered}/{len(self.clients)} clients  loss {upload.loss:.3f}{self.score}"
        self.live.update(self.bar, note=note)

    def round_done(self, event: RoundEvent) -> None:
        self.live.update(self.bar, completed=event.round)

    def evaluated(self, event: EvaluationEvent) -> None:
        if event.split == "test":  # the rounds are over, all or early
            self.live.update(self.bar, total=self.live.tasks[self.bar].completed)
        elif event.point == self.point:
            metric = next(iter(next(iter(event.scores.values())).numbers))
            self.score = f"  {metric} {event.mean(metric):.3f}"


class StageProgress(Progress):
    """One bar for each stage of a comparison, with the time that is left of it."""

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
