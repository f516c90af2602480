"""Early stopping: the rounds end when validation scores no longer improve."""

from __future__ import annotations

from omnifm.callbacks.callback import Callback, Stop
from omnifm.callbacks.events import ArmStart, CheckpointEvent
from omnifm.core.checkpoint import Checkpoint


class EarlyStopping(Callback):
    """Stops an arm when no score has improved in the last ``patience`` evaluations (``federation.patience``).

    It decides from the checkpoint, so that a resumed run stops after the same round.
    """

    def __init__(self, patience: int, evaluate_every: int) -> None:
        self.patience, self.evaluate_every = patience, evaluate_every

    def on_arm_start(self, event: ArmStart) -> Stop | None:
        """Stop an arm that had already stopped when the run was left."""
        return self._stop(event.checkpoint)

    def on_checkpoint(self, event: CheckpointEvent) -> Stop | None:
        """Stop after a round that made the patience end."""
        return self._stop(event.checkpoint)

    def _stop(self, checkpoint: Checkpoint) -> Stop | None:
        every = self.evaluate_every
        latest = max((number for number, _ in checkpoint.best.values()), default=0)
        if checkpoint.server.round // every - latest // every < self.patience:
            return None
        evaluations = f"{self.patience} evaluation{'s' if self.patience > 1 else ''}"
        return Stop(f"no score has improved in {evaluations} on validation data")
