"""The arms of an experiment side by side: what travels, what stays, and that all start alike."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import astuple, replace
from typing import Any

import pytest
import torch
from helpers import made_dataset, same, small_arm

from omnifm.algorithms.algorithm import Algorithm
from omnifm.callbacks.callback import Callback
from omnifm.callbacks.events import RoundEvent, UploadEvent
from omnifm.core.checkpoint import Checkpoint
from omnifm.core.records import ServerState, Upload
from omnifm.core.tensors import Tensors
from omnifm.data.client_stats import ClientStats
from omnifm.engines.in_process import InProcess
from omnifm.networks.size import NetworkSizeError
from omnifm.privacy.clip import ClipNorm
from omnifm.runs import arm as arms
from omnifm.runs.arm import Arm
from omnifm.utils.errors import ExperimentError, IncompatibleError

ALL = ("centralised", "fedavg", "local", "omnifm")


class Listener(Callback):
    """Hears everything that leaves the clients."""

    def __init__(self) -> None:
        self.uploads: list[Upload] = []
        self.rounds: list[RoundEvent] = []

    def on_upload(self, event: UploadEvent) -> None:
        self.uploads.append(event.upload)

    def on_round_end(self, event: RoundEvent) -> None:
        self.rounds.append(event)


def played(arm: Arm) -> tuple[Listener, Checkpoint]:
    heard = Listener()
    with InProcess(arm.runtime) as engine:
        return heard, arm.federation(engine, [heard]).run(arm.start())


def weight_of(arm: Arm) -> int:
    """Count the bytes of one network by hand: 4 for each weight and statistic, 8 for each counter of batches."""
    network = arm.runtime.model
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    statistics = sum(2 * m.num_features for m in norms)
    return 4 * (sum(p.numel() for p in network.parameters()) + statistics) + 8 * len(norms)


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        ("fedavg", [("CT-1", "CT", 24, 12, 12), ("CT-2", "CT", 18, 12, 12), ("MRI", "MRI", 12, 12, 12)]),
        ("centralised", [("centralised", "CT+MRI", 54, 36, 36)]),
    ],
)
def test_the_algorithm_starts_from_what_is_known_of_the_clients(
    algorithm: str, expected: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[object, ...]] = []

    def init(
        self: Algorithm, shared: Tensors, trainable: Collection[str], clients: Sequence[ClientStats]
    ) -> ServerState:
        told.extend(astuple(client) for client in clients)
        return ServerState(shared)

    monkeypatch.setattr(Algorithm, "init", init)
    small_arm(algorithm).start()
    assert told == expected


def test_an_algorithm_that_lives_on_the_adapter_needs_it() -> None:
    with pytest.raises(IncompatibleError, match=r"adapter\.use = 'off': 'omnifm' makes its prototypes in the adapter"):
        small_arm("omnifm", adapter={"use": "off"})


def test_steps_are_those_of_the_experiment() -> None:
    assert small_arm("fedavg").runtime.steps == []
    assert small_arm("fedavg", privacy={"clip": 0.5}).runtime.steps == [ClipNorm(0.5)]


def test_local_sends_nothing() -> None:
    heard, last = played(small_arm("local"))
    assert [(event.bytes_down, event.bytes_up) for event in heard.rounds] == [(0, 0), (0, 0)]
    assert all(not upload.change and not upload.extra for upload in heard.uploads)
    assert last.server.shared == {}
    assert not same(last.clients["CT-1"].personal, last.clients["MRI"].personal)


def test_fedavg_sends_the_network_both_ways() -> None:
    arm = small_arm("fedavg")
    heard, last = played(arm)
    expected = 3 * weight_of(arm)
    assert expected > 3 * 4 * 10_000
    assert [(event.bytes_down, event.bytes_up) for event in heard.rounds] == [(expected, expected)] * 2
    assert all(state.personal == {} for state in last.clients.values())


def test_a_sample_of_clients_costs_its_share() -> None:
    arm = small_arm("fedavg", federation={"participation": 0.34})
    heard, _ = played(arm)
    assert [(event.bytes_down, event.bytes_up) for event in heard.rounds] == [(weight_of(arm), weight_of(arm))] * 2


def test_omnifm_keeps_the_suffix_and_sends_the_rest() -> None:
    arm = small_arm("omnifm")
    heard, last = played(arm)
    own = {name for name in arm.runtime.initial if name.endswith(".suffix")}
    assert own == arm.runtime.personal == {"adapter.prompting.suffix"}
    for upload in heard.uploads:
        assert upload.change.keys() == arm.runtime.initial.keys() - own
        assert not any("suffix" in name for part in (upload.change, upload.extra, upload.notes) for name in part)
        assert upload.extra.keys() == {"bank/prototypes", "bank/sizes", "bank/rows", "bank/counts"}
    assert "adapter.prompting.suffix" not in last.server.shared
    suffixes = [state.personal for state in last.clients.values()]
    assert all(suffix.keys() == own for suffix in suffixes)
    assert not any(same(suffix, {name: arm.runtime.initial[name] for name in own}) for suffix in suffixes)
    assert not same(suffixes[0], suffixes[1])


def test_omnifm_sends_its_bank_and_prototypes_beside_the_network() -> None:
    arm = small_arm("omnifm")
    heard, _ = played(arm)
    network = weight_of(arm) - 4 * arm.runtime.initial["adapter.prompting.suffix"].numel()
    entries = 0
    for event in heard.rounds:
        # A token of 8 numbers of 4 bytes for each entry of the bank.
        assert event.bytes_down == 3 * (network + 4 * 8 * entries)
        uploads = heard.uploads[3 * event.round - 3 : 3 * event.round]
        assert all(sum(change.nbytes for change in upload.change.values()) == network for upload in uploads)
        made = sum(len(upload.extra["bank/prototypes"]) for upload in uploads)
        # Up go the same for each prototype with its size (8 bytes), and how often each entry counted as retrieved.
        counted = sum(len(upload.extra["bank/rows"]) for upload in uploads)
        assert (0 < counted <= 3 * entries) if entries else not counted
        assert event.bytes_up == 3 * network + made * (4 * 8 + 8) + 8 * counted
        entries = event.report["bank_entries"]
    assert entries > 0


def test_where_data_are_pooled_nothing_stays_at_a_home() -> None:
    """Else every hospital would be judged with the first weights of what only the pooled client trained."""
    at_home = {"personal": ["norm"]}
    assert small_arm("fedavg", federation=at_home).runtime.personal
    assert not small_arm("centralised", federation=at_home).runtime.personal


def test_centralised_trains_one_and_evaluates_all() -> None:
    arm = small_arm("centralised")
    heard, last = played(arm)
    dataset = made_dataset()
    assert arm.participants == ("centralised",)
    assert [upload.client for upload in heard.uploads] == ["centralised"] * 2
    assert {upload.samples for upload in heard.uploads} == {sum(len(c.train) for c in dataset.clients)}
    with InProcess(arm.runtime) as engine:
        event = arm.federation(engine).evaluate(last.server, "test", "before_local_training")
    assert list(event.scores) == ["CT-1", "CT-2", "MRI"]
    # As received, the pooled network is one and the same for all; on its own data each hospital scores its own.
    assert len({scores.numbers["loss"] for scores in event.scores.values()}) == 3


@pytest.mark.parametrize(("algorithm", "parts"), [("fedavg", {"head"}), ("omnifm", {"head", "adapter"})])
def test_a_personal_backbone_stays(algorithm: str, parts: set[str]) -> None:
    arm = small_arm(algorithm, federation={"personal": ["backbone"]})
    heard, last = played(arm)
    sent = arm.algorithm.broadcast(last.server).shared
    assert sent
    assert {part for name in sent for part in name.split(".") if part in ("backbone", "head", "adapter")} == parts
    assert all(upload.change.keys() == sent.keys() for upload in heard.uploads)
    kept = last.clients["CT-1"].personal
    assert sum("backbone" in name for name in kept) == sum("backbone" in name for name in arm.runtime.initial) > 10


def test_all_arms_start_from_the_same_network() -> None:
    settings = {"use": "on", "keys": "learned"}
    arms = {name: small_arm(name) for name in ALL} | {"with adapter": small_arm("fedavg", adapter=settings)}
    first = arms["fedavg"].runtime.initial
    assert len(first) > 20
    for name, arm in arms.items():
        network = {n: v for n, v in arm.runtime.initial.items() if not n.startswith("adapter.")}
        assert same(network, first), name
        assert any(n.startswith("adapter.") for n in arm.runtime.initial) == (name in ("omnifm", "with adapter"))
    adapters = [
        {n: v for n, v in arms[a].runtime.initial.items() if n not in first} for a in ("omnifm", "with adapter")
    ]
    assert same(*adapters)


def test_keys_are_learned_as_in_the_paper_or_as_the_settings_say_and_else_fixed() -> None:
    def learned(**changes: Any) -> bool:
        return small_arm("omnifm", **changes).runtime.model.adapter.keys is None

    assert learned()  # the paper's form
    assert learned(omnifm={}, adapter={"keys": "learned"})
    assert not learned(omnifm={})
    assert not learned(adapter={"keys": "fixed"})


def test_another_seed_starts_elsewhere() -> None:
    weights = "network.head.weight"
    one, other = (small_arm("fedavg", seed=seed).runtime.initial[weights] for seed in (0, 1))
    assert not torch.equal(one, other)


def test_building_an_arm_leaves_the_global_state() -> None:
    before = torch.get_rng_state()
    small_arm("omnifm")
    assert torch.equal(before, torch.get_rng_state())


def test_a_part_that_is_not_there_cannot_be_personal() -> None:
    with pytest.raises(ExperimentError, match=r"No part of the network is called 'backbon'.*Parts are .*backbone"):
        small_arm("fedavg", federation={"personal": ["backbon"]})
    with pytest.raises(ExperimentError, match="No part of the network is called 'adapter'"):
        small_arm("fedavg", federation={"personal": ["adapter"]})


def test_a_hospital_may_not_have_the_name_of_all() -> None:
    dataset = made_dataset()
    renamed = replace(dataset, clients=(replace(dataset.clients[0], name="centralised"), *dataset.clients[1:]))
    assert small_arm("fedavg", renamed).participants == ("centralised", "CT-2", "MRI")
    with pytest.raises(ExperimentError, match=r"A hospital is called 'centralised'.*rename it"):
        small_arm("centralised", renamed)


def test_acceptance_is_the_algorithms_choice_unless_the_experiment_says_so() -> None:
    on = {"acceptance": "on"}
    assert small_arm("omnifm", omnifm={}).runtime.acceptance
    assert small_arm("omnifm").runtime.acceptance is None  # the paper's form
    assert small_arm("omnifm", omnifm={}, federation={"acceptance": "off"}).runtime.acceptance is None
    assert small_arm("fedavg").runtime.acceptance is None
    assert small_arm("fedavg", federation=on).runtime.acceptance
    assert small_arm("centralised", federation=on).runtime.acceptance is None


@pytest.mark.parametrize("changes", [{}, {"omnifm": {"base": "feddyn"}}])
def test_a_rule_that_starts_from_what_was_received_has_no_acceptance(changes: dict[str, Any]) -> None:
    algorithm = "omnifm" if changes else "feddyn"
    arm = small_arm(algorithm, federation={"acceptance": "on"}, **changes)
    assert arm.runtime.acceptance is None
    assert "without acceptance" in arm.algorithm.remark(arm.runtime.model.network)


@pytest.mark.parametrize("part", ["norm", "statistics"])
def test_circles_have_parts_of_the_network(part: str) -> None:
    with pytest.raises(ExperimentError, match=f"omnifm.circle = .*and not '{part}'"):
        small_arm("omnifm", omnifm={"circle": ["backbone", part]})
    with pytest.raises(ExperimentError, match="No part of the network is called 'backbon'"):
        small_arm("omnifm", omnifm={"circle": ["backbon"]})


def test_the_size_of_a_network_is_counted_once_and_held_to_every_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    made, dataset = small_arm("fedavg").experiment, made_dataset()
    counted, count = list[int](), arms.count_parameters

    def noted(*given: Any) -> int:
        counted.append(count(*given))
        return counted[-1]

    monkeypatch.setattr(arms, "count_parameters", noted)
    monkeypatch.setattr(arms, "_counted", {})
    for _ in range(3):
        arms.make_arm(made, dataset, most=10**6)
    assert len(counted) == 1
    with pytest.raises(NetworkSizeError):
        arms.make_arm(made, dataset, most=100)
    settings: Any = made.sections["classification"]
    wide = replace(made, sections={**made.sections, "classification": replace(settings, width=64)})
    with pytest.raises(NetworkSizeError):
        arms.make_arm(wide, dataset, most=10_000)
