from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from omnifm.comparison.comparison_folder import ComparisonOptions
from omnifm.config import deprecated
from omnifm.config.deprecated import KEYS, VALUES, upgraded
from omnifm.config.experiment import make_plan, read_plan
from omnifm.engines.flower.client_config import read_client_config
from omnifm.utils.errors import ExperimentError

OLD = '[federation]\nreadings = ["personalised", "received"]\n[partition]\nkind = "mixed"\n'
WARNINGS = [
    "federation.readings is now federation.evaluate; the old name will stop working in a later version.",
    "federation.evaluate = 'personalised' is now 'after_local_training'; the old name will stop working in a later "
    "version.",
    "federation.evaluate = 'received' is now 'before_local_training'; the old name will stop working in a later "
    "version.",
    "partition.kind = 'mixed' is now 'iid'; the old name will stop working in a later version.",
]


@pytest.fixture(autouse=True)
def _unwarned() -> Iterator[None]:
    deprecated._warn.cache_clear()
    yield
    deprecated._warn.cache_clear()


def write(path: Path, text: str) -> Path:
    file = path / "old.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_table_says_all_that_has_changed() -> None:
    assert KEYS == {("federation", "readings"): "evaluate"}
    assert VALUES == {
        ("federation", "evaluate"): {"received": "before_local_training", "personalised": "after_local_training"},
        ("partition", "kind"): {"mixed": "iid"},
    }


def test_an_old_file_still_works_and_each_name_is_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = write(tmp_path, OLD + '[arms.a.partition]\nkind = "mixed"\n[arms.b.federation]\nreadings = ["received"]\n')
    plan = read_plan(file)
    assert plan.arms["a"].federation.evaluate == ("before_local_training", "after_local_training")
    assert plan.arms["b"].federation.evaluate == ("before_local_training",)
    assert {arm.partition.kind for arm in plan.arms.values()} == {"iid"}
    assert "readings" not in plan.document["federation"]
    assert caplog.messages == WARNINGS
    assert {(record.name, record.levelno) for record in caplog.records} == {("omnifm", logging.WARNING)}


def test_new_names_are_not_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    read_plan(write(tmp_path, '[federation]\nevaluate = ["before_local_training"]\n[partition]\nkind = "iid"\n'))
    assert not caplog.messages


@pytest.mark.parametrize("text", ["", '[federation]\nevaluate = ["before_local_training"]\n', OLD])
def test_set_wins_under_either_name(tmp_path: Path, text: str) -> None:
    for key in ("readings", "evaluate"):
        plan = read_plan(write(tmp_path, text), [f'federation.{key}=["personalised"]', "partition.kind=mixed"])
        (arm,) = plan.arms.values()
        assert (arm.federation.evaluate, arm.partition.kind) == (("after_local_training",), "iid")


def test_set_of_one_place_in_a_list(tmp_path: Path) -> None:
    (arm,) = read_plan(write(tmp_path, OLD), ["federation.readings.0=received"]).arms.values()
    assert arm.federation.evaluate == ("before_local_training",)


def test_grids_and_sweeps_of_a_comparison() -> None:
    grid = {"partition": {"kind": ["mixed", "modality"]}, "federation": {"readings": [["received"]]}}
    for compare in ({"grid": grid}, {"grids": dict.fromkeys(("fedavg", "local"), grid)}):
        document = make_plan({"name": "x", "compare": compare}).document
        (design,) = ComparisonOptions(algorithms="fedavg", seeds=1).design(document).arms[:1]
        assert design.points == (
            {"partition.kind": "iid", "federation.evaluate": ["before_local_training"]},
            {"partition.kind": "modality", "federation.evaluate": ["before_local_training"]},
        )
    asked = ComparisonOptions(algorithms="fedavg", seeds=1, sweep=("partition.kind=mixed,modality",))
    swept = [arm for arm in asked.design({"name": "x"}).arms if arm.plan.kind == "sweep"]
    assert [arm.experiment(0, 0).partition.kind for arm in swept] == ["iid", "modality"]


def test_the_file_of_a_hospital(tmp_path: Path) -> None:
    text = 'name = "A"\n[data]\nsources = [{kind = "phantom"}]\n[permits]\ntasks = ["*"]\nalgorithms = ["*"]\n'
    assert read_client_config(write(tmp_path, text + '[partition]\nkind = "mixed"\n')).partition.kind == "iid"


def test_the_least_number_of_patients_in_the_file_of_a_hospital(tmp_path: Path) -> None:
    text = 'name = "A"\n[data]\nsources = [{kind = "phantom"}]\n[policy]\ntasks = ["*"]\nalgorithms = ["*"]\n'
    assert read_client_config(write(tmp_path, text + "minimum_samples = 33\n")).policy.minimum_patients == 33


def test_both_names_at_once_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"federation\.readings is the old name of federation\.evaluate"):
        read_plan(write(tmp_path, '[federation]\nreadings = ["received"]\nevaluate = ["after_local_training"]\n'))


@pytest.mark.parametrize("document", [{"federation": 3}, {"arms": {"a": 1}}, {"compare": 4}, {"arms": []}], ids=str)
def test_what_is_no_table_is_left_to_others(document: dict[str, Any]) -> None:
    assert upgraded(document) == document


def test_the_document_given_is_not_changed() -> None:
    document: dict[str, Any] = {"partition": {"kind": "mixed"}}
    assert upgraded(document) == {"partition": {"kind": "iid"}}
    assert document == {"partition": {"kind": "mixed"}}
