from importlib.metadata import version

import pytest

import omnifm

NAMES: list[str] = vars(omnifm)["__all__"]

OTHERS = {"Batch", "EVALUATION_POINTS", "__version__", "testing"}
"""Public names of what has no name of its own."""


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_there(name: str) -> None:
    found = getattr(omnifm, name)
    assert name in OTHERS or found.__name__ == name


def test_all_of_them_are_listed() -> None:
    assert {"run", "resume", "compare", "load", "testing", "Task", "Callback"} <= set(NAMES)
    assert set(NAMES) <= set(dir(omnifm))
    assert omnifm.__version__ == version("omnifm")


def test_no_other_name_is() -> None:
    with pytest.raises(AttributeError, match="No omnifm attribute make_arms"):
        _ = getattr(omnifm, "make_arms")  # noqa: B009 - it is not there
