"""What a check found: one line in plain words, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class CheckResult:
    """``good``, a ``warning`` (it goes, but look at it) or ``bad`` (so it cannot go); with a remedy unless good."""

    severity: Literal["good", "warning", "bad"]
    subject: str
    text: str
    remedy: str = ""


def good(subject: str, text: str) -> CheckResult:
    """Return a finding that is as it should be."""
    return CheckResult("good", subject, text)


def warning(subject: str, text: str, remedy: str) -> CheckResult:
    """Return a finding that does not yet hinder."""
    return CheckResult("warning", subject, text, remedy)


def bad(subject: str, text: str, remedy: str) -> CheckResult:
    """Return a finding that hinders."""
    return CheckResult("bad", subject, text, remedy)
