from __future__ import annotations

import os
import signal

import pytest
import torch

from omnifm.data.phantom.side_by_side import each, shared_zeros

TEN = list(range(10))


@pytest.mark.parametrize("processes", [1, 2, 3, 20])
def test_each_is_done_once_whoever_does_it(processes: int) -> None:
    done, who = shared_zeros((10,), torch.int64), shared_zeros((10,), torch.int64)

    def work(number: int) -> None:
        done[number] += number
        who[number] = os.getpid()

    each(work, 10, processes)
    assert done.tolist() == TEN
    assert len(set(who.tolist())) == min(processes, 10)
    assert (os.getpid() in who.tolist()) == (processes == 1)


def test_the_share_of_a_killed_process_is_done_again() -> None:
    done, here = shared_zeros((10,), torch.int64), os.getpid()

    def work(number: int) -> None:
        if number == 7 and os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        done[number] = number

    each(work, 10, 2)
    assert done.tolist() == TEN


def test_an_error_comes_up_as_if_there_were_one_process() -> None:
    def work(number: int) -> None:
        if number == 7:
            raise ValueError("seven")

    with pytest.raises(ValueError, match="seven"):
        each(work, 10, 2)


def test_shared_zeros_have_their_shape_and_type() -> None:
    made = shared_zeros((3, 2), torch.uint8)
    assert (made.shape, made.dtype, made.sum()) == ((3, 2), torch.uint8, 0)
