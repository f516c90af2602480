from __future__ import annotations

import os
import signal

import pytest
import torch

from omnifm.data.phantom.side_by_side import SHARE, each, shared_zeros

COUNT = 3 * SHARE + 1


@pytest.mark.parametrize("processes", [1, 2, 20])
def test_each_is_done_once_whoever_does_it(processes: int) -> None:
    done, who = shared_zeros((COUNT,), torch.int64), shared_zeros((COUNT,), torch.int64)

    def work(number: int) -> None:
        done[number] += number
        who[number] = os.getpid()

    each(work, COUNT, processes)
    assert done.tolist() == list(range(COUNT))
    assert (os.getpid() in who.tolist()) == (processes == 1)
    assert len(set(who.tolist())) <= processes


def test_the_share_of_a_killed_process_is_done_again() -> None:
    done, deaths = shared_zeros((COUNT,), torch.int64), shared_zeros((1,), torch.int64)

    def work(number: int) -> None:
        if number == SHARE + 2 and not deaths[0]:
            deaths[0] += 1
            os.kill(os.getpid(), signal.SIGKILL)
        done[number] = number

    each(work, COUNT, 2)
    assert deaths[0] == 1
    assert done.tolist() == list(range(COUNT))


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_comes_up_as_if_there_were_one_process(processes: int) -> None:
    def work(number: int) -> None:
        if number == 7:
            raise ValueError("seven")

    with pytest.raises(ValueError, match="seven"):
        each(work, COUNT, processes)


def test_shared_zeros_have_their_shape_and_type() -> None:
    made = shared_zeros((3, 2), torch.uint8)
    assert (made.shape, made.dtype, made.sum()) == ((3, 2), torch.uint8, 0)
