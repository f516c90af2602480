"""Requests to end: any of the signals ends the work, once, and what was ignored stays so."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator

import pytest

from omnifm.utils.signals import SIGNALS, Interrupted, interruptible, uninterrupted


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_each_ends_the_block_with_its_own_status(number: int, status: int) -> None:
    with pytest.raises(Interrupted) as told, interruptible():
        os.kill(os.getpid(), number)
    assert told.value.status == status
    assert isinstance(told.value, KeyboardInterrupt)


def test_a_second_one_while_ending_does_no_harm() -> None:
    done = []

    def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            for number in SIGNALS:
                os.kill(os.getpid(), number)
            done.append("tidied up")

    with pytest.raises(Interrupted) as told, interruptible():
        work()
    assert done == ["tidied up"]
    assert told.value.number == signal.SIGINT
    for number in SIGNALS:  # nor once it has ended
        os.kill(os.getpid(), number)


class Stubborn:
    """Its destructor is met by a request to end; Python drops what is raised there."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_request_that_python_drops_is_made_again() -> None:
    def work() -> None:
        Stubborn()
        time.sleep(30)

    with pytest.raises(Interrupted) as told, interruptible():
        work()
    assert told.value.number == signal.SIGTERM
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_a_request_that_was_swallowed_can_be_made_again() -> None:
    def lose_one() -> None:
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted) as told, interruptible():
        lose_one()
    assert told.value.number == signal.SIGTERM


def test_what_must_not_be_interrupted_is_done_first() -> None:
    done = []

    def work() -> None:
        with uninterrupted():
            os.kill(os.getpid(), signal.SIGHUP)
            done.append("written")
        done.append("never")

    with pytest.raises(Interrupted) as told, interruptible():
        work()
    assert done == ["written"]
    assert told.value.number == signal.SIGHUP


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
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
