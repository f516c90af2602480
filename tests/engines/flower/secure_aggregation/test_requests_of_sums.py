"""Requests of secure sums to a hospital: what was trained stays there, and no other way out is open."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from visit import RUN, Visit

from omnifm.config.experiment import ChecksSettings
from omnifm.core.records import Broadcast
from omnifm.engines.flower.certificates import make_authority
from omnifm.engines.flower.secure_aggregation.credentials import write_credentials
from omnifm.engines.flower.secure_aggregation.exchange import SumRequest
from omnifm.federation.secure_sum import Scale
from omnifm.privacy.settings import PrivacySettings

KEYS = SumRequest("keys", 1, "n" * 32)
SCALE = Scale(2**31 - 1, 12.0)


class SummedVisit(Visit):
    """A hospital that demands secure sums, with one broadcast for it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "fedavg", secure_aggregation="required")
        write_credentials(folder / "CT", "CT", make_authority("tests"))
        open_policy = replace(self.hospital.policy, secure_aggregation="allowed")
        demanding, self.hospital = self.hospital, replace(self.hospital, policy=open_policy)
        self.sent: Broadcast = self.broadcast()
        self.hospital = demanding
        summed = {"privacy": PrivacySettings(secure_aggregation=True), "checks": ChecksSettings(max_norm=0.0)}
        self.experiment = replace(self.experiment, **summed)  # type: ignore[arg-type]


@pytest.fixture
def visit(tmp_path: Path) -> SummedVisit:
    return SummedVisit(tmp_path)


def test_the_upload_stays_until_it_is_summed(visit: SummedVisit) -> None:
    reply = visit.ask(broadcast=visit.sent, train=True, scale=SCALE)
    assert (reply.outcome, reply.upload, reply.masked) == ("done", None, None)
    line = visit.audit_log[-1]
    assert (line["trained"], line["sent"], list(line["held"])) == (True, {}, ["weights"])
    reply = visit.ask(sum=KEYS)
    assert reply.sum is not None
    assert reply.sum.advertisement.client == "CT"
    assert (visit.audit_log[-1]["stage"], visit.audit_log[-1]["round"]) == ("keys", 1)
    assert visit.ask(sum=KEYS).sum == reply.sum


def test_without_a_scale_it_does_not_train_for_a_sum(visit: SummedVisit) -> None:
    assert "by what the weights" in visit.ask(broadcast=visit.sent, train=True).reason


def test_a_sum_of_nothing_is_refused(visit: SummedVisit) -> None:
    assert "nothing was trained for it" in visit.ask(sum=KEYS).reason
    visit.ask(broadcast=visit.sent, train=True, scale=SCALE)
    assert "round 1 was trained last, and not 2" in visit.ask(sum=replace(KEYS, round=2)).reason
    assert "nothing was trained for it" in visit.ask(sum=KEYS, arm="another").reason


def test_an_algorithm_that_pools_all_data_is_no_way_around_it(visit: SummedVisit) -> None:
    visit.experiment = replace(visit.experiment, algorithm="centralised")
    reply = visit.ask(broadcast=visit.sent, train=True, scale=SCALE)
    assert (reply.outcome, reply.upload) == ("refused", None)
    assert "'centralised' pools all data, of which there is no secure sum" in reply.reason


def test_odd_requests_are_refused(visit: SummedVisit) -> None:
    assert "together with other work" in visit.ask(sum=KEYS, broadcast=visit.sent).reason
    assert "together with other work" in visit.ask(sum=KEYS, train=True).reason
    assert "is not a valid run name" in visit.ask(sum=KEYS, run="").reason
    assert "is not a valid run name" in visit.ask(sum=KEYS, run="../" + RUN[3:]).reason
    assert "no text in it is longer than" in visit.ask(sum=replace(KEYS, number="n" * 20_000)).reason
    assert "older than one that was answered" in visit.ask(sum=KEYS, issued=0).reason
