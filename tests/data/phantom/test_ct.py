import numpy as np

from omnifm.data.phantom import ct
from omnifm.data.phantom.tissues import AIR, BLOOD, BONE, CSF, FAT, GREY, OEDEMA, TISSUES, WHITE


def test_window() -> None:
    values = ct.window(np.array([-1000, 0, 20, 40, 80, 1000], np.float32))
    np.testing.assert_allclose(values, [0, 0, 0.25, 0.5, 1, 1])


def test_order_of_tissues() -> None:
    hu = ct.hounsfield(TISSUES)
    order = [AIR, FAT, CSF, OEDEMA, WHITE, GREY, BLOOD, BONE]
    assert (np.diff(hu[order]) > 0).all()
