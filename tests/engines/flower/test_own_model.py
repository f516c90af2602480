"""A hospital's own model, from a copy of the run's folder and its own state."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers import same
from small_run import omnifm
from town import NAMES, Town, here_played, server_run

from omnifm.checkpoint.file import read_checkpoint, write_checkpoint
from omnifm.config.experiment import Plan
from omnifm.deploy.own_model import add_own_model
from omnifm.engines.flower.client_config import ClientConfig, read_client_config
from omnifm.export.loaded_arm import LoadedArm
from omnifm.utils.errors import CheckpointError, DeploymentError, ExperimentError

pytestmark = pytest.mark.slow
ARMS = ("omnifm", "fedavg", "ditto")


def plan_of(town: Town) -> Plan:
    return town.plan(*ARMS, federation={"acceptance_every": 1})


@pytest.fixture(scope="module")
def played(town: Town, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the town, deployed and in one process."""
    folder = tmp_path_factory.mktemp("played")
    plan = plan_of(town)
    assert server_run(plan, town.grid(folder / "hospitals"), folder / "deployed") == here_played(plan, folder / "here")
    return folder


@pytest.fixture
def copied(played: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(played / "deployed", tmp_path / "copy"))


def config_of(played: Path, name: str) -> ClientConfig:
    return read_client_config(played / "hospitals" / name / "client.toml")


@pytest.mark.parametrize("arm", ARMS)
def test_it_is_that_of_the_same_run_in_one_process(town: Town, played: Path, copied: Path, arm: str) -> None:
    plan, images = plan_of(town), torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    for name in NAMES:
        add_own_model(config_of(played, name), copied, plan, arm)
        there, here = LoadedArm.of(copied, plan, arm).model(name), LoadedArm.of(played / "here", plan, arm).model(name)
        assert same(dict(there.state_dict()), dict(here.state_dict()))
        assert torch.equal(there(images), here(images))
        assert there.allowed == here.allowed


def test_the_commands_find_it(played: Path, copied: Path, tmp_path: Path) -> None:
    client = played / "hospitals/CT/client.toml"
    assert "name one of them" in omnifm("deploy", "model", client, copied).text
    added = omnifm("deploy", "model", client, copied, "--arm", "omnifm")
    assert "Added the model of CT after round" in added.text
    exported = omnifm("export", copied, tmp_path / "out", "--arm", "omnifm", "--client", "CT")
    assert (added.status, exported.status) == (0, 0)
    other = omnifm("export", copied, tmp_path / "other", "--arm", "omnifm", "--client", "PET")
    assert "stored with that hospital only. `omnifm deploy model` adds" in other.text


def test_what_is_missing_or_not_permitted_is_reported(town: Town, played: Path, copied: Path) -> None:
    config = config_of(played, "CT")
    strict = replace(config.policy, algorithms=("fedavg",))
    for words, changed in (
        ("Elsewhere took no part in this run. Its hospitals are: CT, MRI, PET", replace(config, name="Elsewhere")),
        ("holds no state of CT after the best round", replace(config, state=str(copied / "nothing"))),
        (r"does not permit this run: .*policy\.algorithms", replace(config, policy=strict)),
    ):
        with pytest.raises(DeploymentError, match=words):
            add_own_model(changed, copied, plan_of(town), "omnifm")


def test_training_after_it_or_another_round_is_refused(town: Town, played: Path, copied: Path) -> None:
    plan = plan_of(town)
    loaded = add_own_model(config_of(played, "CT"), copied, plan, "omnifm")
    with pytest.raises(ExperimentError, match="stored with that hospital only"):
        loaded.model("CT", "after_local_training")
    file = loaded.folder.models.folder / "CT.safetensors"
    tensors, plain = read_checkpoint(file)
    write_checkpoint(file, tensors, {**plain, "round": 99})
    with pytest.raises(CheckpointError, match="is of another round: `omnifm deploy model` adds it anew"):
        LoadedArm.of(copied, plan, "omnifm").model("CT")
