from __future__ import annotations

import pytest

from omnifm.utils.words import joined


@pytest.mark.parametrize(
    ("names", "text"),
    [("a", "a"), ("ab", "a and b"), ("abc", "a, b and c"), ("abcd", "a, b and 2 others")],
)
def test_names_are_listed_up_to_a_limit(names: str, text: str) -> None:
    assert joined(names, 2) == text
    assert joined(names) == joined(names, 100)


def test_without_a_limit_all_are_named() -> None:
    assert joined("abcd") == "a, b, c and d"
