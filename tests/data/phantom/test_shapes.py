import numpy as np
import pytest

from omnifm.data.phantom.shapes import Blob, Wedge
from omnifm.utils.seeding import numpy_generator

ORIGIN = np.zeros(3, dtype=np.float32)


def grid(reach: float) -> np.ndarray:
    axes = np.meshgrid(*[np.arange(-reach, reach + 1)] * 3, indexing="ij")
    return np.stack(axes, -1).reshape(-1, 3).astype(np.float32)


def test_smooth_blob_has_the_volume_of_its_ellipsoid() -> None:
    blob = Blob.random(numpy_generator(0, "blob"), ORIGIN, 12.0, roughness=0.0)
    assert blob.coverage(grid(30)).sum() == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.03)


def test_long_axis_points_along() -> None:
    along = np.array([1.0, 2.0, -1.0], dtype=np.float32)
    blob = Blob.random(numpy_generator(0, "blob"), ORIGIN, 5.0, along=along)
    assert abs(blob.axes[0] @ along) == pytest.approx(np.linalg.norm(along), rel=1e-5)
    assert blob.radii.argmax() == 0


def test_scaled_blob_is_inside() -> None:
    blob = Blob.random(numpy_generator(1, "blob"), ORIGIN, 10.0)
    assert (blob.scaled(0.5).coverage(grid(20)) <= blob.coverage(grid(20))).all()


def test_wedge_widens_outwards() -> None:
    site = np.array([40.0, 0, 0], dtype=np.float32)
    wedge = Wedge.random(numpy_generator(0, "wedge"), ORIGIN, site, 15.0)
    points = grid(45)
    cover = wedge.coverage(points)
    near, far = (cover[points[:, 0] == x].sum() for x in (25, 40))
    assert 0 < near < far
    assert cover[points[:, 0] < 0].max() == 0
    assert wedge.coverage(site[None])[0] == 1
