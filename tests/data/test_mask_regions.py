from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnifm.data.mask_regions import Region, check_same_grid, names_of, one_region, regions_in
from omnifm.data.reading import MedicalImage
from omnifm.data.reading.medical_image import as_stored
from omnifm.utils.errors import DataError

RED, GREEN, BLACK = [255, 0, 0], [0, 255, 0], [0, 0, 0]


def mask(values: Any, **more: Any) -> MedicalImage:
    values = np.asarray(values)
    colour = values.ndim > 2 and values.shape[-1] == 3
    return MedicalImage(Path("m.png"), values, as_stored(values.shape[:2]), colour=colour, **more)


def test_regions_by_colour() -> None:
    drawn = mask(np.uint8([[RED, GREEN, BLACK]]))
    regions = (Region("cyst", colours=("#FF0000",)), Region("any", colours=("#ff0000", "#00ff00")))
    assert regions_in(drawn, regions).tolist() == [[[1, 0, 0]], [[1, 1, 0]]]
    with pytest.raises(DataError, match=r"m\.png: the mask holds #00ff00, which no region names"):
        regions_in(drawn, regions[:1])
    ignored = (*regions[:1], Region("background", colours=("#00ff00",)))
    assert regions_in(drawn, ignored).tolist() == [[[1, 0, 0]]]
    assert names_of(ignored) == ("cyst",)


def test_regions_by_value() -> None:
    regions = (Region("liver", values=(1, 2)), Region("tumour", values=(2,)))
    assert regions_in(mask(np.uint8([[0, 1, 2]])), regions).tolist() == [[[0, 1, 1]], [[0, 0, 1]]]
    assert regions_in(mask([[0.0, 1.0, 2.0]]), regions)[0].tolist() == [[0, 1, 1]]
    assert regions_in(mask(np.uint8([[[2, 2, 2]]])), regions).tolist() == [[[1]], [[1]]]  # grey, stored in colour
    with pytest.raises(DataError, match=r"m\.png: a mask holds whole numbers, but this 0\.5"):
        regions_in(mask([[0.0, 0.5]]), regions)
    with pytest.raises(DataError, match=r"m\.png: the mask is in colour, but regions name values"):
        regions_in(mask(np.uint8([[RED]])), regions)


def test_one_region() -> None:
    assert one_region(mask(np.uint8([[0, 255]]))).tolist() == [[False, True]]
    assert one_region(mask(np.uint8([[0, 0]]))).tolist() == [[False, False]]
    assert one_region(mask(np.uint8([[RED, BLACK]]))).tolist() == [[True, False]]
    assert one_region(mask(np.uint8([[9, 127, 128, 250]])), 128).tolist() == [[False, False, True, True]]
    with pytest.raises(DataError, match=r"a mask has two values, and this has 3"):
        one_region(mask(np.uint8([[0, 1, 2]])))


@pytest.mark.parametrize("threshold", [0, 128])
@pytest.mark.parametrize("background", [[BLACK] * 4, []])
def test_two_colours_are_no_single_region(threshold: int, background: list[list[int]]) -> None:
    drawn = np.uint8([[RED, GREEN, RED, GREEN, *background]])
    with pytest.raises(DataError, match=r"m\.png: the mask shows .*more than one region. Name each"):
        one_region(mask(drawn), threshold)


def test_grids_are_compared() -> None:
    image = mask(np.zeros((4, 5)), affine=np.eye(4))
    check_same_grid(image, mask(np.zeros((4, 5))))
    with pytest.raises(DataError, match=r"the mask has 5 x 4 pixels, but its image m\.png 4 x 5"):
        check_same_grid(image, mask(np.zeros((5, 4))))
    with pytest.raises(DataError, match="its affine differs"):
        check_same_grid(image, mask(np.zeros((4, 5)), affine=np.diag([1.0, 1, 1, 1]) + 0.1))


@pytest.mark.parametrize(
    ("regions", "said"),
    [
        ([{"name": "a", "colours": ("#ff0000",)}, {"name": "b", "values": (1,)}], "the one or the other"),
        ([{"name": "a", "values": (1,)}, {"name": "a", "values": (2,)}], "each region once"),
        ([{"name": "background", "values": (1,)}], "at least one"),
        ([{"name": "a"}], "needs colours or values"),
        ([{"name": "a", "colours": ("red",)}], "colours"),
    ],
)
def test_settings_are_checked(regions: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        names_of([Region(**region) for region in regions])
