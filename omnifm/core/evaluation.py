"""What is evaluated: on which data, and at which point of a client's round."""

from __future__ import annotations

from typing import Literal

Split = Literal["validation", "test"]

EvaluationPoint = Literal["before_local_training", "after_local_training"]
"""Which model of a client is judged: *as received* (the shared weights under the client's own personal ones), or
*personalised* (after the algorithm's local epochs from there)."""

EVALUATION_POINTS: tuple[EvaluationPoint, ...] = ("before_local_training", "after_local_training")
