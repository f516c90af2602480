import pytest

import omnifm


@pytest.mark.parametrize("name", omnifm.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(omnifm, name).__name__ == name


def test_no_other_name_is() -> None:
    with pytest.raises(AttributeError, match="no attribute 'make_arms'"):
        _ = omnifm.make_arms
