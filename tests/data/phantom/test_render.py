"""The same head through several scanners: what is known to be bright or dark is so, at the same place."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from omnifm.data.phantom import render
from omnifm.data.phantom.anatomy import Anatomy
from omnifm.data.phantom.patient import Truth, make_patient
from omnifm.data.phantom.scanner import MODALITIES, Scanner
from omnifm.data.phantom.tissues import LESION_CODES, TISSUE_CODES
from omnifm.utils.seeding import numpy_generator

CSF, WHITE, BONE = (TISSUE_CODES[name] for name in ("csf", "white", "bone"))
Image = np.ndarray


def ideal(modality: str) -> Scanner:
    return Scanner(modality, noise=0.0, fwhm=0.0, bias=0.0)


def shoot(truth: Truth, modality: str) -> Image:
    return render(truth, ideal(modality), numpy_generator(0, "shoot"))


@pytest.fixture(scope="module")
def sick(anatomy: Anatomy) -> Callable[[str], list[Truth]]:
    def make(kind: str) -> list[Truth]:
        return [make_patient(anatomy, kind, seed=4, name=f"p{i}").slice(96) for i in range(12)]

    return make


def healthy_white(truth: Truth) -> np.ndarray:
    return (truth.fractions[3] > 0.95) & (truth.lesion == 0)


@pytest.mark.parametrize("modality", MODALITIES)
def test_images_are_in_range_with_black_air(anatomy: Anatomy, modality: str) -> None:
    truth = make_patient(anatomy, "glioma", seed=1, name="a").slice(64)
    image = render(truth, Scanner.random(modality, seed=1, name="h"), numpy_generator(1, "a"))
    assert image.dtype == np.float32
    assert image.shape == (64, 64)
    assert 0 <= image.min() < 0.1
    assert image.max() <= 1
    assert image[:4, :4].mean() < 0.1 < image[truth.tissue == TISSUE_CODES["grey"]].mean()


def test_fluid(sick: Callable[[str], list[Truth]]) -> None:
    for truth in sick("healthy"):
        fluid, white = truth.fractions[1] > 0.95, healthy_white(truth)
        t1, t2, flair, ct = (shoot(truth, m) for m in ("T1", "T2", "FLAIR", "CT"))
        assert t2[fluid].mean() > 1.5 * t2[white].mean()
        assert flair[fluid].mean() < 0.3 * flair[white].mean()
        assert t1[fluid].mean() < t1[white].mean()
        assert ct[fluid].mean() < ct[white].mean()


def test_oedema_is_bright_in_t2_and_flair(sick: Callable[[str], list[Truth]]) -> None:
    for truth in sick("glioma"):
        oedema, white = truth.fractions[8] > 0.9, healthy_white(truth)
        if oedema.any():
            for modality in ("T2", "FLAIR"):
                image = shoot(truth, modality)
                assert image[oedema].mean() > 1.2 * image[white].mean()
            assert shoot(truth, "CT")[oedema].mean() < shoot(truth, "CT")[white].mean()


def test_rim_takes_up_contrast_agent(sick: Callable[[str], list[Truth]]) -> None:
    for truth in sick("glioma"):
        rim = truth.lesion == LESION_CODES["enhancing"]
        before, after = shoot(truth, "T1"), shoot(truth, "T1ce")
        assert after[rim].mean() > 1.2 * before[rim].mean()
        np.testing.assert_array_equal(after[truth.lesion == 0][:50], before[truth.lesion == 0][:50])


def test_blood_is_bright_in_ct_and_bone_is_brightest(sick: Callable[[str], list[Truth]]) -> None:
    for truth in sick("haemorrhage"):
        image = shoot(truth, "CT")
        blood, bone = truth.fractions[12] > 0.9, truth.fractions[4] > 0.9
        assert image[blood].mean() > image[healthy_white(truth)].mean() + 0.05
        assert (image[bone] == 1).all()


def test_infarct_takes_up_less(sick: Callable[[str], list[Truth]]) -> None:
    for truth in sick("infarct"):
        dead = truth.fractions[11] > 0.9
        for modality in ("PET", "SPECT"):
            image = shoot(truth, modality)
            assert image[dead].max() < image[truth.fractions[2] > 0.9].min()


def test_plaques_are_bright_in_t2(sick: Callable[[str], list[Truth]]) -> None:
    for truth in sick("ms"):
        image = shoot(truth, "T2")
        assert image[truth.lesion == LESION_CODES["plaque"]].mean() > 1.2 * image[healthy_white(truth)].mean()


def test_pixel_is_the_mean_signal_of_its_tissues(anatomy: Anatomy) -> None:
    """T2 by hand: sum over tissues of fraction times signal, over that of nominal fluid, times 0.85."""
    truth = make_patient(anatomy, "ms", seed=1, name="a").slice(32)
    signal = np.zeros((32, 32))
    for tissue, share in zip(truth.tissues, truth.fractions, strict=True):
        signal += share * tissue.pd * (1 - np.exp(-4500 / tissue.t1[0])) * np.exp(-95 / tissue.t2[0])
    fluid = (1 - np.exp(-4500 / 2569)) * np.exp(-95 / 329)
    np.testing.assert_allclose(shoot(truth, "T2"), np.clip(0.85 * signal / fluid, 0, 1), atol=1e-5)


def test_noise_has_the_strength_asked_for(anatomy: Anatomy) -> None:
    truth = make_patient(anatomy, "healthy", seed=1, name="a").slice(128)
    clean = shoot(truth, "CT")
    noisy = render(truth, replace(ideal("CT"), noise=4.0), numpy_generator(1, "noise"))
    inside = (clean > 0.3) & (clean < 0.7)
    assert (noisy - clean)[inside].std() == pytest.approx(4 / 80, rel=0.05)
    air = render(truth, replace(ideal("T2"), noise=0.02), numpy_generator(1, "noise"))[truth.fractions[0] == 1]
    assert air.mean() == pytest.approx(0.85 * 0.02 * np.sqrt(np.pi / 2), rel=0.03)


def test_same_generator_same_bits(anatomy: Anatomy) -> None:
    truth = make_patient(anatomy, "healthy", seed=1, name="a").slice(48)
    for modality in MODALITIES:
        scanner = Scanner.random(modality, seed=1, name="h")
        first, second, other = (render(truth, scanner, numpy_generator(s, "x")) for s in (1, 1, 2))
        np.testing.assert_array_equal(first, second)
        assert (first != other).any()


@pytest.mark.parametrize("modality", ["T2", "CT", "PET"])
def test_volumes_render_too(anatomy: Anatomy, modality: str) -> None:
    truth = make_patient(anatomy, "haemorrhage", seed=1, name="a").volume((24, 28, 28), spacing=8.0)
    image = render(truth, Scanner.random(modality, seed=1, name="h"), numpy_generator(1, "x"))
    assert image.shape == truth.lesion.shape == (24, 28, 28)
    assert np.isfinite(image).all()
