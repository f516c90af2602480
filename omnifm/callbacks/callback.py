"""The protocol of callbacks: they receive events, and can ask the rounds to stop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from omnifm.callbacks.events import (
    ArmEnd,
    ArmStart,
    CheckpointEvent,
    EvaluationEvent,
    RoundEvent,
    RoundStart,
    RunEnd,
    RunInfo,
    UploadEvent,
)

Event = TypeVar("Event")


@dataclass(frozen=True)
class Stop:
    """Asks the rounds of an arm to stop, and says why.

    The round under way is finished, evaluated as the last one is, and its checkpoint written; a round that has not
    begun (:meth:`Callback.on_arm_start`, :meth:`Callback.on_round_start`) does not begin. Then the arm is tested and
    the next one starts. With ``pause`` nothing is tested: the run ends here with exit status 75 and can be resumed.
    """

    reason: str
    pause: bool = False


CallbackResult = Stop | bool | None
"""What a callback returns: ``Stop(reason)`` or True to stop, None to continue."""


class Callback:
    """Receives the events of a run. Override what you need.

    One object serves a whole run. Each arm starts and ends once, or several times where a run is resumed; a comparison
    starts each cell twice, to train and to test it, and runs cells in parallel in forked processes, which have copies
    of the object: open resources of an arm in :meth:`on_arm_start`, and close them in :meth:`on_arm_end`. The ends are
    reported after an error or an interruption too.

    A callback that stops should decide from the event alone, best from its checkpoint: then a resumed run stops there
    too. The answers of :meth:`on_run_start`, the ends, and evaluations on test data are ignored.
    """

    def on_run_start(self, info: RunInfo) -> CallbackResult:
        """A run starts, or is resumed."""

    def on_arm_start(self, event: ArmStart) -> CallbackResult:
        """An arm starts, or is resumed."""

    def on_round_start(self, event: RoundStart) -> CallbackResult:
        """A round is about to begin."""

    def on_upload(self, event: UploadEvent) -> CallbackResult:
        """One client's upload has arrived."""

    def on_round_end(self, event: RoundEvent) -> CallbackResult:
        """The server has aggregated a round."""

    def on_evaluate(self, event: EvaluationEvent) -> CallbackResult:
        """All clients have been evaluated."""

    def on_checkpoint(self, event: CheckpointEvent) -> CallbackResult:
        """A round is complete, and its checkpoint written: a resumed run continues from here."""

    def on_arm_end(self, event: ArmEnd) -> CallbackResult:
        """An arm has ended."""

    def on_run_end(self, event: RunEnd) -> CallbackResult:
        """The run has ended."""


def notify(
    callbacks: Iterable[Callback], method: Callable[[Callback, Event], CallbackResult], event: Event
) -> Stop | None:
    """Send an event to every callback; return the first request to stop, one for good before one to pause."""
    requests = []
    for callback in callbacks:
        answer = getattr(callback, method.__name__)(event)
        if answer:
            requests.append(answer if isinstance(answer, Stop) else Stop(f"{type(callback).__name__} asked to stop"))
    return min(requests, key=lambda stop: stop.pause, default=None)


@contextmanager
def notify_at_end(
    callbacks: Iterable[Callback],
    method: Callable[[Callback, Event], CallbackResult],
    end: Callable[[BaseException | None], Event],
) -> Iterator[None]:
    """Send an event to every callback when the block ends, also by an error or an interruption."""
    try:
        yield
    except BaseException as error:
        notify(callbacks, method, end(error))
        raise
    notify(callbacks, method, end(None))
