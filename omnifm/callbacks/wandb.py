"""Weights & Biases: each arm is a run of its own, by default offline: nothing leaves the machine."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from omnifm.callbacks.callback import Callback
from omnifm.callbacks.events import ArmEnd, ArmStart, EvaluationEvent, RoundEvent
from omnifm.callbacks.scalars import evaluation_scalars, round_scalars
from omnifm.utils.atomic_write import write_atomically
from omnifm.utils.errors import ExperimentError

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class WandB(Callback):
    """Writes every arm (of a comparison: every cell) as one run into ``wandb`` in the run's folder.

    ``wandb sync RUN/wandb/offline-run-*`` uploads what was written offline, if it may leave the machine. A resumed arm
    continues in the same run.

    Attributes:
        project: the name of the project; if empty, that of the run.
        mode: ``offline``, or ``online``, which sends names of clients, settings and scores to the service.
        clients: write every client's scores besides their mean.

    Raises:
        ExperimentError: the package is not installed.
    """

    project: str = ""
    mode: Literal["offline", "online"] = "offline"
    clients: bool = False

    def __post_init__(self) -> None:
        if find_spec("wandb") is None:
            raise ExperimentError("callbacks: W&B is not installed here: pip install 'omnifm[tracking]'.")
        self._run: Any = None

    def on_arm_start(self, event: ArmStart) -> None:
        """Start a run, or resume the arm's own."""
        import wandb

        arm, kept = event.arm, event.arm.folder / "wandb-run.txt"
        if not kept.exists():
            write_atomically(kept, wandb.util.generate_id().encode())
        self._run = wandb.init(
            project=self.project or arm.run.name,
            name=arm.label,
            group=arm.run.name,
            id=kept.read_text(encoding="utf-8"),
            resume="allow" if self.mode == "online" else None,
            dir=str(arm.run.folder),
            mode=self.mode,
            config={"arm": arm.name, **arm.experiment},
            reinit="finish_previous",
            settings=wandb.Settings(
                silent=True, console="off", disable_git=True, save_code=False, x_disable_stats=True
            ),
        )

    def on_round_end(self, event: RoundEvent) -> None:
        """Write a round's loss, bytes and seconds."""
        self._write(round_scalars(event), event.round)

    def on_evaluate(self, event: EvaluationEvent) -> None:
        """Write the scores."""
        self._write(evaluation_scalars(event, self.clients), event.round)

    def on_arm_end(self, event: ArmEnd) -> None:
        """Record how the run ended."""
        if self._run is not None:
            self._run.finish(exit_code=0 if event.error is None else 1)
            self._run = None

    def _write(self, scalars: Iterator[tuple[str, float]], step: int) -> None:
        self._run.log({"round": step, **dict(scalars)})
