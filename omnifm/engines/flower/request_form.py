"""What a request may look like at all, before anything is done with it or written down."""

from __future__ import annotations

import json
import re
from typing import Any

from omnifm.engines.flower.messages import Request

TEXT, DOCUMENT, DEPTH = 200, 100_000, 12
"""The longest name, the most characters of an experiment, and how deep it may be nested."""
LABELS, ANSWERS = 1000, 20_000
"""The most classes and the most answers to questions of a federation."""
_STATES = 100
_RUN, _DIGEST = re.compile(r"[0-9a-f]{32}"), re.compile(r"[0-9a-f]{64}")


def reject_form(request: Request) -> str:
    """Return why a request is none that a server of ours would send, or ""."""
    broadcast, digests = request.broadcast, (*request.keep, *([request.state] if request.state is not None else []))
    evaluations = request.evaluations
    if not 0 < len(request.arm) <= TEXT or not request.arm.isprintable():
        return f"The name of the arm must be one to {TEXT} printable characters."
    if not _RUN.fullmatch(request.run) and (broadcast is not None or request.sum is not None or request.run):
        return f"{request.run[:TEXT]!r} is not a valid run name."
    if not 0 <= request.issued < 2**63:
        return "The number of the request is not possible."
    if len(digests) > _STATES or not all(_DIGEST.fullmatch(digest) for digest in digests):
        return f"States are named by at most {_STATES} digests of 64 hex digits."
    if len(request.weights) > 64:
        return "Initial weights are named by a SHA-256 digest."
    for what, texts, most in (("labels", request.labels, LABELS), ("answers", request.vocabulary, ANSWERS)):
        if len(texts) > most or not all(0 < len(text) <= TEXT for text in texts):
            return f"At most {most} {what} of {TEXT} characters each are taken."
    if len(set(evaluations)) != len(evaluations):
        return "The same scores are asked for twice."
    if _too_deep(request.experiment) or len(json.dumps(request.experiment)) > DOCUMENT:
        return f"The experiment is longer than {DOCUMENT} characters, or nested deeper than {DEPTH} tables."
    if request.sum is not None and (broadcast is not None or evaluations or request.train):
        return "A stage of a secure sum is asked for together with other work."
    if broadcast is not None and not (type(broadcast.round) is int and 0 < broadcast.round < 2**31):
        return "The round is not a number from 1 on."
    return ""


def _too_deep(document: Any) -> bool:
    level = [document]
    for _ in range(DEPTH):
        inner = [place.values() if isinstance(place, dict) else place for place in level]
        level = [one for place in inner for one in place if isinstance(one, dict | list)]
    return bool(level)
