"""The Flower engine with secure aggregation: hospitals keep their uploads until they are summed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from omnifm.core.records import Broadcast, Upload
from omnifm.core.tensors import Tensors
from omnifm.engines.flower.audit_entry import sum_context
from omnifm.engines.flower.engine import FlowerEngine, Job
from omnifm.engines.flower.messages import Reply, Request
from omnifm.engines.flower.reply_checks import check_work
from omnifm.engines.flower.secure_aggregation.collector import SumCollector
from omnifm.engines.flower.secure_aggregation.exchange import SUM_STAGES
from omnifm.federation.loop import NO_MESSAGES, Messages
from omnifm.federation.secure_sum import Scale, SecureSum, SumLayout, Vector
from omnifm.utils.errors import RoundRefused

SUM_ATTEMPTS = 3
"""How often a sum is begun in a round. Once a masked vector has left for one, no other is possible."""


class SecureFlowerEngine(FlowerEngine):
    """Yields one upload a round: the sum over the hospitals that have trained and stayed until their vectors were sent.

    After the training, which is as without it, there are five short requests to each hospital. At least as many
    hospitals as the threshold are waited for where the engine waits for ``deploy.min_answers``.
    """

    def __init__(self, *arguments: Any, secure_sum: SecureSum, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._secure_sum = secure_sum
        self._scales: dict[int, Scale] = {}
        self._collector: SumCollector | None = None
        self.settings = replace(self.settings, min_answers=max(self.settings.min_answers, secure_sum.least(0)))

    def update(
        self, broadcast: Broadcast, clients: Sequence[str], messages: Messages = NO_MESSAGES
    ) -> Iterator[Upload]:
        """Train at the hospitals; yield the sum.

        Raises:
            RoundRefused: too few hospitals have stayed.
        """
        trained = dict(self._trained(broadcast, clients, messages))
        layout = SumLayout.of(self.arm.algorithm, broadcast)
        try:
            total, members = self._summed(broadcast, trained, layout.size)
            upload = layout.decode(total, len(members))
        finally:
            self._collector = None
            self._forget()
        for name in members:
            self._advance(name, trained[name])
        self.set_aside.counted(members)
        yield upload

    def _summed(self, broadcast: Broadcast, trained: Mapping[str, Reply], size: int) -> tuple[Vector, list[str]]:
        """Return the sum and its members; begin it again while no vector has left."""
        if len(trained) < (least := self._secure_sum.least(len(trained))):
            raise RoundRefused(f"{len(trained)} hospitals have trained, and a secure sum is over at least {least}")
        training = self._request(next(iter(trained)), broadcast.round, None, Job(train=True))
        context = sum_context(replace(training, broadcast=broadcast))
        for attempt in range(1, SUM_ATTEMPTS + 1):
            collector = SumCollector(context, broadcast.round, size, self._secure_sum.least)
            try:
                self._collector = collector
                self._collect(collector, broadcast, trained)
                return collector.total(), collector.members
            except RoundRefused as reason:
                if collector.members or attempt == SUM_ATTEMPTS:
                    raise
                self.events.log("sum", text=f"{reason}; it is begun again", arm=self.name, round=broadcast.round)
        raise AssertionError("unreachable")

    def _collect(self, collector: SumCollector, broadcast: Broadcast, trained: Collection[str]) -> None:
        for stage in SUM_STAGES:
            asked = collector.asked(stage, dict.fromkeys(trained))
            jobs = {name: Job(sum=collector.request(stage, name)) for name in asked if name not in self.set_aside}
            for _ in self._run_jobs(broadcast, NO_MESSAGES, jobs, 0):
                pass  # it was taken when it was checked
            collector.close(stage)

    def _request(self, name: str, number: int, message: Tensors | None, job: Job) -> Request:
        request = super()._request(name, number, message, job)
        return replace(request, scale=self._scale(number)) if job.train else request

    def _scale(self, number: int) -> Scale:
        """Return the scale of a round, the same for all hospitals even if one more joins in the meantime."""
        if number not in self._scales:
            self._scales = {number: Scale.of(self.arm.algorithm, self.samples.values(), self._secure_sum.checks)}
        return self._scales[number]

    def _check(self, name: str, reply: Reply, broadcast: Broadcast, messages: Messages, job: Job) -> None:
        if job.sum is not None:
            assert self._collector is not None
            self._collector.take(job.sum.stage, name, reply.sum, reply.masked)
            return
        stats = self.membership.client_stats[name]
        check_work(reply, stats=stats, task=self.arm.task, evaluations=job.evaluations, train=job.train, summed=True)
