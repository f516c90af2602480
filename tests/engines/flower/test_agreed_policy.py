"""The policy of an experiment holds its values and nothing beyond them."""

from __future__ import annotations

from typing import Any

import pytest

from omnifm.config.experiment import make_plan
from omnifm.engines.flower.agreed_policy import agreed_policy
from omnifm.engines.flower.policy import reject_experiment


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"task": "segmentation", "algorithm": "scaffold"},
        {"task": "super_resolution"},
        {"task": "image_fusion", "algorithm": "fedavg"},
        {"task": "vqa", "data": {"answer_patients": 3}},
        {"algorithm": "fedrep", "fedrep": {"head_epochs": 3}},
        {"arms": {"a": {"algorithm": "omnifm", "adapter": {"rho": 0.5}}, "b": {"bank": {"prototypes": 40}}}},
    ],
    ids=str,
)
def test_it_permits_each_arm(content: dict[str, Any]) -> None:
    plan = make_plan(content)
    policy = agreed_policy(plan)
    assert [reject_experiment(policy, experiment) for experiment in plan.arms.values()] == [""] * len(plan.arms)
    assert policy.parameters < 3_000_000


def test_parts_stay_that_no_arm_shares() -> None:
    kept = {"federation": {"personal": ["head"]}}
    assert agreed_policy(make_plan({"algorithm": "fedavg", **kept})).personal == ("head",)
    both = make_plan({"arms": {"a": {"algorithm": "fedper"}, "b": {"algorithm": "fedavg"}}})
    assert agreed_policy(both).personal == ()


def test_what_the_algorithms_send_is_what_may_leave() -> None:
    assert agreed_policy(make_plan({"algorithm": "fedavg"})).upload == ("weights",)
    assert agreed_policy(make_plan({"algorithm": "scaffold"})).upload == ("weights", "auxiliary")
    assert agreed_policy(make_plan({"algorithm": "local"})).upload == ()


def test_a_model_that_is_not_on_this_machine_is_listed() -> None:
    policy = agreed_policy(make_plan({"task": "vqa", "vqa": {"network": "llava", "llava": {"model": "owner/name"}}}))
    assert policy.models == ("owner/name",)
    assert policy.parameters == 100_000_000


def test_sums_are_demanded_where_every_arm_has_them() -> None:
    summed = {"privacy": {"secure_aggregation": True, "secure_threshold": 4}, "checks": {"max_norm": 0.0}}
    policy = agreed_policy(make_plan({"algorithm": "fedavg", **summed}))
    assert (policy.secure_aggregation, policy.secure_threshold) == ("required", 4)
    mixed = agreed_policy(make_plan({"arms": {"a": {"algorithm": "fedavg", **summed}, "b": {"algorithm": "local"}}}))
    assert (mixed.secure_aggregation, mixed.secure_threshold) == ("allowed", 3)
