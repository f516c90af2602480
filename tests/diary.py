"""A callback of an experiment file that writes a line for each event, from whatever process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnifm.callbacks.callback import Callback, CallbackResult, Stop
from omnifm.callbacks.events import ArmEnd, ArmInfo, ArmStart, EvaluationEvent, RoundEvent, RunEnd, RunInfo
from omnifm.callbacks.registry import CALLBACKS, register_callback


@dataclass
class Diary(Callback):
    """Writes to ``file``; pauses the run before the round ``pause`` of any arm."""

    file: str
    pause: int = 0

    def on_run_start(self, info: RunInfo) -> None:
        self._write("run", info.name)

    def on_arm_start(self, event: ArmStart) -> None:
        self._write(_where(event.arm), "from", event.checkpoint.server.round)

    def on_round_start(self, event: Any) -> CallbackResult:
        return Stop("It is late", pause=True) if event.round == self.pause else None

    def on_round_end(self, event: RoundEvent) -> None:
        self._write(_where(event.arm), "round", event.round)

    def on_evaluate(self, event: EvaluationEvent) -> None:
        self._write(_where(event.arm), event.split, event.round)

    def on_arm_end(self, event: ArmEnd) -> None:
        self._write(_where(event.arm), "end", type(event.error).__name__)

    def on_run_end(self, event: RunEnd) -> None:
        self._write("run end", type(event.error).__name__)

    def _write(self, *words: object) -> None:
        with Path(self.file).open("a", encoding="utf-8") as file:
            file.write(" ".join(map(str, words)) + "\n")


def _where(arm: ArmInfo) -> str:
    return f"{arm.run.name} {arm.label} s{arm.seed}"


@contextmanager
def known_diary() -> Iterator[None]:
    """Let experiment files call the diary by its name."""
    register_callback("diary")(Diary)
    try:
        yield
    finally:
        del CALLBACKS["diary"]
