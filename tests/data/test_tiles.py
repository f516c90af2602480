from __future__ import annotations

import numpy as np
import pytest

from omnifm.data.tiles import windows


def test_tiles_lie_side_by_side_in_the_middle() -> None:
    assert windows(7, 9, 3) == [(slice(top, top + 3), slice(left, left + 3)) for top in (0, 3) for left in (0, 3, 6)]
    assert windows(8, 3, 3) == [(slice(1, 4), slice(0, 3)), (slice(4, 7), slice(0, 3))]


def test_no_pixel_is_in_two_tiles_and_image_and_mask_are_cut_the_same() -> None:
    image = np.arange(50 * 41).reshape(50, 41)
    mask = image % 2
    places = windows(50, 41, 8)
    assert len(places) == 6 * 5
    taken = np.concatenate([image[place].ravel() for place in places])
    assert len(set(taken.tolist())) == len(taken) == 30 * 64
    assert all(np.array_equal(mask[place], image[place] % 2) for place in places)


def test_some_tiles_are_evenly_spaced() -> None:
    every = windows(40, 40, 10)
    assert windows(40, 40, 10, limit=4) == [every[index] for index in (2, 6, 10, 14)]
    assert windows(40, 40, 10, limit=99) == every


def test_the_whole_image() -> None:
    assert windows(5, 7, 0) == [(slice(0, 5), slice(0, 7))]


def test_an_image_smaller_than_a_tile() -> None:
    assert len(windows(8, 8, 8)) == 1
    with pytest.raises(ValueError, match="it has 9 x 7 pixels, less than a tile of 8 x 8"):
        windows(7, 9, 8)
