"""A secure sum: what the server gets if hospitals leave, and what it does not get whatever it asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from federation_of_sums import CONTEXT, NAMES, Hospitals, collect, refusals

from omnifm.engines.flower.certificates import make_authority
from omnifm.engines.flower.secure_aggregation.collector import SumCollector
from omnifm.engines.flower.secure_aggregation.credentials import write_credentials
from omnifm.engines.flower.secure_aggregation.exchange import Advertisement, SumReply, SumRequest, SumStage
from omnifm.engines.flower.secure_aggregation.member import SumRefusedError
from omnifm.utils.errors import RoundRefused


@pytest.fixture
def hospitals(tmp_path: Path) -> Hospitals:
    return Hospitals(tmp_path)


def test_the_sum_is_exact_and_no_vector_is_seen(hospitals: Hospitals) -> None:
    collector = hospitals.collector()
    answers = collect(hospitals, collector)
    assert np.array_equal(collector.total(), hospitals.expected("ABCDE"))
    for name in NAMES:
        masked = answers["vector", name][1].vector
        assert not np.any(masked == hospitals.vectors[name])
    seen = [answers["vector", name][1].vector for name in NAMES]
    together = np.sum(seen, axis=0, dtype=np.uint64)  # pairwise masks cancel out; each hospital's own does not
    assert not np.any(together == hospitals.expected("ABCDE"))


@pytest.mark.parametrize(
    ("missing", "left"),
    [
        ({"keys": "E"}, "ABCD"),
        ({"shares": "E"}, "ABCD"),
        ({"vector": "E"}, "ABCD"),
        ({"confirm": "E"}, "ABCDE"),
        ({"unmask": "E"}, "ABCDE"),
        ({"keys": "A", "vector": "C"}, "BDE"),
        ({"vector": "B", "unmask": ""}, "ACDE"),
    ],
)
def test_hospitals_may_leave_at_every_stage(hospitals: Hospitals, missing: dict[SumStage, str], left: str) -> None:
    collector = hospitals.collector()
    collect(hospitals, collector, missing)
    assert collector.members == list(left)
    assert np.array_equal(collector.total(), hospitals.expected(left))


@pytest.mark.parametrize("stage", ["shares", "vector", "confirm", "unmask"])
def test_below_the_threshold_there_is_no_sum(hospitals: Hospitals, stage: SumStage) -> None:
    collector = hospitals.collector()
    with pytest.raises(RoundRefused, match=f"3 hospitals have answered the stage '{stage}' .* takes 4"):
        collect(hospitals, collector, {stage: "BD"})


def test_shares_below_the_threshold_open_nothing(hospitals: Hospitals) -> None:
    collector = hospitals.collector()
    with pytest.raises(RoundRefused):
        collect(hospitals, collector, {"unmask": "BD"})
    with pytest.raises(RoundRefused, match="the seed of A do not fit"):
        collector.total()


def test_two_hospitals_are_too_few(tmp_path: Path) -> None:
    two = Hospitals(tmp_path, ("A", "B"))
    collector = SumCollector(CONTEXT, 1, 6, lambda clients: 2)  # a server that would be content
    assert "2 hospitals are fewer than the 3" in refusals(collect(two, collector))["A"]


def test_other_weights_for_one_hospital_are_noticed(hospitals: Hospitals) -> None:
    hospitals.hold("C", context="d" * 64)  # it was sent something else, which the server knows
    collector = hospitals.collector()
    with pytest.raises(ValueError, match="not signed for this sum"):
        collect(hospitals, collector)
    collector._take_keys = lambda client, shown: collector._keys.__setitem__(client, shown)  # type: ignore
    told = refusals(collect(hospitals, collector))
    assert told.keys() == set(NAMES)
    assert "it was sent other weights" in told["A"]


def test_a_stranger_is_noticed(hospitals: Hospitals, tmp_path: Path) -> None:
    write_credentials(tmp_path / "E/keys", "E", make_authority("the server's own"))
    told = refusals(collect(hospitals, hospitals.collector()))
    assert "the certificate of 'E' is not by the deployment's authority" in told["A"]


def changed_key(request: SumRequest, **changes: str) -> SumRequest:
    first: Advertisement = request.keys[1]
    return replace(request, keys=(request.keys[0], replace(first, **changes), *request.keys[2:]))


@pytest.mark.parametrize(
    ("stage", "change", "reason"),
    [
        ("shares", lambda r: changed_key(r, masking="0" * 64), "not signed for this sum"),
        ("shares", lambda r: changed_key(r, encryption="ab" * 32), "not signed for this sum"),
        ("shares", lambda r: changed_key(r, client="F"), "not that of the hospital 'F'"),
        ("shares", lambda r: replace(r, keys=r.keys[:2]), "2 hospitals are fewer than the 3"),
        ("shares", lambda r: replace(r, keys=r.keys[1:]), "this one is not named"),
        ("shares", lambda r: replace(r, keys=(*r.keys, r.keys[1])), "named twice"),
        ("vector", lambda r: replace(r, shares=dict(list(r.shares.items())[:2])), "3 hospitals are fewer than the 4"),
        ("vector", lambda r: replace(r, shares={**r.shares, "F": "00"}), "have shown no keys"),
        ("vector", lambda r: replace(r, shares={**r.shares, "B": r.shares["C"]}), "is for somebody else"),
        ("confirm", lambda r: replace(r, survivors=("A", "B", "C")), "3 hospitals are fewer than 4"),
        ("confirm", lambda r: replace(r, survivors=("B", "C", "D", "E")), "this hospital is not in the sum"),
        ("confirm", lambda r: replace(r, survivors=("A", "B", "C", "D", "D")), "twice"),
        ("unmask", lambda r: replace(r, signatures=dict(list(r.signatures.items())[:3])), "3 hospitals have confirmed"),
        ("unmask", lambda r: replace(r, signatures={**r.signatures, "B": r.signatures["C"]}), "'B' has not confirmed"),
        ("unmask", lambda r: replace(r, signatures={**r.signatures, "F": "00"}), "'F' has not confirmed"),
    ],
)
def test_what_a_server_must_not_ask(
    hospitals: Hospitals, stage: SumStage, change: Callable[[SumRequest], SumRequest], reason: str
) -> None:
    def asked(name: str, request: SumRequest) -> SumRequest:
        return change(request) if name == "A" and request.stage == stage else request

    told = refusals(collect(hospitals, hospitals.collector(), change=asked))
    assert reason in told["A"]


def test_different_lists_of_survivors_open_nothing(hospitals: Hospitals) -> None:
    # What shares of A's seed and of its masking key together would give: its vector.
    collector = hospitals.collector()

    def told(name: str, request: SumRequest) -> SumRequest:
        if request.stage != "confirm" or name in "ABC":
            return request
        return replace(request, survivors=tuple(one for one in request.survivors if one != "A"))

    reasons = refusals(collect(hospitals, collector, change=told))
    assert reasons.keys() == set(NAMES)
    assert all("has not confirmed the same list" in reason for reason in reasons.values())


def test_a_stage_is_answered_once_and_the_same_again(hospitals: Hospitals) -> None:
    collector = hospitals.collector()
    answers = collect(hospitals, collector)
    member = hospitals.members["A"]
    stages: tuple[SumStage, ...] = ("keys", "shares", "unmask")
    for stage in stages:
        assert member.answer(collector.request(stage, "A")) == answers[stage, "A"]
    again = member.answer(collector.request("vector", "A"))[1]
    assert np.array_equal(again.vector, answers["vector", "A"][1].vector)
    others = (
        replace(collector.request("vector", "A"), shares={}),
        replace(collector.request("confirm", "A"), survivors=("A", "B", "C", "D")),
    )
    for other in others:
        with pytest.raises(SumRefusedError, match=f"'{other.stage}' was answered before, for another request"):
            member.answer(other)


def test_a_round_has_one_masked_vector(hospitals: Hospitals) -> None:
    first = hospitals.collector()
    collect(hospitals, first, until="shares")
    second = hospitals.collector()
    collect(hospitals, second, until="vector")  # no vector had left for the first
    for name in NAMES:
        hospitals.hold(name)  # trained again
    told = refusals(collect(hospitals, hospitals.collector()))
    assert told.keys() == set(NAMES)
    assert "a masked vector of round 1 has left before" in told["A"]
    for name in NAMES:
        hospitals.hold(name, 2)
    fourth = hospitals.collector(2)
    collect(hospitals, fourth)
    for name in NAMES:
        hospitals.hold(name, 1)
    with pytest.raises(SumRefusedError, match="a masked vector of round 1 has left before"):
        hospitals.members["A"].answer(hospitals.collector(1).request("keys", "A"))


def test_stages_come_in_order_and_after_training(hospitals: Hospitals) -> None:
    member, collector = hospitals.members["A"], hospitals.collector()
    with pytest.raises(SumRefusedError, match="round 1 was trained last, and not 2"):
        member.answer(hospitals.collector(2).request("keys", "A"))
    with pytest.raises(SumRefusedError, match="not the sum that was begun last"):
        member.answer(collector.request("shares", "A"))
    member.answer(collector.request("keys", "A"))
    for stage in ("vector", "confirm", "unmask"):
        with pytest.raises(SumRefusedError, match="comes after the others"):
            member.answer(replace(collector.request("keys", "A"), stage=stage))


def test_what_a_hospital_keeps_is_its_own(hospitals: Hospitals, tmp_path: Path) -> None:
    collect(hospitals, hospitals.collector())
    kept = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "A/sums").iterdir() if path.name != "lock"}
    assert kept == dict.fromkeys(("held", "sum.json", "sent.json"), 0o600)
    (tmp_path / "A/sums/sum.json").write_text('{"seed": "a secret"}')
    with pytest.raises(SumRefusedError, match="is damaged") as refused:
        hospitals.members["A"].answer(hospitals.collector().request("keys", "A"))
    assert "a secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("stage", "spoil", "reason"),
    [
        (
            "keys",
            lambda r, m: (replace(r, advertisement=replace(r.advertisement, client="B")), m),
            "no keys of its own",
        ),
        ("keys", lambda r, m: (replace(r, advertisement=replace(r.advertisement, masking="")), m), "not signed"),
        ("shares", lambda r, m: (replace(r, shares={}), m), "with every other hospital"),
        ("shares", lambda r, m: (replace(r, shares=dict.fromkeys(r.shares, "00")), m), "1 bytes in place of 92"),
        ("vector", lambda r, m: (r, None), "does not answer"),
        ("vector", lambda r, m: (r, type(m).of(np.zeros(3, np.uint64))), "not of 6 integers"),
        ("vector", lambda r, m: (r, type(m)({"sum": torch.zeros(6)})), "no vector of integers"),
        ("unmask", lambda r, m: (replace(r, seeds={}), m), "has not given its shares"),
        ("unmask", lambda r, m: (None, None), "does not answer"),
    ],
)
def test_an_odd_answer_does_not_count(
    hospitals: Hospitals, stage: SumStage, spoil: Callable[..., tuple[SumReply | None, object]], reason: str
) -> None:
    collector = hospitals.collector()
    take, told = collector.take, list[str]()

    def taking(now: SumStage, name: str, reply: SumReply | None, masked: object) -> None:
        if (now, name) == (stage, "A"):
            reply, masked = spoil(reply, masked)
        try:
            take(now, name, reply, masked)  # type: ignore[arg-type]
        except ValueError as error:
            told.append(str(error))

    collector.take = taking  # type: ignore[assignment,method-assign]
    collect(hospitals, collector)
    assert len(told) == 1
    assert reason in told[0]
    left = "ABCDE" if stage == "unmask" else "BCDE"
    assert np.array_equal(collector.total(), hospitals.expected(left))


def test_wrong_shares_are_noticed(hospitals: Hospitals) -> None:
    collector = hospitals.collector()
    collect(hospitals, collector, until="confirm")
    for name in NAMES:
        reply, _ = hospitals.members[name].answer(collector.request("unmask", name))
        if name == "B":
            reply = replace(reply, seeds={**reply.seeds, "C": "00" * 32})
        collector.take("unmask", name, reply, None)
    with pytest.raises(RoundRefused, match="the seed of C do not fit"):
        collector.total()
