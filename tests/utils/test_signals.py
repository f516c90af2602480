"""Requests to end: by a flag where a loop looks at it, else at once; and what was ignored stays ignored."""

from __future__ import annotations

import contextlib
import os
import signal

import pytest

from omnifm.utils import signals
from omnifm.utils.signals import (
    SIGNALS,
    Interrupted,
    check_interrupts,
    cooperative,
    forking,
    interruptible,
    leave_to_parent,
)

pytestmark = pytest.mark.usefixtures("restored_signals")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_each_ends_the_block_with_its_own_status(number: int, status: int) -> None:
    with pytest.raises(Interrupted) as told, interruptible():
        os.kill(os.getpid(), number)
    assert told.value.status == status
    assert isinstance(told.value, KeyboardInterrupt)


def test_a_loop_is_interrupted_only_where_it_looks() -> None:
    done = []

    def work() -> None:
        with cooperative():
            os.kill(os.getpid(), signal.SIGTERM)
            with cooperative():
                done.append("written")
                check_interrupts()
            done.append("never")

    with pytest.raises(Interrupted) as told, interruptible():
        work()
    assert done == ["written"]
    assert told.value.number == signal.SIGTERM


def test_a_loop_that_does_not_look_is_ended_after_it() -> None:
    done = []

    def work() -> None:
        with cooperative():
            os.kill(os.getpid(), signal.SIGHUP)
            done.append("looped")
        done.append("never")

    with pytest.raises(Interrupted), interruptible():
        work()
    assert done == ["looped"]


def test_an_error_of_a_loop_is_not_hidden_by_a_request() -> None:
    def work() -> None:
        with cooperative():
            os.kill(os.getpid(), signal.SIGTERM)
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError), interruptible():
        work()


def test_a_request_that_a_library_swallows_ends_the_next_loop() -> None:
    def work() -> None:
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        with cooperative():
            check_interrupts()

    with pytest.raises(Interrupted) as told, interruptible():
        work()
    assert told.value.number == signal.SIGTERM


def test_signals_that_come_together_are_one_request() -> None:
    done = []

    def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            for number in SIGNALS:  # as of `timeout`, or of a shell whose terminal is closed
                os.kill(os.getpid(), number)
            done.append("tidied up")

    with pytest.raises(Interrupted) as told, interruptible():
        work()
    assert done == ["tidied up"]
    assert told.value.number == signal.SIGINT
    for number in SIGNALS:  # nor do they disturb what is left to do
        os.kill(os.getpid(), number)
    check_interrupts()  # that request is dealt with


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("looping", [True, False])
def test_a_second_request_ends_the_process_at_once(monkeypatch: pytest.MonkeyPatch, looping: bool) -> None:
    monkeypatch.setattr(signals, "_SAME_REQUEST", -1.0)
    if not (child := os.fork()):
        with contextlib.suppress(Interrupted), interruptible(), cooperative() if looping else contextlib.nullcontext():
            os.kill(os.getpid(), signal.SIGINT)
        with contextlib.suppress(BaseException):
            os.kill(os.getpid(), signal.SIGTERM)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_worker_leaves_requests_to_its_parent() -> None:
    def ended(*numbers: int) -> int:
        """Return how a worker ends that gets these signals while it is forked."""
        with forking():
            if not (child := os.fork()):
                for number in numbers:
                    os.kill(os.getpid(), number)
                with contextlib.suppress(BaseException):
                    leave_to_parent()
                    check_interrupts()
                    os._exit(7)
                os._exit(1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    with interruptible():
        assert ended() == 7
        assert ended(signal.SIGINT, signal.SIGHUP) == 7
        assert ended(signal.SIGTERM) == -signal.SIGTERM
        with contextlib.suppress(Interrupted):
            os.kill(os.getpid(), signal.SIGINT)
        assert ended() == 7, "a request that came before is the parent's too"


def test_what_was_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    with interruptible():
        os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_afterwards_all_is_as_before() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with interruptible():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before
