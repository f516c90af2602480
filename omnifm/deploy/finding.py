"""What a check found: one line in plain words, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """``good``, a ``warning`` (it goes, but look at it) or ``bad`` (so it cannot go); with a remedy unless good."""

    severity: Literal["good", "warning", "bad"]
    subject: str
    text: str
    remedy: str = ""


def good(subject: str, text: str) -> Finding:
    """Return a finding that is as it should be."""
    return Finding("good", subject, text)


def warning(subject: str, text: str, remedy: str) -> Finding:
    """Return a finding that does not yet hinder."""
    return Finding("warning", subject, text, remedy)


def bad(subject: str, text: str, remedy: str) -> Finding:
    """Return a finding that hinders."""
    return Finding("bad", subject, text, remedy)
