"""What of a hospital's reply is checked before anything of it is used, so that no reply can end a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from omnifm.algorithms.validation import MOST_SAMPLES, is_number
from omnifm.data.client_stats import ClientStats
from omnifm.engines.flower.messages import ClientProperties, EvaluationResult, Reply
from omnifm.engines.flower.request_form import ANSWERS, LABELS, TEXT
from omnifm.tasks.task import Task

MOST_LABELS, MOST_ANSWERS = LABELS, ANSWERS // 2
"""The most classes and the most answers to questions that one hospital can name."""
MOST_METRICS = 1000
_LONGEST_NAME, _LONGEST_ANSWER, _MOST_ENTRIES, _LONGEST_SIDE = 64, 1000, 16, 100_000

T = TypeVar("T")


class InvalidReplyError(Exception):
    """The reply does not count; says why."""


def checked_reply(work: Callable[[], T]) -> T:
    """Return the result of work on a reply: the boundary that no error of a reply passes.

    Raises:
        InvalidReplyError: it went wrong, in whatever way; says how, in at most a few hundred characters.
    """
    try:
        return work()
    except InvalidReplyError:
        raise
    except Exception as error:
        text = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise InvalidReplyError(text[:500]) from None


def read_reply(payload: bytes) -> Reply:
    """Read a reply, and check what all replies have.

    Raises:
        InvalidReplyError: it is none, or a part of it is longer than any of ours.
    """
    reply = checked_reply(lambda: Reply.from_bytes(payload))
    _expect(len(reply.client) <= _LONGEST_NAME, f"a name of {len(reply.client)} characters")
    _expect(len(reply.seconds) <= _MOST_ENTRIES, f"{len(reply.seconds)} measurements of time")
    _expect(all(len(what) <= _LONGEST_NAME and is_number(value) for what, value in reply.seconds.items()), "odd times")
    _expect(reply.state is None or len(reply.state) <= _LONGEST_NAME, "a state that is no digest")
    return reply


def check_properties(properties: ClientProperties) -> None:
    """Check how a hospital introduces itself.

    Raises:
        InvalidReplyError: a number is impossible, or a name or list is too long.
    """
    stats, shape = properties.stats, properties.shape
    counts = (stats.train, stats.validation, stats.test)
    _expect(all(0 <= count <= MOST_SAMPLES for count in counts) and stats.train > 0, f"{counts} examples")
    _expect(0 < len(stats.name) <= _LONGEST_NAME and len(stats.group) <= _LONGEST_ANSWER, "a name that is too long")
    _expect(len(shape.label_names) <= MOST_LABELS, f"{len(shape.label_names)} classes; at most {MOST_LABELS} can be")
    _expect(len(shape.vocabulary) <= MOST_ANSWERS, f"{len(shape.vocabulary)} answers; at most {MOST_ANSWERS} can be")
    texts = (*shape.label_names, *shape.vocabulary)
    _expect(all(0 < len(text) <= TEXT for text in texts), f"a class or an answer not of 1 to {TEXT} characters")
    sides = (*shape.size, shape.channels, properties.channels, properties.axes)
    _expect(len(shape.size) in (2, 3) and all(0 < side <= _LONGEST_SIDE for side in sides), f"images of {sides}")
    versions = properties.versions
    fits = len(versions) <= _MOST_ENTRIES and all(
        len(text) <= _LONGEST_NAME for text in (*versions, *versions.values())
    )
    _expect(fits, "odd versions")


def check_work(
    reply: Reply, *, stats: ClientStats, task: Task, evaluations: Sequence[object], train: bool, summed: bool = False
) -> None:
    """Check that a reply answers what was asked, with possible scores and numbers of samples.

    ``summed`` is whether an upload stays at the hospital until it is summed.

    Raises:
        InvalidReplyError: it does not; says in what.
    """
    _expect([(one.split, one.point) for one in reply.evaluations] == list(evaluations), "other scores than requested")
    for one in reply.evaluations:
        check_scores(one, task)
    upload = reply.upload
    if summed:
        _expect(upload is None, "its upload was not to leave by itself")
    else:
        _expect((upload is not None) == train, "it has not trained" if train else "it was not asked to train")
    if upload is None:
        return
    _expect(upload.client == stats.name, f"its upload is signed {upload.client!r:.80}")
    _expect(type(upload.samples) is int, f"{upload.samples!r:.80} samples")
    _expect(upload.samples <= stats.train, f"{upload.samples} samples, more than the {stats.train} that it has")
    group = upload.notes.get("group", stats.group) if isinstance(upload.notes, dict) else stats.group
    _expect(group == stats.group, f"its group is {group!r:.80} and not {stats.group!r} any more")


def check_scores(result: EvaluationResult, task: Task) -> None:
    """Check scores against what the task can measure.

    Raises:
        InvalidReplyError: a score is impossible, or a table not of this task.
    """
    numbers, (low, high) = result.numbers, task.score_range
    _expect(len(numbers) <= MOST_METRICS and all(len(name) <= _LONGEST_ANSWER for name in numbers), "too many scores")
    score = numbers.get(task.main_metric, low)
    _expect(low <= score <= high, f"{task.main_metric} {score} is not between {low:g} and {high:g}")
    shapes = task.table_shapes
    for name, table in result.tables.items():
        _expect(name in shapes, f"an unknown table {name!r:.80}")
        values = checked_reply(lambda table=table: np.array(table))  # type: ignore[misc]
        fits = values.shape == shapes[name] and values.dtype.kind in "iu" and values.min(initial=0) >= 0
        _expect(fits, f"the table {name!r} holds no counts of {' x '.join(map(str, shapes[name]))} classes")


def _expect(fits: bool, otherwise: str) -> None:
    if not fits:
        raise InvalidReplyError(otherwise)
