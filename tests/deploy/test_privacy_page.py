"""The page for a data officer leaves out nothing that is sent, and says what is and what is not guaranteed."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from small_run import Outcome, omnifm, write_images

from omnifm.algorithms.kinds import Kind
from omnifm.core.records import Upload
from omnifm.data.client_stats import ClientStats
from omnifm.deploy.privacy_words import ANSWERING, JOINING, POLICY, PRIVACY, SCORING, TENSORS
from omnifm.engines.flower.client_policy import ClientPolicy
from omnifm.engines.flower.messages import ClientProperties, EvaluationResult, Reply
from omnifm.privacy.settings import PrivacySettings
from omnifm.tasks.task import DataShape


def names(kind: type) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


def test_every_field_that_a_hospital_sends_has_its_words() -> None:
    tables = {**JOINING, **ANSWERING, **SCORING}
    assert tables.keys() == {ClientProperties, ClientStats, DataShape, Reply, Upload, EvaluationResult}
    assert {kind.__name__: set(words) for kind, words in tables.items()} == {
        kind.__name__: names(kind) for kind in tables
    }
    assert set(TENSORS) == set(Kind)


def test_every_key_of_policy_and_privacy_has_its_words() -> None:
    assert set(POLICY) == names(ClientPolicy)
    assert set(PRIVACY) == names(PrivacySettings)


def write(folder: Path, **content: Any) -> Path:
    path = folder / "study.toml"
    path.write_text(tomli_w.dumps({"algorithm": "fedavg", **content}), encoding="utf-8")
    return path


def write_client(folder: Path, **policy: Any) -> Path:
    sources = write_images(folder / "data", {"a": "CT"})
    allowed = {"tasks": ["*"], "algorithms": ["*"], **policy}
    path = folder / "client.toml"
    content = {"name": "North", "data": {"root": str(folder / "data"), "sources": sources}, "policy": allowed}
    path.write_text(tomli_w.dumps(content), encoding="utf-8")
    return path


def show(*arguments: object) -> str:
    """Return the page without its line breaks."""
    done: Outcome = omnifm("privacy", "show", *arguments)
    assert done.status == 0, done.text
    return re.sub(r"\n +", " ", done.text)


def refused(*arguments: object) -> str:
    done = omnifm("privacy", "show", *arguments)
    assert done.status == 1
    assert done.text.startswith("Error: ")
    assert "Traceback" not in done.text
    assert done.text.count("\n") == 1
    return done.text


def test_sizes_and_rounds_are_said(tmp_path: Path) -> None:
    federation = {"rounds": 4, "evaluate_every": 3, "evaluate": ["before_local_training"]}
    page = show(write(tmp_path, federation=federation), "--classes", 5)
    weights, wider = (
        int(re.findall(r"- weights: ([\d,]+) bytes", text)[0].replace(",", ""))
        for text in (page, show(tmp_path / "study.toml", "--classes", 6))
    )
    assert f"at most {weights:,} bytes a round and {4 * weights:,} bytes" in page
    assert (
        f"5 classes, assumed (--classes, --answers or --data change it): each class more adds {wider - weights} "
        in page
    )
    assert "It trains in 4 rounds." in page
    assert "after 2 of the rounds, at 1 point (before_local_training), and at the end" in page


def test_who_is_behind_a_prototype_is_said(tmp_path: Path) -> None:
    page = show(write(tmp_path, algorithm="omnifm", bank={"min_cluster": 7, "prototypes": 11}))
    assert "at most 11 prototypes of 64 numbers" in page
    assert "images of at least 7 patients, rounded, the same in every round" in page
    exact = show(write(tmp_path, algorithm="omnifm", bank={"rounded": False}))
    assert "images of at least 12 patients, exact" in exact
    assert "leave only in rounds in which the hospital is in a circle" in page
    assert "what share of the weights that it received it has started from" in page
    assert "prototypes of" not in show(write(tmp_path))


def test_hospitals_that_are_drawn_take_part_in_fewer_rounds(tmp_path: Path) -> None:
    path = write(tmp_path, federation={"participation": 0.5, "patience": 2})
    assert "in each, 3 of 6 hospitals are drawn" in show(path, "--hospitals", 6)
    assert "fewer if 2 evaluations in a row" in show(path)


def test_the_guarantee_is_what_is_set(tmp_path: Path) -> None:
    page = show(write(tmp_path, privacy={"clip": 0.25}))
    assert "an L2 norm of at most 0.25" in page
    assert "Uploads are not clipped" not in page
    assert "There is no differential privacy" in page
    assert "Uploads are not clipped" in show(write(tmp_path))


def test_each_arm_has_a_section(tmp_path: Path) -> None:
    page = show(write(tmp_path, arms={"near": {"algorithm": "local"}, "far": {"algorithm": "centralised"}}))
    assert re.findall(r"^## Arm '(\w+)'", page, re.MULTILINE) == ["near", "far"]
    near, far = page.split("## Arm")[1:]
    assert "No tensors" in near
    assert "A deployment refuses it" in far
    assert "###" not in far


def test_the_policy_says_what_it_refuses_and_bounds(tmp_path: Path) -> None:
    policy = write_client(tmp_path, epochs=1, rounds_a_day=3, minutes=30.0, personal=["head"])
    path = write(tmp_path, training={"epochs": 2}, federation={"rounds": 5}, init="start.safetensors")
    page = show(path, "--policy", policy, "--classes", 2)
    assert "Refused, every request: 2 passes over the training data a round are more than policy.epochs = 1." in page
    assert "Refused, training in every round: network.head.bias never leaves" in page
    assert "whether at least 10 patients" in page
    assert "the weights to start from, 'start.safetensors'" in page
    assert "has 6 rounds and final evaluations: after 3 of them" in page
    assert "would wait 60 minutes" in page
    assert all(f"- policy.{key} = " in page for key in POLICY)


def test_a_hospital_counts_its_own_data(tmp_path: Path) -> None:
    policy = write_client(tmp_path, minimum_patients=13)
    page = show(write(tmp_path, data={"size": 16}), "--policy", policy, "--data")
    assert "12 patients in training are fewer than policy.minimum_patients = 13." in page
    assert "2 classes, in the data loaded here" in page
    assert "Not looked at" not in page
    permitted = show(tmp_path / "study.toml", "--policy", write_client(tmp_path / "more"), "--data")
    assert "Nothing that can be told before the run." in permitted


def test_the_data_of_the_experiment_are_counted(tmp_path: Path) -> None:
    sources = write_images(tmp_path / "data", {"a": "CT", "b": "MRI"})
    page = show(write(tmp_path, data={"size": 16, "root": str(tmp_path / "data"), "sources": sources}), "--data")
    assert "2 classes, in the data loaded here" in page
    assert "Images of 16 x 16 pixels and 1 channel." in page


@pytest.mark.parametrize("option", ["--classes", "--answers", "--hospitals"])
def test_what_is_loaded_is_not_assumed_too(tmp_path: Path, option: str) -> None:
    assert "leave out their options" in refused(write(tmp_path), "--data", option, 3)


def test_mistakes_are_one_sentence(tmp_path: Path) -> None:
    assert "no experiment file" in refused(tmp_path / "none.toml")
    assert "docs/deploy.md" in refused(write(tmp_path), "--policy", tmp_path / "none.toml")
    wrong = write(tmp_path, arms={"good": {}, "bad": {"algorithm": "omnifm", "adapter": {"use": "off"}}})
    assert "In arm 'bad': adapter.use = 'off'" in refused(wrong)
    missing = write(
        tmp_path, data={"root": str(tmp_path), "sources": [{"kind": "image_folder", "folder": "x", "modality": "CT"}]}
    )
    assert "In arm 'fedavg'" in refused(missing, "--data")


def test_secure_aggregation_is_said(tmp_path: Path) -> None:
    summed = {"privacy": {"secure_aggregation": True, "secure_threshold": 4}, "checks": {"max_norm": 0.0}}
    policy = write_client(tmp_path, secure_aggregation="required", secure_threshold=5)
    page = show(write(tmp_path, **summed), "--policy", policy)
    assert "the sum over at least 4 hospitals" in page
    assert "leave in a secure sum only:" in page
    assert "There is no secure aggregation" not in page
    assert "Its mean training loss" not in page
    assert "encrypted shares and signatures of secure sums" in page
    assert "Refused, every request: privacy.secure_threshold = 4 is less than policy.secure_threshold = 5." in page
    page = show(write(tmp_path), "--policy", policy)
    assert "There is no secure aggregation" in page
    assert "Refused, every request: privacy.secure_aggregation = false" in page


def test_a_private_run_says_what_it_guarantees_and_what_not(tmp_path: Path) -> None:
    private = {"epsilon": 3.0, "prototypes_every": 10}
    page = show(write(tmp_path, algorithm="omnifm", classification={"norm": "group"}, privacy=private))
    for sentence in (
        "all that leaves this hospital in the run is (3, 1e-05)-differentially private for each of its patients",
        "change at most by the factor 20.1",
        "epsilon = 3 for each patient, whether the images serve for training, validation or testing",
        "How many patients it has trained on, with noise",
        "Accuracy, the mean over its patients, with noise.",
        "and the epsilon that has been spent so far",
        "they leave with noise, every 10 rounds",
        "names of the hospital and of its classes",
        "There is no secure aggregation",
    ):
        assert sentence in page
    for gone in ("There is no differential privacy", "mean training loss", "The seconds that", "tables of counts"):
        assert gone not in page
    without = show(write(tmp_path, privacy={"clip": 1.0}))
    assert "Each training step draws" not in without
    assert "There is no differential privacy" in without


def test_a_budget_that_the_hospital_does_not_give_is_said(tmp_path: Path) -> None:
    policy = write_client(tmp_path, max_epsilon=3.0)
    page = show(write(tmp_path, classification={"norm": "batch"}), "--policy", policy)
    assert "promises no differential privacy; policy.max_epsilon = 3 asks for it" in page
    dear = show(write(tmp_path, classification={"norm": "group"}, privacy={"epsilon": 4.0}), "--policy", policy)
    assert "Refused, every request: The run costs epsilon 4: above policy.max_epsilon = 3." in dear
    assert "policy.max_epsilon = 3.0: the epsilon that all runs together may cost a patient" in page
