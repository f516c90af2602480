import numpy as np
import pytest

from omnifm.data.phantom.blur import blur


def width_at_half(profile: np.ndarray, step: float) -> float:
    """Measure the full width at half maximum of a peak, by linear interpolation."""
    above = np.flatnonzero(profile >= profile.max() / 2)
    first, last = above[0], above[-1]
    half = profile.max() / 2
    left = first - (profile[first] - half) / (profile[first] - profile[first - 1])
    right = last + (profile[last] - half) / (profile[last] - profile[last + 1])
    return float((right - left) * step)


@pytest.mark.parametrize(("fwhm", "spacing"), [(6.0, (1.0, 1.0)), (10.0, (2.0, 1.0)), (8.0, (1.0, 1.0, 1.5))])
def test_a_point_becomes_as_wide_as_asked(fwhm: float, spacing: tuple[float, ...]) -> None:
    point = np.zeros((41,) * len(spacing), np.float32)
    point[(20,) * len(spacing)] = 1
    image = blur(point, fwhm, spacing)
    assert image.sum() == pytest.approx(1, rel=1e-4)
    for axis, step in enumerate(spacing):
        line = image[tuple(slice(None) if a == axis else 20 for a in range(len(spacing)))]
        assert width_at_half(line, step) == pytest.approx(fwhm, rel=0.03)


def test_no_blur_changes_nothing() -> None:
    image = np.random.default_rng(0).random((8, 8), dtype=np.float32)
    np.testing.assert_array_equal(blur(image, 0.0, (1.0, 1.0)), image)
