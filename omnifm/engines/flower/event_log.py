"""A callback that tells the people of a deployment how the rounds go."""

from __future__ import annotations

from omnifm.callbacks.callback import Callback
from omnifm.callbacks.circle_changes import CircleChanges, circles_of
from omnifm.callbacks.events import ArmStart, EvaluationEvent, RoundEvent, RoundStart, RunEnd
from omnifm.engines.flower.status_log import Events


class EventLog(Callback):
    """Writes the rounds, circles and scores of a deployed run into ``deploy.jsonl`` and ``status.json``."""

    def __init__(self, events: Events) -> None:
        self.events, self._circles = events, CircleChanges()

    def on_arm_start(self, event: ArmStart) -> None:
        """Say which circles there are already."""
        self.events.stand(circles=self._circles.restart(event))

    def on_round_start(self, event: RoundStart) -> None:
        """Say which round begins."""
        arm = event.arm
        self.events.stand(phase="training", arm=arm.name, round=event.round, rounds=arm.rounds)

    def on_round_end(self, event: RoundEvent) -> None:
        """Say which clients took part in a round."""
        name, names = event.arm.name, ", ".join(sorted(event.clients))
        loss = sum(one["loss"] for one in event.clients.values()) / max(1, len(event.clients))
        text = f"{name} {event.round}/{event.arm.rounds} with {names}; loss {loss:.3f}, {event.seconds:.1f} s"
        self.events.tell("round", text=text, arm=name, round=event.round)
        self.events.stand(circles=circles_of(event.report))
        if change := self._circles.after(event):
            text = f"{name} {event.round}/{event.arm.rounds}: {change}"
            self.events.tell("circles", text=text, arm=name, round=event.round)

    def on_evaluate(self, event: EvaluationEvent) -> None:
        """Say how well the models do."""
        name, metric = event.arm.name, event.arm.metric
        text = f"{name} {event.split}, {event.point}: {metric} {event.mean(metric):.3f}"
        self.events.tell("evaluation", text=text, arm=name, round=event.round)

    def on_run_end(self, event: RunEnd) -> None:
        """Say where the results are, if the run has come to its end."""
        if event.error is None:
            text = f"all of it is in {event.run.folder} on the server, the report in report.html there"
            self.events.tell("finished", text=text)
            self.events.stand(phase="finished")
