"""The recorder: writes an arm's metrics log and its checkpoints."""

from __future__ import annotations

import time
from dataclasses import fields
from typing import Any

from omnifm.callbacks.callback import Callback
from omnifm.callbacks.events import CheckpointEvent, EvaluationEvent, RoundEvent
from omnifm.callbacks.metrics_log import MetricsLog
from omnifm.checkpoint.manager import CheckpointManager


class Recorder(Callback):
    """Writes the metrics log of one arm, a checkpoint every round, and the best checkpoints."""

    def __init__(self, log: MetricsLog, checkpoints: CheckpointManager) -> None:
        self.log, self.checkpoints = log, checkpoints

    def on_round_end(self, event: RoundEvent) -> None:
        """Log a round."""
        values = {field.name: getattr(event, field.name) for field in fields(event) if field.name != "arm"}
        trouble = {name: values.pop(name) for name in ("rejected", "refused")}
        self._append(event="round", **values, **{name: value for name, value in trouble.items() if value})

    def on_evaluate(self, event: EvaluationEvent) -> None:
        """Log an evaluation."""
        clients = {name: scores.numbers for name, scores in event.scores.items()}
        self._append(event="evaluation", round=event.round, split=event.split, point=event.point, clients=clients)

    def _append(self, **values: Any) -> None:
        self.log.append(**values, time=round(time.time(), 3))

    def on_checkpoint(self, event: CheckpointEvent) -> None:
        """Write the checkpoint, and first the best ones: a crash between them costs this round, and no best one."""
        for point in event.improved:
            self.checkpoints.write_best(point, event.checkpoint)
        self.checkpoints.write(event.checkpoint)
