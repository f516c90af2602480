from __future__ import annotations

import os

import pytest
import torch

from omnifm.utils.device import autocast, deterministic, fork_rng, to_device

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_a_batch_for_the_cpu_is_the_batch_itself() -> None:
    batch = {"image": torch.zeros(2, 1, 4, 4)}
    assert to_device(batch, CPU) is batch


def test_a_batch_goes_to_another_device_whole() -> None:
    gone = to_device({"image": torch.zeros(2, 1, 4, 4), "exclusive": torch.ones(2).bool()}, torch.device("meta"))
    assert {name: (value.device.type, value.dtype) for name, value in gone.items()} == {
        "image": ("meta", torch.float32),
        "exclusive": ("meta", torch.bool),
    }


def test_float32_changes_nothing_and_bf16_what_is_safe() -> None:
    one = torch.ones(2, 2)
    with autocast(CPU, "float32"):
        assert (one @ one).dtype == torch.float32
    with autocast(CPU, "bf16"):
        assert (one @ one).dtype == torch.bfloat16
        assert one.log_softmax(dim=1).dtype == torch.float32
    assert (one @ one).dtype == torch.float32


def test_a_gpu_is_bound_to_the_same_bits_within_the_block_alone() -> None:
    seen = []

    def fail() -> None:
        with deterministic(GPU):
            seen.append(torch.are_deterministic_algorithms_enabled())
            seen.append(torch.is_deterministic_algorithms_warn_only_enabled())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert seen == [True, False]
    assert not torch.are_deterministic_algorithms_enabled()


def test_what_was_demanded_before_is_demanded_after() -> None:
    torch.backends.cudnn.benchmark = True
    try:
        with deterministic(GPU):
            assert not torch.backends.cudnn.benchmark
        assert torch.backends.cudnn.benchmark
    finally:
        torch.backends.cudnn.benchmark = False


def test_a_cpu_is_left_as_it_is() -> None:
    with deterministic(CPU):
        assert not torch.are_deterministic_algorithms_enabled()


def test_cublas_is_configured_before_its_first_product() -> None:
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"]


def test_what_is_drawn_follows_from_the_seed_and_leaves_no_trace() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    drawn = []
    for seed in (5, 6, 5):
        with fork_rng(torch.device("cpu"), seed):
            drawn.append(torch.rand(3))
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])
    torch.manual_seed(5)
    assert torch.equal(torch.rand(3), drawn[0]), "as torch itself would draw"
    torch.manual_seed(1)
    with pytest.raises(ValueError, match="x"), fork_rng(torch.device("cpu"), 7):
        raise ValueError("x")
    assert torch.equal(torch.rand(3), expected)
