import numpy as np
import pytest

from omnifm.data.phantom.deformation import Deformation
from omnifm.utils.seeding import numpy_generator


def grid() -> np.ndarray:
    axes = np.meshgrid(*[np.linspace(-70, 70, 9)] * 3, indexing="ij")
    return np.stack(axes, -1).reshape(-1, 3).astype(np.float32)


@pytest.mark.parametrize("seed", range(20))
def test_there_and_back(seed: int) -> None:
    deformation = Deformation.random(numpy_generator(seed, "there and back"))
    np.testing.assert_allclose(deformation.to_atlas(deformation.to_patient(grid())), grid(), atol=0.01)


@pytest.mark.parametrize("seed", range(20))
def test_space_is_not_folded(seed: int) -> None:
    deformation = Deformation.random(numpy_generator(seed, "folded"))
    here = deformation.to_atlas(grid())
    steps = [(deformation.to_atlas(grid() + np.eye(3, dtype=np.float32)[i]) - here) for i in range(3)]
    volume = np.linalg.det(np.stack(steps, -1)) * np.sign(np.linalg.det(deformation.matrix))
    assert volume.min() > 0.2
    assert volume.max() < 3


def test_left_and_right_are_both_drawn() -> None:
    signs = {np.sign(np.linalg.det(Deformation.random(numpy_generator(s, "flip")).matrix)) for s in range(20)}
    assert signs == {-1.0, 1.0}
