from __future__ import annotations

import pytest

from omnifm.metrics.answers import FrequentAnswer, is_match, overlap, words


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The Right-upper lobe.", "right upper lobe"),
        ("a 5.6cm mass, (solid)", "5.6cm mass solid"),
        ("t2_weighted", "t2 weighted"),
        ("1,200 ml", "1,200 ml"),
        ("右肺", "右 肺"),
        ("A", "a"),
        ("?", "?"),
        ("", ""),
    ],
)
def test_normal_form(text: str, normal: str) -> None:
    assert " ".join(words(text)) == normal


def test_match() -> None:
    assert is_match("the X-ray", "x ray")
    assert not is_match("left", "right")
    assert not is_match("", "a")


def test_overlap_by_hand() -> None:
    # Common: right, lobe. Precision 2 of 3 words, recall 2 of 4.
    f1, recall = overlap("right lower lobe", "lobe of right liver")
    assert f1 == pytest.approx(2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4))
    assert recall == pytest.approx(2 / 4)
    assert overlap("left", "right") == (0.0, 0.0)
    assert overlap("", "right") == (0.0, 0.0)
    assert overlap("lobe lobe", "lobe") == pytest.approx((2 / 3, 1.0))


def test_the_most_frequent_answer_of_each_type() -> None:
    rule = FrequentAnswer(["no", "Yes.", "yes", "ct", "mri", "no", "no"], [0, 0, 0, 1, 1, 2, 2])
    assert [rule.answer(kind) for kind in (0, 1, 2)] == ["yes", "ct", "no"]
    assert rule.answer(7) == "no"
