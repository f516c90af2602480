"""TensorBoard: losses and scores as curves. It needs the package ``tensorboard``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from omnifm.callbacks.callback import Callback
from omnifm.callbacks.events import ArmEnd, ArmStart, EvaluationEvent, RoundEvent
from omnifm.callbacks.scalars import evaluation_scalars, round_scalars
from omnifm.utils.errors import ExperimentError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


@dataclass
class TensorBoard(Callback):
    """Writes each arm's scalars into ``tensorboard`` in its folder: ``tensorboard --logdir RUN`` shows them all.

    A step is a round. Where a run is resumed, the steps that it runs again replace those from before.

    Attributes:
        clients: write every client's scores besides their mean.

    Raises:
        ExperimentError: the package is not installed.
    """

    clients: bool = False

    def __post_init__(self) -> None:
        if find_spec("tensorboard") is None:
            raise ExperimentError("callbacks: TensorBoard is not installed here: pip install 'omnifm[tracking]'.")
        self._writer: SummaryWriter | None = None

    def on_arm_start(self, event: ArmStart) -> None:
        """Open the arm's file."""
        from torch.utils.tensorboard import SummaryWriter

        done = event.checkpoint.server.round
        self._writer = SummaryWriter(str(event.arm.folder / "tensorboard"), purge_step=done + 1 if done else None)

    def on_round_end(self, event: RoundEvent) -> None:
        """Write a round's loss, bytes and seconds."""
        self._write(round_scalars(event), event.round)

    def on_evaluate(self, event: EvaluationEvent) -> None:
        """Write the scores."""
        self._write(evaluation_scalars(event, self.clients), event.round)

    def on_arm_end(self, event: ArmEnd) -> None:
        """Write what is left and close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write(self, scalars: Iterator[tuple[str, float]], step: int) -> None:
        assert self._writer is not None
        for tag, value in scalars:
            self._writer.add_scalar(tag, value, step)
