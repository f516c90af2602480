"""Hospitals that take part in a secure sum, without a network or any training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from omnifm.engines.flower.certificates import Identity, make_authority
from omnifm.engines.flower.secure_aggregation.collector import SumCollector
from omnifm.engines.flower.secure_aggregation.credentials import read_credentials, write_credentials
from omnifm.engines.flower.secure_aggregation.exchange import SUM_STAGES, SumRequest, SumStage
from omnifm.engines.flower.secure_aggregation.member import HeldUpload, SumMember, SumRefusedError
from omnifm.federation.secure_sum import Vector, least_in_sum

CONTEXT, SIZE = "c" * 64, 6
NAMES = ("A", "B", "C", "D", "E")


@lru_cache
def authority() -> Identity:
    return make_authority("tests")


class Hospitals:
    """Members whose vectors are such that no two sets of them have the same sum."""

    def __init__(self, folder: Path, names: tuple[str, ...] = NAMES, threshold: int = 3) -> None:
        self.threshold = threshold
        self.vectors = {name: vector_of(10**place) for place, name in enumerate(names)}
        self.members = {}
        for name in names:
            write_credentials(folder / name / "keys", name, authority())
            credentials = partial(read_credentials, folder / name / "keys", name)
            self.members[name] = SumMember(folder / name / "sums", credentials)
            self.hold(name)

    def hold(self, name: str, number: int = 1, context: str = CONTEXT) -> None:
        held = HeldUpload.of(self.vectors[name], round=number, context=context, threshold=self.threshold)
        self.members[name].hold(held)

    def collector(self, number: int = 1) -> SumCollector:
        return SumCollector(CONTEXT, number, SIZE, partial(least_in_sum, self.threshold))

    def expected(self, names: str) -> Vector:
        return np.sum([self.vectors[name] for name in names], axis=0, dtype=np.uint64)


def vector_of(number: int) -> Vector:
    return (np.arange(SIZE, dtype=np.int64) * number - 1).view(np.uint64)


Answers = dict[tuple[SumStage, str], Any]
"""By stage and hospital: the reply and the vector, or why there is none."""
Change = Callable[[str, SumRequest], SumRequest]


def collect(
    hospitals: Hospitals,
    collector: SumCollector,
    missing: Mapping[SumStage, str] | None = None,
    until: SumStage = "unmask",
    change: Change = lambda name, request: request,
) -> Answers:
    """Go through the stages, and end after one in which a hospital refuses; return answers or refusals.

    The hospitals ``missing`` do not answer from this stage on, and ``change`` is what becomes of a request.
    """
    answers: Answers = {}
    gone = set[str]()
    for stage in SUM_STAGES:
        gone |= set((missing or {}).get(stage, ""))
        requests = {
            name: change(name, collector.request(stage, name))
            for name in collector.asked(stage, hospitals.members)
            if name not in gone
        }
        for name, request in requests.items():
            try:
                reply, masked = hospitals.members[name].answer(request)
            except SumRefusedError as error:
                answers[stage, name] = str(error)
                continue
            answers[stage, name] = reply, masked
            collector.take(stage, name, reply, masked)
        if refusals(answers):
            break
        collector.close(stage)
        if stage == until:
            break
    return answers


def refusals(answers: Answers) -> dict[str, str]:
    return {name: answer for (_, name), answer in answers.items() if isinstance(answer, str)}
