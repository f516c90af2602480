"""The protocol of callbacks: they are told what happens, and may ask the rounds to stop."""

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
"""What a callback returns: ``Stop(reason)`` or True to stop, nothing to go on."""


class Callback:
    """What others may do while a run goes on. Override what you need.

    One object serves a whole run. Each arm starts and ends in it once, or several times where a run is resumed; a
    comparison starts each cell twice, to train and to test it, and runs cells side by side in forked processes, which
    have copies of the object: what it opens for an arm belongs into :meth:`on_arm_start`, and is closed in
    :meth:`on_arm_end`. Both ends are told also when an error or an interruption has caused them.

    A callback that stops decides from the event alone, best from its checkpoint: then a resumed run stops there too.
    In :meth:`on_run_start`, the ends, and evaluations on test data there is nothing to stop, and the answer is ignored.
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
        """The server has taken in a round."""

    def on_evaluate(self, event: EvaluationEvent) -> CallbackResult:
        """All clients have been evaluated."""

    def on_checkpoint(self, event: CheckpointEvent) -> CallbackResult:
        """A round is complete, and its checkpoint written: a resumed run goes on from here."""

    def on_arm_end(self, event: ArmEnd) -> CallbackResult:
        """An arm has ended."""

    def on_run_end(self, event: RunEnd) -> CallbackResult:
        """The run has ended."""


def notify(
    callbacks: Iterable[Callback], method: Callable[[Callback, Event], CallbackResult], event: Event
) -> Stop | None:
    """Tell every callback of an event, and return the first wish to stop; one for good goes before one to pause."""
    wishes = []
    for callback in callbacks:
        answer = getattr(callback, method.__name__)(event)
        if answer:
            wishes.append(answer if isinstance(answer, Stop) else Stop(f"{type(callback).__name__} asked to stop"))
    return min(wishes, key=lambda wish: wish.pause, default=None)


@contextmanager
def telling_the_end(
    callbacks: Iterable[Callback],
    method: Callable[[Callback, Event], CallbackResult],
    end: Callable[[BaseException | None], Event],
) -> Iterator[None]:
    """Tell every callback when the block ends, whether by itself, by an error or by an interruption."""
    try:
        yield
    except BaseException as error:
        notify(callbacks, method, end(error))
        raise
    notify(callbacks, method, end(None))
