from __future__ import annotations

import time
from pathlib import Path

import pytest

from omnifm.data import patients
from omnifm.data.patients import patient_in, patient_of
from omnifm.utils.errors import DataError


def test_the_group_is_the_patient() -> None:
    assert patient_of(Path("/set/ill/p07-2.png"), Path("/set"), r"/(p\d+)-") == "p07"
    assert patient_of(Path("/set/ill/p07-2.png"), Path("/set"), "") == "ill/p07-2.png"


def test_a_pattern_that_tries_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patients, "PATTERN_SECONDS", 0.2)
    begun = time.monotonic()
    with pytest.raises(DataError, match=r"^set: patient_pattern = .* was tried for 0\.2 s .* a repetition within"):
        patient_in("a" * 60 + "!", r"((?:a|aa|b?a)+)$", Path("set"))
    assert time.monotonic() - begun < 5


def test_the_pattern_of_the_report_ends() -> None:
    begun = time.monotonic()
    with pytest.raises(DataError, match="patient_pattern"):
        patient_in("a" * 60 + "!", r"((?:a+)+)$", Path("set"))
    assert time.monotonic() - begun < 5
