"""What a network holds is counted while it is built, and one that is too large is not finished."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from omnifm.networks.size import NetworkSizeError, size_limited


def test_parameters_and_buffers_are_counted() -> None:
    with size_limited() as size:
        nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    assert size.numbers == 3 * 4 + 4 + 4 + 4 + 4 + 4 + 1
    nn.Linear(3, 4)
    assert size.numbers == 33, "nothing is counted afterwards"


def test_one_that_is_too_large_takes_no_memory() -> None:
    with pytest.raises(NetworkSizeError, match="more than the 1000 numbers"), size_limited(1000), torch.device("meta"):
        nn.Linear(10**7, 10**7)
    nn.Linear(100, 100)


def test_it_ends_at_the_first_that_is_too_much() -> None:
    made = list[nn.Module]()
    with pytest.raises(NetworkSizeError), size_limited(100):
        made.extend(nn.Linear(3, 4) for _ in range(1000))
    assert len(made) == 6
