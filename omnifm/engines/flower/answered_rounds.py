"""Which rounds a hospital has answered: it answers each for one model only, and so many a day."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from omnifm.utils.atomic_write import append_flushed, write_atomically
from omnifm.utils.errors import DeploymentError
from omnifm.utils.lock import exclusively

_Round = tuple[str, str, int, str, float]
"""Run, arm, round, the digest of what was asked, and the time in seconds since 1970."""
_DAY, _AHEAD = 24 * 3600.0, 300.0
_Rounds = TypeAdapter(list[_Round])
_log = logging.getLogger("omnifm")


@dataclass(frozen=True)
class AnsweredRounds:
    """A file with a line for every round that was answered: run, arm, round, a digest of what was asked, and the time.

    It is written anew when half of its lines are no longer needed.
    """

    path: Path

    def claim(
        self, run: str, arm: str, number: int, digest: str, *, a_day: int, models: int, kept: Collection[str]
    ) -> str:
        """Return why this round may not be answered, or write down that it is, and return "".

        The same request again is no further round. ``a_day`` is how many there may be within 24 hours (0: any number);
        ``models`` for how many models or experiments one round is answered; ``kept`` are the runs of which states are
        kept: older rounds of others are forgotten.

        Raises:
            DeploymentError: the file is damaged; it is not passed over, since nothing would be bounded then.
            OSError: it cannot be read or written.
        """
        with exclusively(self.path.with_suffix(".lock")):
            now = time.time()
            rounds = self._read(now)
            before = {asked for *key, asked, _ in rounds if key == [run, arm, number]}
            if digest in before:
                return ""
            if len(before) >= models:
                return f"Round {number} was answered before, for another model: policy.models_a_round = {models}."
            today = sum(at > now - _DAY for *_, at in rounds)
            if 0 < a_day <= today:
                return f"{today} rounds were answered within 24 hours: policy.rounds_a_day = {a_day}."
            current = {*kept, run}
            needed = [one for one in rounds if one[-1] > now - _DAY or one[0] in current]
            claimed = (run, arm, number, digest, now)
            if 2 * len(needed) <= len(rounds):
                self._write([*needed, claimed])
            else:
                append_flushed(self.path, _line(claimed))
            return ""

    def _read(self, now: float) -> list[_Round]:
        """Return the rounds. What is dated in the future, since the clock was wrong, counts as of now.

        A last line that is cut short is that of a round which was not answered: the power went while it was written.
        """
        try:
            *lines, cut_short = self.path.read_bytes().split(b"\n")
            rounds = _Rounds.validate_json(b"[" + b",".join(lines) + b"]")
        except FileNotFoundError:
            return []
        except ValueError:
            rounds = []
        if not rounds:
            raise DeploymentError(
                f"{self.path} is damaged, and without it nobody knows how many rounds were answered today. Remove it, "
                "if it may start anew."
            )
        if cut_short:
            self._write(rounds)
        if ahead := sum(one[-1] > now + _AHEAD for one in rounds):
            _log.warning("%s: %d rounds are dated in the future; they count as of now.", self.path, ahead)
            rounds = [(*one[:-1], min(one[-1], now)) for one in rounds]
            self._write(rounds)
        return rounds

    def _write(self, rounds: list[_Round]) -> None:
        write_atomically(self.path, b"".join(map(_line, rounds)))


def _line(one: _Round) -> bytes:
    return json.dumps(one).encode() + b"\n"
