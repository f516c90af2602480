"""What a contender has to do, and what it reports: ``python -m peers.CONTENDER WORKLOAD IMAGES ROUNDS``."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from peers.workloads import WORKLOADS, Images, Workload

PREFIX = "contender's result: "


class Contest:
    """One run of one contender: the workload, its images, the number of rounds, and the notes on each."""

    def __init__(self, workload: str, images: str, rounds: str) -> None:
        self.workload: Workload = WORKLOADS[workload]
        self.images = Images(self.workload, Path(images))
        self.rounds = int(rounds)
        self._ends: list[float] = []
        self._accuracies: list[float | None] = []

    @classmethod
    def from_arguments(cls) -> Contest:
        """Return the run of the command line."""
        return cls(*sys.argv[1:4])

    def round_done(self, accuracy: float | None) -> None:
        """Note that a round has ended, its evaluation included; None if nothing was evaluated."""
        self._ends.append(time.monotonic())
        self._accuracies.append(accuracy)

    def report(self) -> None:
        """Print the notes as one line: when each round ended, by the machine's monotonic clock, and the accuracies."""
        print(PREFIX + json.dumps({"ends": self._ends, "accuracies": self._accuracies}), flush=True)
