"""Work ends where its limit says so."""

from __future__ import annotations

import time

import pytest

from omnifm.utils.signals import check_interrupts
from omnifm.utils.work_limit import WorkLimitError, begin_epoch, check_time, limited


def test_without_a_limit_nothing_ends() -> None:
    check_time()
    for _ in range(5):
        begin_epoch()


def test_time_is_over_at_the_next_look() -> None:
    with limited(0.01):
        check_interrupts()
        time.sleep(0.02)
        with pytest.raises(WorkLimitError, match=r"longer than the 0.01 seconds"):
            check_interrupts()
    check_interrupts()


def test_passes_over_the_data_are_counted() -> None:
    with limited(60, epochs=2):
        begin_epoch()
        begin_epoch()
        with pytest.raises(WorkLimitError, match="more often than the 2 times"):
            begin_epoch()
    with limited(60):
        for _ in range(5):
            begin_epoch()
