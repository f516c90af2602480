from __future__ import annotations

from dataclasses import dataclass

import pytest

from omnifm.utils.registration import class_decorator


def test_a_class_becomes_known_under_its_name_once() -> None:
    known: dict[str, type] = {}

    @class_decorator(known, "mine", "Thing")
    @dataclass(frozen=True)
    class Mine:
        pass

    assert known == {"mine": Mine}
    with pytest.raises(ValueError, match="Thing 'mine' exists already"):
        class_decorator(known, "mine", "Thing")(Mine)


def test_it_must_be_a_dataclass() -> None:
    known: dict[str, type] = {}

    class Plain:
        pass

    with pytest.raises(ValueError, match=r"Plain must be a dataclass: put @dataclass directly above it"):
        class_decorator(known, "plain", "Thing")(Plain)
    assert known == {}
