from __future__ import annotations

import pytest

from omnifm.utils.words import duration, joined


@pytest.mark.parametrize(
    ("names", "text"),
    [("a", "a"), ("ab", "a and b"), ("abc", "a, b and c"), ("abcd", "a, b and 2 others")],
)
def test_names_are_listed_up_to_a_limit(names: str, text: str) -> None:
    assert joined(names, 2) == text
    assert joined(names) == joined(names, 100)


def test_without_a_limit_all_are_named() -> None:
    assert joined("abcd") == "a, b, c and d"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (45, "45 s"), (99, "99 s"), (720, "12 min"), (12_000, "3 h 20 min"), (345_600, "4 days")],
)
def test_times(seconds: float, text: str) -> None:
    assert duration(seconds) == text
