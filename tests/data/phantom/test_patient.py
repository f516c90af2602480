import numpy as np
import pytest

from omnifm.data.phantom.anatomy import Anatomy
from omnifm.data.phantom.lesions import LESION_KINDS
from omnifm.data.phantom.patient import make_patient
from omnifm.data.phantom.tissues import LESION_CODES, TISSUE_CODES

ILL = [kind for kind in LESION_KINDS if kind != "healthy"]
CODES = {"glioma": {1, 2, 4}, "infarct": {5}, "haemorrhage": {2, 6}, "ms": {7}}


def test_same_name_same_bits(anatomy: Anatomy) -> None:
    first, second = (make_patient(anatomy, "glioma", seed=3, name="a").slice(48) for _ in range(2))
    np.testing.assert_array_equal(first.fractions, second.fractions)
    np.testing.assert_array_equal(first.lesion, second.lesion)
    assert first.tissues == second.tissues


def test_other_name_or_seed_is_another_person(anatomy: Anatomy) -> None:
    one = make_patient(anatomy, "healthy", seed=3, name="a").slice(48).fractions
    for seed, name in ((4, "a"), (3, "b")):
        assert np.abs(make_patient(anatomy, "healthy", seed=seed, name=name).slice(48).fractions - one).max() > 0.5


def test_fractions_sum_to_one(anatomy: Anatomy) -> None:
    for kind in LESION_KINDS:
        fractions = make_patient(anatomy, kind, seed=1, name="a").slice(48).fractions
        assert fractions.min() > -1e-6
        np.testing.assert_allclose(fractions.sum(0), 1, atol=1e-4)


@pytest.mark.parametrize("kind", ILL)
def test_lesion_is_in_sight_and_in_the_brain(anatomy: Anatomy, kind: str) -> None:
    seen: set[int] = set()
    for index in range(40):
        truth = make_patient(anatomy, kind, seed=8, name=f"p{index}").slice(64)
        sick = truth.lesion > 0
        seen |= set(np.unique(truth.lesion[sick]).tolist())
        assert sick.any()
        brain = [TISSUE_CODES[name] for name in ("csf", "grey", "white")]
        assert np.isin(truth.tissue[sick], brain).all()
    assert seen == CODES[kind] <= set(LESION_CODES.values())


def test_healthy_has_no_lesion(anatomy: Anatomy) -> None:
    for index in range(10):
        assert not make_patient(anatomy, "healthy", seed=8, name=f"p{index}").slice(48).lesion.any()


def test_the_level_does_not_tell_the_disease(anatomy: Anatomy) -> None:
    means = [
        np.mean([make_patient(anatomy, kind, seed=2, name=f"p{i}").level for i in range(60)]) for kind in LESION_KINDS
    ]
    assert max(means) - min(means) < 9  # the deviation of one patient is 14 mm, of such a mean 2 mm


def test_skull_and_scalp_surround_the_brain(anatomy: Anatomy) -> None:
    """Walk from the middle of the image outwards, in every direction: brain, bone, scalp, air."""
    tissue = make_patient(anatomy, "healthy", seed=1, name="a").slice(256, field_of_view=256).tissue
    for angle in np.linspace(0, 2 * np.pi, 60):
        radius = np.arange(0, 127)
        ray = tissue[(128 + radius * np.sin(angle)).astype(int), (128 + radius * np.cos(angle)).astype(int)]
        bone, scalp = (
            np.flatnonzero(ray == TISSUE_CODES["bone"]),
            np.flatnonzero(ray == TISSUE_CODES["scalp"]),
        )
        assert 0 < ray[: bone[0]].min() <= ray[: bone[0]].max() <= TISSUE_CODES["white"]
        assert bone[-1] < scalp[0]
        assert 3 <= len(bone) <= 20
        assert 2 <= len(scalp) <= 20
        assert (ray[scalp[-1] + 1 :] == TISSUE_CODES["air"]).all()
        assert ray[-1] == TISSUE_CODES["air"]


def test_volume_holds_the_slice(anatomy: Anatomy) -> None:
    patient = make_patient(anatomy, "glioma", seed=1, name="a")
    volume = patient.volume((9, 40, 40), spacing=5.5, centre=patient.level)
    middle = patient.slice(40, field_of_view=220, fine=1)
    assert volume.fractions.shape == (14, 9, 40, 40)
    assert volume.spacing == (5.5, 5.5, 5.5)
    np.testing.assert_allclose(volume.fractions[:, 4], middle.fractions, atol=1e-5)
    np.testing.assert_array_equal(volume.lesion[4], middle.lesion)
    above = patient.slice(40, field_of_view=220, fine=1, level=patient.level + 5.5)
    np.testing.assert_allclose(volume.fractions[:, 5], above.fractions, atol=1e-4)


def test_finer_points_average(anatomy: Anatomy) -> None:
    patient = make_patient(anatomy, "healthy", seed=1, name="a")
    fine = patient.slice(96, fine=1).fractions
    blocks = fine.reshape(14, 48, 2, 48, 2).mean((2, 4))
    np.testing.assert_allclose(patient.slice(48, fine=2).fractions, blocks, atol=1e-5)


def test_unknown_kind_suggests(anatomy: Anatomy) -> None:
    with pytest.raises(ValueError, match=r"Did you mean 'glioma'\?"):
        make_patient(anatomy, "gliom", seed=0, name="a")
