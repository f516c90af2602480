"""How well text answers match the truth, and the baseline that any answerer must beat.

Texts are compared in the normal form of SQuAD (Rajpurkar et al., EMNLP 2016): lower case, without punctuation and the
articles a, an, the. Unlike there, punctuation parts words ("ring-enhancing" is two), a point or comma between digits
stays, and each Chinese character is a word.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

_ARTICLES = frozenset(("a", "an", "the"))
_IDEOGRAPH = re.compile(r"([\u3400-\u9fff])")
_PUNCTUATION = re.compile(r"(?<!\d)[^\w\s]|[^\w\s](?!\d)|[^\w\s.,]|_")


def words(text: str) -> tuple[str, ...]:
    """Return the words of a text in normal form; of one that holds nothing else, its articles or signs."""
    spaced = _IDEOGRAPH.sub(r" \1 ", text.lower())
    found = tuple(_PUNCTUATION.sub(" ", spaced).split())
    return tuple(word for word in found if word not in _ARTICLES) or found or tuple(spaced.split())


def is_match(found: str, true: str) -> bool:
    """Return whether two answers are the same in normal form."""
    return words(found) == words(true)


def overlap(found: str, true: str) -> tuple[float, float]:
    """Return F1 and recall of the true answer's words, each counted as often as it occurs; 0 without a common one."""
    predicted, reference = words(found), words(true)
    common = sum((Counter(predicted) & Counter(reference)).values())
    if not common:
        return 0.0, 0.0
    recall, precision = common / len(reference), common / len(predicted)
    return 2 * precision * recall / (precision + recall), recall


class FrequentAnswer:
    """The rule that answers every question with the most frequent answer to training questions of its type.

    Answers count as one if their normal form is; of equally frequent ones the first in the alphabet is taken. A type
    that training lacks gets the most frequent answer of all.
    """

    def __init__(self, answers: Sequence[str], types: Sequence[int]) -> None:
        counts: dict[int | None, Counter[str]] = {None: Counter()}
        for answer, kind in zip(answers, types, strict=True):
            normal = " ".join(words(answer))
            counts[None][normal] += 1
            counts.setdefault(kind, Counter())[normal] += 1
        self._answer = {kind: min(count, key=lambda text: (-count[text], text)) for kind, count in counts.items()}

    def answer(self, kind: int) -> str:
        """Return the answer to a question of this type."""
        return self._answer.get(kind, self._answer[None])
