import math

import numpy as np
import pytest

from omnifm.data.phantom import mri
from omnifm.data.phantom.tissues import CSF, ENHANCING, GREY, NECROSIS, TISSUES, WHITE
from omnifm.utils.seeding import numpy_generator


def test_spin_echo_by_hand() -> None:
    # White matter at 1.5 T, TR 500 = T1, TE 70 = T2: 0.77 * (1 - 1/e) / e.
    assert mri.spin_echo(0.77, 500, 70, 500, 70) == pytest.approx(0.77 * 0.632121 * 0.367879, rel=1e-5)


def test_long_repetition_leaves_density_and_t2() -> None:
    assert mri.spin_echo(0.9, 800, 100, 1e6, 50) == pytest.approx(0.9 * math.exp(-0.5))


def test_inversion_recovery_follows_the_bloch_equation() -> None:
    """Integrate dM/dt = (1 - M) / T1 over repeated inversions, to the steady state."""
    t1, repetition, inversion = 900.0, 3000.0, 600.0

    def relax(m: float, time: float) -> float:
        steps = 20000
        for _ in range(steps):
            m += (1 - m) / t1 * (time / steps)
        return m

    m = relax(0.0, repetition - inversion)  # after the reading pulse nothing is left
    m = relax(-m, inversion)
    expected = 0.8 * m * math.exp(-20 / 100)
    assert mri.inversion_recovery(0.8, t1, 100, repetition, 20, inversion) == pytest.approx(expected, abs=1e-3)


def test_without_waiting_inversion_is_minus_spin_echo() -> None:
    assert mri.inversion_recovery(1, 800, 80, 2000, 15, 0) == pytest.approx(-mri.spin_echo(1, 800, 80, 2000, 15))


@pytest.mark.parametrize("repetition", [3000.0, 9000.0, 1e7])
def test_silencing_time_silences(repetition: float) -> None:
    time = mri.silencing_time(2569, repetition)
    assert mri.inversion_recovery(1, 2569, 300, repetition, 100, time) == pytest.approx(0, abs=1e-6)


def test_silencing_time_tends_to_the_textbook_value() -> None:
    assert mri.silencing_time(1000, 1e6) == pytest.approx(693.147, rel=1e-5)


@pytest.mark.parametrize("field", [1.5, 3.0])
def test_order_of_tissues(field: float) -> None:
    def signal(name: str) -> np.ndarray:
        return mri.signals(TISSUES, mri.sequence(name, field, (1, 1, 1)), field)

    t1, t2, flair = signal("T1"), signal("T2"), signal("FLAIR")
    assert t1[WHITE] > t1[GREY] > t1[CSF]
    assert t2[CSF] > t2[GREY] > t2[WHITE]
    assert flair[GREY] > flair[WHITE] > 10 * abs(flair[CSF])


@pytest.mark.parametrize("field", [1.5, 3.0])
def test_contrast_agent_shortens_t1_where_the_barrier_leaks(field: float) -> None:
    plain = mri.signals(TISSUES, mri.sequence("T1", field, (1, 1, 1)), field)
    after = mri.signals(TISSUES, mri.sequence("T1ce", field, (1, 1, 1)), field)
    others = [i for i in range(len(TISSUES)) if i != ENHANCING]
    np.testing.assert_array_equal(after[others], plain[others])
    assert after[ENHANCING] > 1.4 * plain[ENHANCING] > plain[NECROSIS]
    rate = 1000 / TISSUES[ENHANCING].t1[field == 3.0] + mri.RELAXIVITY[field] * 0.45
    expected = TISSUES[ENHANCING].pd * (1 - math.exp(-0.55 * rate))
    expected *= math.exp(-14 / TISSUES[ENHANCING].t2[field == 3.0])
    assert after[ENHANCING] == pytest.approx(expected, rel=1e-5)


def test_rician_noise_in_air_is_rayleigh() -> None:
    sigma = 0.05
    air = mri.rician(np.zeros((400, 400), np.float32), sigma, numpy_generator(0, "rician"))
    assert air.mean() == pytest.approx(sigma * math.sqrt(math.pi / 2), rel=0.01)
    assert air.std() == pytest.approx(sigma * math.sqrt(2 - math.pi / 2), rel=0.02)


def test_rician_noise_on_strong_signal_is_gaussian() -> None:
    signal = mri.rician(np.ones((400, 400), np.float32), 0.05, numpy_generator(0, "rician"))
    assert signal.mean() == pytest.approx(1 + 0.05**2 / 2, abs=5e-4)
    assert signal.std() == pytest.approx(0.05, rel=0.02)


@pytest.mark.parametrize("shape", [(64, 64), (20, 30, 40)])
def test_sensitivity_is_smooth_and_as_strong_as_asked(shape: tuple[int, ...]) -> None:
    field = np.log(mri.sensitivity(shape, 0.1, numpy_generator(0, "coil")))
    assert field.shape == shape
    assert field.std() == pytest.approx(0.1, rel=1e-3)
    assert max(np.abs(np.diff(field, axis=axis)).max() for axis in range(len(shape))) < 0.06
