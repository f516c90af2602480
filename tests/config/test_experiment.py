from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch

from omnifm.config.experiment import Experiment, make_experiment, make_plan, read_plan, to_document
from omnifm.config.overrides import differences
from omnifm.config.toml import to_toml
from omnifm.data.image_folder import ImageFolderSource
from omnifm.data.medmnist import MedMNISTSource
from omnifm.utils.errors import ExperimentError

FULL = """
name = "full"
seed = 3
algorithm = "omnifm"
[data]
root = "/somewhere"
size = 28
[[data.sources]]
kind = "medmnist"
set = "octmnist"
limit = 5
[[data.sources]]
kind = "image_folder"
folder = "mednist"
modality = "CT"
classes = ["HeadCT"]
[partition]
kind = "iid"
clients = 4
[federation]
rounds = 7
personal = ["head", "norm"]
[training]
learning_rate = 1
[classification]
width = 8
"""


def read(path: Path, text: str, *overrides: str) -> Experiment:
    file = path / "trial.toml"
    file.write_text(text, encoding="utf-8")
    (experiment,) = read_plan(file, overrides).arms.values()
    return experiment


def error(document: dict[str, Any]) -> str:
    with pytest.raises(ExperimentError) as caught:
        make_experiment(document)
    return str(caught.value)


def test_values_arrive_where_they_belong(tmp_path: Path) -> None:
    experiment = read(tmp_path, FULL)
    assert (experiment.name, experiment.seed) == ("full", 3)
    assert experiment.data.size == 28
    assert experiment.data.sources == (
        MedMNISTSource("octmnist", limit=5),
        ImageFolderSource("mednist", "CT", classes=("HeadCT",)),
    )
    assert experiment.partition.clients == 4
    assert (experiment.federation.rounds, experiment.federation.personal) == (7, ("head", "norm"))
    assert experiment.training.learning_rate == 1.0
    assert experiment.sections["classification"].width == 8


def test_an_empty_file_is_the_default_named_by_the_file(tmp_path: Path) -> None:
    assert read(tmp_path, "") == make_experiment({"name": "trial"})


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"sed": 1}, "Unknown key 'sed'. Did you mean 'seed'?"),
        ({"omnifmm": {}}, "Unknown key 'omnifmm'. Did you mean 'omnifm'?"),
        ({"training": {"epoch": 1}}, "Unknown key 'training.epoch'. Did you mean 'epochs'?"),
        ({"bank": {"capcity": 1}}, "Unknown key 'bank.capcity'. Did you mean 'capacity'?"),
        ({"omnifm": {"bas": "fedavg"}}, "Unknown key 'omnifm.bas'. Did you mean 'base'?"),
        ({"classification": {"widht": 8}}, "Unknown key 'classification.widht'. Did you mean 'width'?"),
        (
            {"data": {"sources": [{"kind": "medmnist", "set": "octmnist", "limits": 5}]}},
            "'data.sources.0.limits'. Did you mean 'limit'?",
        ),
    ],
    ids=str,
)
def test_unknown_key_suggests_the_near_one(document: dict[str, Any], message: str) -> None:
    assert message in error(document)


def test_a_key_like_no_other_lists_them_all() -> None:
    message = error({"federation": {"zzz": 1}})
    keys = "acceptance, acceptance_every, evaluate, evaluate_every, participation, patience, personal, rounds"
    assert f"Unknown key 'federation.zzz'. Known: {keys}." in message


def test_readings_are_kept_in_one_order_and_each_once() -> None:
    settings = make_experiment(
        {"federation": {"evaluate": ["after_local_training", "before_local_training", "after_local_training"]}}
    ).federation
    assert settings.evaluate == ("before_local_training", "after_local_training")
    assert make_experiment({"federation": {"evaluate": ["after_local_training"]}}).federation.evaluate == (
        "after_local_training",
    )


@pytest.mark.parametrize(
    ("document", "parts"),
    [
        ({"federation": {"evaluate": []}}, ("federation.evaluate: ", "must name at least 1")),
        (
            {"federation": {"evaluate": ["recieved"]}},
            ("federation.evaluate", "'before_local_training' or 'after_local_training'"),
        ),
        ({"federation": {"patience": -1}}, ("federation.patience: ", "(given: -1)")),
        ({"seed": "1"}, ("seed: ", "valid integer", "(given: '1')")),
        ({"seed": 1.5}, ("seed: ", "(given: 1.5)")),
        ({"federation": {"rounds": True}}, ("federation.rounds: ", "(given: True)")),
        ({"federation": {"personal": "head"}}, ("federation.personal: ", "(given: 'head')")),
        ({"training": {"learning_rate": "fast"}}, ("training.learning_rate: ", "(given: 'fast')")),
        ({"training": 5}, ("training: ", "(given: 5)")),
        (
            {"training": {"optimizer": "adam"}},
            ("training.optimizer: ", "'sgd' or 'adamw'", "(given: 'adam')"),
        ),
        ({"adapter": {"use": True}}, ("adapter.use: ", "(given: True)")),
    ],
    ids=str,
)
def test_wrong_type_names_key_and_value(document: dict[str, Any], parts: tuple[str, ...]) -> None:
    message = error(document)
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("document", "parts"),
    [
        ({"seed": -1}, ("seed: ", "must be 0 or more", "(given: -1)")),
        ({"federation": {"rounds": 0}}, ("federation.rounds: ", "must be 1 or more")),
        ({"federation": {"participation": 0}}, ("federation.participation: ", "must be above 0")),
        ({"federation": {"participation": 1.1}}, ("federation.participation: ", "must be 1 or less")),
        ({"training": {"epochs": 0}}, ("training.epochs: must be 1 or more", "(given: 0)")),
        ({"adapter": {"grid": 4}}, ("adapter.grid: must be odd, not 4",)),
        ({"bank": {"capacity": 0}}, ("bank.capacity: ", "must be 1 or more")),
        ({"classification": {"width": 12}}, ("classification.width: must be a multiple of 8",)),
        ({"data": {"channels": 2}}, ("data.channels: ", "1 or 3", "(given: 2)")),
    ],
    ids=str,
)
def test_out_of_range_names_the_key(document: dict[str, Any], parts: tuple[str, ...]) -> None:
    message = error(document)
    for part in parts:
        assert part in message


def test_every_mistake_is_reported_at_once() -> None:
    assert error({"seed": -1, "federation": {"rounds": 0}}).count("\n") == 1


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"task": "clasification"}, "task: unknown name 'clasification'. Did you mean 'classification'?"),
        ({"algorithm": "fedavgg"}, "algorithm: unknown name 'fedavgg'. Did you mean 'fedavg'?"),
    ],
)
def test_unknown_task_or_algorithm(document: dict[str, Any], message: str) -> None:
    assert error(document) == message


def test_an_unknown_kind_of_source_is_suggested_or_all_are_listed() -> None:
    message = error({"data": {"sources": [{"kind": "mednist"}]}})
    assert message == "data.sources.0: there is no kind 'mednist'. Did you mean 'medmnist'?"
    message = error({"data": {"sources": [{"folder": "a"}]}})
    assert message.startswith("data.sources.0: there is no kind ''. Known: brats, breakhis, image_folder,")


def test_a_source_without_its_required_key() -> None:
    assert "set: this key is required" in error({"data": {"sources": [{"kind": "medmnist"}]}})


def test_arms_change_what_they_name_and_nothing_else() -> None:
    plan = make_plan(
        {
            "seed": 5,
            "training": {"epochs": 2, "batch_size": 4},
            "arms": {"plain": {"algorithm": "fedavg"}, "long": {"training": {"epochs": 9}}},
        }
    )
    plain, long = plan.arms["plain"], plan.arms["long"]
    assert (plain.algorithm, plain.training.epochs, plain.seed) == ("fedavg", 2, 5)
    assert (long.algorithm, long.training.epochs, long.training.batch_size) == ("omnifm", 9, 4)


def test_lists_in_arms_replace() -> None:
    plan = make_plan({"federation": {"personal": ["head"]}, "arms": {"a": {"federation": {"personal": []}}}})
    assert plan.arms["a"].federation.personal == ()


def test_without_arms_there_is_one_called_by_its_algorithm() -> None:
    assert list(make_plan({"algorithm": "local"}).arms) == ["local"]


def test_a_mistake_in_an_arm_names_the_arm() -> None:
    with pytest.raises(ExperimentError, match=r"In arm 'b': Unknown key 'seeds'\. Did you mean 'seed'"):
        make_plan({"arms": {"a": {}, "b": {"seeds": 1}}})


@pytest.mark.parametrize("arms", [5, {"a": 5}, {"": {}}, {"..": {}}, {"a/b": {}}], ids=str)
def test_arms_must_be_tables_with_the_names_of_folders(arms: Any) -> None:
    with pytest.raises(ExperimentError, match="arms"):
        make_plan({"arms": arms})


@pytest.mark.parametrize(
    ("override", "place", "value"),
    [
        ("seed=9", "seed", 9),
        ("federation.rounds=2", "federation.rounds", 2),
        ("federation.rounds = 2", "federation.rounds", 2),
        ("algorithm=local", "algorithm", "local"),
        ('algorithm="local"', "algorithm", "local"),
        ("name=a=b", "name", "a=b"),
        ("federation.personal=['head']", "federation.personal", ("head",)),
        ("adapter.retrieval=false", "adapter.retrieval", False),
        ("data.sources.0.limit=3", "data.sources.0.limit", 3),
        ("data.root=/a/b c", "data.root", "/a/b c"),
    ],
)
def test_set(tmp_path: Path, override: str, place: str, value: Any) -> None:
    found: Any = read(tmp_path, FULL, override)
    for step in place.split("."):
        found = found[int(step)] if step.isdigit() else getattr(found, step)
    assert found == value


def test_later_set_wins(tmp_path: Path) -> None:
    assert read(tmp_path, "", "seed=1", "seed=2").seed == 2


def test_set_reaches_into_an_arm(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text('[arms.a]\nalgorithm = "local"\n[arms.b]\n')
    plan = read_plan(file, ["arms.a.training.epochs=4", "seed=8"])
    assert [arm.training.epochs for arm in plan.arms.values()] == [4, 1]
    assert [arm.seed for arm in plan.arms.values()] == [8, 8]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "write it as key=value"),
        ("=3", "write it as key=value"),
        ("seed.low=3", "'seed' is a value and has no keys below it"),
        ("data.sources.2.limit=3", "'2' is no place in a list of 2"),
        ("data.sources.first.limit=3", "'first' is no place in a list of 2"),
        ("data.sources.5=3", "'5' is no place in a list of 2"),
        ("federation.round=3", "Unknown key 'federation.round'. Did you mean 'rounds'?"),
        ("seed=high", "seed: "),
        (".seed=3", "Unknown key ''"),
    ],
)
def test_set_that_does_not_fit(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        read(tmp_path, FULL, override)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["", FULL, 'algorithm = "local"', 'algorithm = "fedavg"\n[omnifm]\n'], ids=repr)
def test_round_trip(tmp_path: Path, text: str) -> None:
    experiment = read(tmp_path, text)
    written = to_toml(to_document(experiment))
    assert read(tmp_path, written) == experiment
    assert tomllib.loads(written)["bank"]["capacity"] == experiment.bank.capacity


def test_differences_name_the_keys_and_both_values() -> None:
    old = {"seed": 1, "training": {"epochs": 2, "batch_size": 4}, "gone": 3}
    new = {"seed": 1, "training": {"epochs": 5, "batch_size": 4}, "new": "x"}
    assert differences(old, new) == [
        "gone: 3 then, not there now",
        "new: not there then, 'x' now",
        "training.epochs: 2 then, 5 now",
    ]
    assert differences(old, old) == []


def test_not_toml(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"trial\.toml is not valid TOML: .*line 2"):
        read(tmp_path, "seed = 1\nrounds 3")


def test_not_text(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ExperimentError, match=r"x\.toml cannot be read"):
        read_plan(tmp_path / "x.toml")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"There is no experiment file .*none\.toml"):
        read_plan(tmp_path / "none.toml")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="is a folder, and no experiment file"):
        read_plan(tmp_path)


@pytest.mark.parametrize("value", ["1979-05-27", "nan", "inf"])
def test_values_of_toml_that_fit_nowhere(tmp_path: Path, value: str) -> None:
    with pytest.raises(ExperimentError, match="learning_rate"):
        read(tmp_path, f"[training]\nlearning_rate = {value}")


@pytest.mark.parametrize("device", ["gpu", "meta:x", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    with pytest.raises(ExperimentError, match=r"device = .* cannot be used on this machine: .*Use 'cpu'\."):
        make_experiment({"device": device})


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="there is one here")
def test_a_device_of_another_kind_of_machine_is_one_sentence() -> None:
    with pytest.raises(ExperimentError) as caught:
        make_experiment({"device": "mps"})
    reason = "this torch was built without mps, or the machine has none"
    assert str(caught.value) == f"device = 'mps' cannot be used on this machine: {reason}. Use 'cpu'."


@pytest.mark.parametrize("name", ["x/y", "../x", "/x", "a\\b", "..", ".", "", " ", "a\0"])
def test_a_name_that_is_no_folders_is_refused(name: str) -> None:
    with pytest.raises(
        ExperimentError, match=r"name = .*a run's folder is called so \(runs/NAME\)\. Leave out slashes"
    ):
        make_experiment({"name": name})


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"kind": "phantom", "patients": 0}, "data.sources.0.patients: must be 1 or more (given: 0)."),
        ({"kind": "phantom", "patient": 3}, "Unknown key 'data.sources.0.patient'. Did you mean 'patients'?"),
        ({"kind": "phantom", "modalities": ["T1", 3]}, "data.sources.0.modalities.1: must be a valid string"),
        ({"kind": "image_folder", "modality": "CT"}, "data.sources.0.folder: this key is required."),
        ({"kind": "image_folder", "folder": [1], "modality": "CT"}, "data.sources.0.folder: must be a valid string."),
    ],
)
def test_a_key_is_named_as_it_is_written(source: Any, words: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        make_experiment({"data": {"sources": [source]}})
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize(
    ("document", "words"),
    [({"federation": 3}, "federation: must be a table"), ({"omnifm": {"circle": 3}}, "omnifm.circle: must be a list")],
)
def test_values_are_called_as_in_toml(document: Any, words: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        make_experiment(document)
    assert str(caught.value).startswith(words)
