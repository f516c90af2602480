import pytest

from omnifm.data.phantom.scanner import MODALITIES, Scanner


def test_hospital_keeps_its_scanner() -> None:
    for modality in MODALITIES:
        assert Scanner.random(modality, seed=1, name="a") == Scanner.random(modality, seed=1, name="a")
        assert Scanner.random(modality, seed=1, name="a") != Scanner.random(modality, seed=1, name="b")
        assert Scanner.random(modality, seed=1, name="a") != Scanner.random(modality, seed=2, name="a")


def test_one_magnet_a_hospital() -> None:
    strengths = [{Scanner.random(m, seed=1, name=f"h{i}").field_strength for m in MODALITIES} for i in range(20)]
    assert all(len(each) == 1 for each in strengths)
    assert set.union(*strengths) == {1.5, 3.0}


def test_errors_say_what_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"unknown modality 'flair'. Did you mean 'FLAIR'\?"):
        Scanner("flair")
    with pytest.raises(ValueError, match="0 or more"):
        Scanner("T1", noise=-1)
    with pytest.raises(ValueError, match="more than 0"):
        Scanner("T1", field_of_view=0)
    with pytest.raises(ValueError, match="field_strength"):
        Scanner("T1", field_strength=7.0)
