from __future__ import annotations

import numpy as np
import pytest
import torch

from omnifm.utils.seeding import derive_seed, derive_seeds, generator, numpy_generator


def test_seed_is_fixed_for_ever() -> None:
    # SHA-256 of '[0, "client", "CT-1", 3]', first eight bytes, without the lowest bit: a change breaks old
    # runs.
    assert derive_seed(0, "client", "CT-1", 3) == 6188261651989139361


def test_seed_has_63_bits() -> None:
    assert all(0 <= derive_seed(part) < 2**63 for part in range(1000))


@pytest.mark.parametrize(
    ("one", "other"),
    [(("a", "bc"), ("ab", "c")), ((1,), ("1",)), ((1, 2), (2, 1)), (([1, 2],), (1, 2)), ((1, 23), (12, 3))],
)
def test_different_parts_name_different_streams(one: tuple[object, ...], other: tuple[object, ...]) -> None:
    assert derive_seed(*one) != derive_seed(*other)


def test_parts_must_be_json() -> None:
    with pytest.raises(TypeError):
        derive_seed(np.zeros(1))


def test_streams_do_not_touch_the_global_state() -> None:
    before = torch.get_rng_state()
    first = torch.rand(3, generator=generator(1, "x"))
    torch.rand(5)
    assert torch.equal(first, torch.rand(3, generator=generator(1, "x")))
    torch.set_rng_state(before)
    generator(2)
    assert torch.equal(before, torch.get_rng_state())


def test_numpy_stream_repeats() -> None:
    assert np.array_equal(numpy_generator(1, "x").random(4), numpy_generator(1, "x").random(4))
    assert not np.array_equal(numpy_generator(1, "x").random(4), numpy_generator(1, "y").random(4))


def test_many_seeds_at_once_are_those_one_by_one() -> None:
    names = ["a", "PET/CT", "Žilina", '"quoted"', ""]
    assert derive_seeds((3, "sample", 7), names) == {name: derive_seed(3, "sample", 7, name) for name in names}
