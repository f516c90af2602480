import hashlib

import numpy as np

from omnifm.data.phantom import generator


def test_state_is_the_hash_of_seed_and_names() -> None:
    state = int.from_bytes(hashlib.sha256(b'[7, "image", 3]').digest(), "big")
    expected = np.random.Generator(np.random.PCG64(state)).random(5)
    np.testing.assert_array_equal(generator(7, "image", 3).random(5), expected)


def test_names_do_not_run_together() -> None:
    draws = {
        generator(*a).random() for a in [(1, "ab", "c"), (1, "a", "bc"), (1, "abc"), (2, "abc"), (1, "ab", 1)]
    }
    assert len(draws) == 5
