import numpy as np
import pytest

from omnifm.data.phantom import nuclear
from omnifm.data.phantom.tissues import GREY, INFARCT, TISSUES, WHITE
from omnifm.utils.seeding import numpy_generator


@pytest.mark.parametrize("modality", ["PET", "SPECT"])
def test_grey_to_white_is_four_to_one(modality: str) -> None:
    uptake = nuclear.uptake(TISSUES, modality)
    assert uptake[GREY] == 4 * uptake[WHITE] > 4 * uptake[INFARCT]


def test_counts_are_poisson() -> None:
    counts = nuclear.counted(np.full((300, 300), 9.0, np.float32), numpy_generator(0, "counts"))
    assert counts.mean() == pytest.approx(9, rel=0.01)
    assert counts.var() == pytest.approx(9, rel=0.03)
    assert (counts == 0).mean() == pytest.approx(np.exp(-9), abs=2e-4)
