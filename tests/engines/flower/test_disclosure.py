"""What is announced of an experiment is what then leaves, and what is said to be refused is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers import made_dataset, small_arm
from small_run import ROUNDS, write_experiment
from town import NAMES, Town, server_run
from visit import Visit

from omnifm.algorithms.kinds import Kind
from omnifm.config.experiment import make_experiment, read_plan
from omnifm.core.records import ClientState
from omnifm.engines.flower.client_config import ClientConfig
from omnifm.engines.flower.config_exchange import load_client_data
from omnifm.engines.flower.disclosure import Disclosure, at_hospital, disclose, refusals
from omnifm.engines.flower.expected_upload import ImaginedData, size_and_spec
from omnifm.engines.flower.policy import sizes_by_kind
from omnifm.runs.arm import describe_data

TINY = ImaginedData(classes=2, answers=0, hospitals=3)
ABOUT = 3000
"""Bytes by which a message may differ from what was announced: texts and numbers of other lengths."""


def announced(content: dict[str, Any], imagined: ImaginedData = TINY) -> Disclosure:
    experiment = make_experiment(content)
    return disclose(experiment, size_and_spec(experiment, imagined)[1])


@pytest.mark.slow
def test_what_leaves_is_what_was_announced(town: Town, tmp_path: Path) -> None:
    plan = town.plan("fedavg", "scaffold", "fedper", "omnifm")
    hospitals, out = tmp_path / "hospitals", tmp_path / "run"
    server_run(plan, town.grid(hospitals), out)
    logs = [path.read_text().splitlines() for path in sorted(hospitals.rglob("audit.jsonl"))]
    trained = [line for log in logs for text in log if (line := json.loads(text))["trained"]]
    assert len(trained) == len(plan.arms) * 3 * len(NAMES)
    for name, experiment in plan.arms.items():
        found = disclose(experiment, size_and_spec(experiment, TINY)[1])
        largest = sizes_by_kind(found.upload, found.kinds)
        own = [line for line in trained if line["arm"] == name]
        metrics = [json.loads(line) for line in (out / name / "metrics.jsonl").read_text().splitlines()]
        bytes_up = [line["bytes_up"] for line in metrics if line["event"] == "round"]
        assert len(bytes_up) == experiment.federation.rounds
        splits = [line["split"] for line in metrics if line["event"] == "evaluation"]
        assert splits == ["validation"] * found.arm.experiment.federation.rounds_evaluated + ["test"]
        assert all(line["sent"].keys() == largest.keys() for line in own)
        assert max(line["answer_bytes"] for line in own) <= found.answer_bytes + ABOUT
        assert max(line["request_bytes"] for line in own) <= found.request_bytes + ABOUT
        if name != "omnifm":
            assert all(line["sent"] == largest for line in own)
            assert bytes_up == [found.upload.size * len(NAMES)] * len(bytes_up)
            assert min(line["answer_bytes"] for line in own) >= found.answer_bytes - ABOUT
            assert min(line["request_bytes"] for line in own) >= found.request_bytes - ABOUT
        else:
            assert max(bytes_up) <= found.upload.size * len(NAMES)
            assert sum(line["sent"]["weights"] + line["sent"]["prototypes"] for line in own) == sum(bytes_up)
            assert {line["sent"]["weights"] for line in own} <= {
                largest["weights"],
                largest["weights"] - found.circle_bytes,
            }
            assert max(line["sent"]["prototypes"] for line in own) <= largest["prototypes"]
            assert max(line["prototypes"] for line in own) <= experiment.bank.prototypes
            assert min(line["fewest_patients"] for line in own) >= experiment.bank.min_cluster


def test_the_weights_of_a_circle_leave_where_there_is_one() -> None:
    dataset = made_dataset()
    clients = tuple(replace(client, group="CT") for client in dataset.clients)  # a circle from the first round
    arm = small_arm("omnifm", replace(dataset, clients=clients), omnifm={"circles": "group"})
    server, name = arm.start().server, arm.participants[0]
    broadcast = arm.algorithm.broadcast(server)
    inside, outside = (
        arm.runtime.update(received, name, ClientState())[0].pack()[0]
        for received in (broadcast.with_message(arm.algorithm.message(server, name)), broadcast)
    )
    found = disclose(arm.experiment, arm.data_spec)
    sizes = [sum(v.nbytes for key, v in one.items() if key.startswith("change/")) for one in (inside, outside)]
    assert sizes[0] - sizes[1] == found.circle_bytes > 0
    assert sizes[0] == sum(value.nbytes for value in found.upload.change.values())


def test_prototypes_are_counted_full(tmp_path: Path) -> None:
    experiment = read_plan(write_experiment(tmp_path)).arms["omnifm"]
    kinds = disclose(experiment, size_and_spec(experiment, TINY)[1]).bytes_by_kind
    assert kinds[Kind.PROTOTYPE] == 3 * 8 * 4  # bank.prototypes of adapter.token_dim numbers of 4 bytes
    assert kinds[Kind.COUNT] == 3 * 8 + 2 * 256 * 4  # the sizes; a row and a count for each entry of a full bank


def test_what_stays_is_named_by_its_part() -> None:
    fedper = announced({"algorithm": "fedper"})
    everything = announced({"algorithm": "fedavg"})
    ((part, size),) = fedper.kept_bytes.items()
    assert part == "head"
    assert fedper.upload.size == everything.upload.size - size
    assert everything.kept_bytes == {}


def test_each_class_more_is_a_row_of_the_head() -> None:
    found = announced({"algorithm": "fedavg"})
    wider = announced({"algorithm": "fedavg"}, replace(TINY, classes=3))
    assert found.more_per_class() == wider.upload.size - found.upload.size > 0
    assert found.more_per_answer() == 0


@pytest.mark.parametrize(("every", "times"), [(1, 6), (4, 2), (5, 2), (6, 1), (9, 1)])
def test_the_last_round_is_always_evaluated(every: int, times: int) -> None:
    found = announced({"algorithm": "fedavg", "federation": {"rounds": ROUNDS, "evaluate_every": every}})
    assert found.arm.experiment.federation.rounds_evaluated == times


def told(visit: Visit, config: ClientConfig) -> list[tuple[str, str]]:
    dataset = load_client_data(at_hospital(visit.experiment, config), config)
    return list(refusals(visit.experiment, describe_data(visit.experiment, dataset), config, dataset))


@pytest.mark.parametrize(
    "policy",
    [
        {"tasks": ["segmentation"]},
        {"algorithms": ["fedavg"]},
        {"token_dim": 4},
        {"min_cluster": 9},
        {"epochs": 1},
        {"minimum_patients": 1000},
        {"parameters": 100},
        {"personal": ["head"]},
        {"upload": ["weights"]},
    ],
    ids=str,
)
def test_what_is_said_to_be_refused_is_refused_with_these_words(tmp_path: Path, policy: dict[str, Any]) -> None:
    algorithm = "ditto" if "epochs" in policy else "omnifm"
    broadcast = Visit(tmp_path, algorithm).broadcast()
    strict = Visit(tmp_path / "strict", algorithm, **policy)
    reply = strict.ask(broadcast=broadcast, train=True, labels=("left", "right"))
    assert reply.outcome == "refused"
    key = next(iter(policy))
    reasons = [reason for _, reason in told(strict, strict.hospital)]
    assert reasons
    assert reply.reason.rstrip(".") in reasons[0]
    assert f"policy.{key}" in reasons[0]


def test_a_message_that_is_too_large_is_said_to_be_refused(tmp_path: Path) -> None:
    visit = Visit(tmp_path, megabytes=0.01)
    assert [what for what, reason in told(visit, visit.hospital) if "policy.megabytes = 0.01" in reason] == [
        "the request of every round",
        "the answer of every round",
    ]


def test_what_is_permitted_is_said_to_be(tmp_path: Path) -> None:
    visit = Visit(tmp_path)
    assert visit.train().outcome == "done"
    assert told(visit, visit.hospital) == []


def test_all_reasons_are_given(tmp_path: Path) -> None:
    visit = Visit(tmp_path, token_dim=4, min_cluster=9, upload=["weights"])
    found = [reason for what, reason in told(visit, visit.hospital) if what == "every request"]
    assert [reason.partition("policy.")[2].partition(" ")[0] for reason in found] == ["token_dim", "min_cluster"]
    assert any("policy.upload" in reason for what, reason in told(visit, visit.hospital) if "upload" in what)
