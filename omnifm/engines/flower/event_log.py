"""A callback that logs the rounds of a deployed run."""

from __future__ import annotations

from omnifm.callbacks.callback import Callback
from omnifm.callbacks.circle_changes import CircleChanges, circles_of
from omnifm.callbacks.events import ArmStart, EvaluationEvent, RoundEvent, RoundStart, RunEnd
from omnifm.callbacks.scalars import mean_loss
from omnifm.engines.flower.status_log import Events


class EventLog(Callback):
    """Writes the rounds, circles and scores of a deployed run into ``deploy.jsonl`` and ``status.json``."""

    def __init__(self, events: Events) -> None:
        self.events, self._circles = events, CircleChanges()

    def on_arm_start(self, event: ArmStart) -> None:
        """Say which circles there are already."""
        self.events.update_status(circles=self._circles.restart(event))

    def on_round_start(self, event: RoundStart) -> None:
        """Update the present round."""
        arm = event.arm
        self.events.update_status(phase="training", arm=arm.name, round=event.round, rounds=arm.rounds)

    def on_round_end(self, event: RoundEvent) -> None:
        """Log the clients of a round, and their loss."""
        name, names = event.arm.name, ", ".join(sorted(event.clients))
        mean = mean_loss(event)
        loss = "" if mean is None else f"; loss {mean:.3f}"
        text = f"{name} {event.round}/{event.arm.rounds} with {names}{loss}, {event.seconds:.1f} s"
        self.events.log("round", text=text, arm=name, round=event.round)
        self.events.update_status(circles=circles_of(event.report))
        if change := self._circles.after(event):
            text = f"{name} {event.round}/{event.arm.rounds}: {change}"
            self.events.log("circles", text=text, arm=name, round=event.round)

    def on_evaluate(self, event: EvaluationEvent) -> None:
        """Log the mean score."""
        name, metric = event.arm.name, event.arm.metric
        text = f"{name} {event.split}, {event.point}: {metric} {event.mean(metric):.3f}"
        self.events.log("evaluation", text=text, arm=name, round=event.round)

    def on_run_end(self, event: RunEnd) -> None:
        """Log where the results are, if the run has finished."""
        if event.error is None:
            text = f"the results are in {event.run.folder} on the server, the report is report.html there"
            self.events.log("finished", text=text)
            self.events.update_status(phase="finished")
