"""Starting from given weights: what is taken, what stays as drawn, and what is refused."""

from __future__ import annotations

import json
import logging
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from helpers import LABELS, federated, made_client, made_dataset, same, same_checkpoint, small_arm
from safetensors.torch import save_file

from omnifm.checkpoint import kept_weights
from omnifm.checkpoint.kept_weights import KeptWeights, find_weights
from omnifm.checkpoint.weight_file import Origin, read_weights, write_weights
from omnifm.core.tensors import Tensors, digest
from omnifm.data.federated_dataset import FederatedDataset
from omnifm.runs import initial_weights as start
from omnifm.runs.arm import Arm
from omnifm.utils.errors import CheckpointError, ExperimentError
from omnifm.utils.warn_once import warn_once


@pytest.fixture(autouse=True)
def _fresh_warnings() -> None:
    warn_once.cache_clear()


def given(folder: Path, arm: Arm | None = None, tensors: Tensors | None = None, **changes: Any) -> Path:
    """Write a file of weights that nobody would draw: those of an arm of another seed."""
    arm = small_arm("omnifm", seed=5) if arm is None else arm
    path = folder / "given.safetensors"
    write_weights(path, arm.runtime.initial if tensors is None else tensors, replace(arm.origin, **changes))
    return path


def renamed(labels: tuple[str, ...]) -> FederatedDataset:
    return FederatedDataset(made_dataset().clients, labels)


def test_all_arms_start_from_the_file(tmp_path: Path) -> None:
    path = given(tmp_path)
    tensors, _ = read_weights(path)
    for name in ("fedavg", "local", "omnifm", "centralised", "gpfl"):
        own, drawn = small_arm(name, init=str(path)).runtime.initial, small_arm(name).runtime.initial
        taken = {key for key in own if key in tensors and start.travels(key)}
        assert len(taken) > 10
        assert same({key: own[key] for key in taken}, {key: tensors[key] for key in taken})
        rest = own.keys() - taken
        assert same({key: own[key] for key in rest}, {key: drawn[key] for key in rest})


def test_the_suffix_and_the_counters_are_never_taken(tmp_path: Path) -> None:
    tensors = {name: torch.full_like(value, 7) for name, value in small_arm("omnifm").runtime.initial.items()}
    own = small_arm("omnifm", init=str(given(tmp_path, tensors=tensors))).runtime.initial
    left = {name for name, value in own.items() if not (value == 7).all()}
    assert "adapter.prompting.suffix" in left
    assert left - {"adapter.prompting.suffix"} == {name for name in own if name.endswith("num_batches_tracked")}
    assert all(own[name] == 0 for name in left if name.endswith("num_batches_tracked"))


def test_scratch_is_as_drawn() -> None:
    assert same(small_arm("omnifm", init="scratch").runtime.initial, small_arm("omnifm").runtime.initial)


@pytest.mark.parametrize("labels", [("a", "b", "c"), LABELS])
def test_what_depends_on_other_labels_stays_as_drawn(
    tmp_path: Path, labels: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    path = given(tmp_path)
    dataset = renamed(labels)
    own, drawn = (small_arm("fedavg", dataset, **more).runtime.initial for more in ({"init": str(path)}, {}))
    head = {name: value for name, value in own.items() if name.startswith("network.head.")}
    told = "network.head.weight, network.head.bias (the labels are others than the file's)"
    if labels == LABELS:
        assert same(head, {name: read_weights(path)[0][name] for name in head})
        assert not caplog.records
    else:
        assert same(head, {name: drawn[name] for name in head})
        assert told in caplog.text


def test_a_wider_label_space_keeps_the_backbone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    wide = FederatedDataset((made_client("A", "CT", (0, 1), 1),), LABELS)
    fields = {"label_names": ("lying", "standing", "crossed", "none")}
    tensors = dict(small_arm("fedavg", seed=5).runtime.initial)
    tensors["network.head.weight"] = torch.zeros(4, tensors["network.head.weight"].shape[1])
    tensors["network.head.bias"] = torch.zeros(4)
    path = given(tmp_path, small_arm("fedavg", seed=5), tensors, **fields)
    own = small_arm("fedavg", wide, init=str(path)).runtime.initial
    assert own["network.head.weight"].shape[0] == 3
    backbone = {name for name in own if name.startswith("network.backbone.") and start.travels(name)}
    assert same({name: own[name] for name in backbone}, {name: tensors[name] for name in backbone})
    assert "network.head.weight" in caplog.text


def test_what_the_file_lacks_is_reported_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = given(tmp_path, small_arm("fedavg", seed=5))
    for _ in range(2):
        small_arm("omnifm", init=str(path))
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "adapter.tokenizer (" in record.getMessage()
    assert "(the file does not hold them)" in record.getMessage()


def test_another_width_is_refused_with_its_setting(tmp_path: Path) -> None:
    path = given(tmp_path, small_arm("fedavg", classification={"width": 16}))
    with pytest.raises(ExperimentError) as error:
        small_arm("fedavg", init=str(path))
    assert "network.backbone." in str(error.value)
    assert "(16, 1, 3, 3) in the file, and (8, 1, 3, 3) here" in str(error.value)
    assert str(error.value).endswith("classification.width: 16 then, 8 now.")


@pytest.mark.slow
def test_another_network_is_refused(tmp_path: Path) -> None:
    path = given(tmp_path, small_arm("fedavg", classification={"network": "resnet18"}))
    with pytest.raises(ExperimentError, match=r"which this network has not.*'resnet18' then, 'compact' now"):
        small_arm("fedavg", init=str(path))


def test_another_adapter_is_refused(tmp_path: Path) -> None:
    path = given(tmp_path, small_arm("omnifm", adapter={"token_dim": 16}))
    with pytest.raises(ExperimentError, match=r"adapter\.token_dim: 16 then, 8 now"):
        small_arm("omnifm", init=str(path))


def test_another_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="was made for task = 'juggling'; this one is"):
        small_arm("fedavg", init=str(given(tmp_path, task="juggling")))


def test_files_of_others_are_refused(tmp_path: Path) -> None:
    foreign, torn, text = tmp_path / "foreign.safetensors", tmp_path / "torn.safetensors", tmp_path / "text.safetensors"
    save_file({"weight": torch.zeros(3)}, foreign)
    torn.write_bytes(given(tmp_path).read_bytes()[:-100])
    text.write_text("not weights")
    for path, words in ((foreign, "holds no weights in the format"), (torn, "damaged"), (text, "no safetensors file")):
        with pytest.raises(CheckpointError, match=words):
            small_arm("fedavg", init=str(path))


def test_a_changed_number_is_found(tmp_path: Path) -> None:
    path = given(tmp_path)
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="SHA-256 does not match"):
        small_arm("fedavg", init=str(path))


def test_origin_goes_through_the_file(tmp_path: Path) -> None:
    arm = small_arm("omnifm")
    _, origin = read_weights(given(tmp_path, arm))
    assert origin == arm.origin
    assert origin.label_names == LABELS
    assert len(origin.experiment) == 64
    assert isinstance(origin, Origin)


def test_rounds_from_given_weights_are_the_same_each_time(tmp_path: Path) -> None:
    path = str(given(tmp_path))
    first, second, scratch = (federated(small_arm("omnifm", init=init))[-1] for init in (path, path, "scratch"))
    assert same_checkpoint(first, second)
    assert not same(first.server.shared, scratch.server.shared)


def test_a_path_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for init in ("runs/gone.safetensors", "gone", "/gone/away/for.safetensors", "~/gone/x.safetensors"):
        with pytest.raises(ExperimentError, match=r"there is no file .*gone.*omnifm pretrain"):
            find_weights(init)


def test_a_folder_stands_for_its_model(tmp_path: Path) -> None:
    (tmp_path / "exported").mkdir()
    path = given(tmp_path).rename(tmp_path / "exported/model.safetensors")
    assert find_weights(str(tmp_path / "exported")) == path


def hub(monkeypatch: pytest.MonkeyPatch, download: Any) -> None:
    module = ModuleType("huggingface_hub")
    module.hf_hub_download = download  # type: ignore[attr-defined]
    monkeypatch.setattr(kept_weights, "hub_fault", lambda: "")
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)


def test_a_hub_id_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, asked = given(tmp_path), []

    def download(repository: str, file: str, local_files_only: bool) -> str:
        assert not local_files_only
        asked.append((repository, file))
        return str(path)

    hub(monkeypatch, download)
    own = small_arm("fedavg", init="some-clinic/weights_1.0").runtime.initial
    assert same(
        {k: own[k] for k in ("network.head.bias",)}, {k: read_weights(path)[0][k] for k in ("network.head.bias",)}
    )
    assert find_weights("some-clinic/weights_1.0:deep/other.safetensors") == path
    assert asked == [
        ("some-clinic/weights_1.0", "model.safetensors"),
        ("some-clinic/weights_1.0", "deep/other.safetensors"),
    ]


def test_no_network_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(repository: str, file: str, local_files_only: bool) -> str:
        raise FileNotFoundError("Cannot find the requested files in the disk cache and outgoing traffic is disabled.\n")

    hub(monkeypatch, download)
    with pytest.raises(ExperimentError, match=r"model.safetensors of clinic/weights cannot be had .*outgoing traffic"):
        find_weights("clinic/weights")


def test_the_real_library_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ExperimentError, match="cannot be had from the Hugging Face Hub"):
        find_weights("clinic/weights")


def test_a_hub_that_cannot_be_reached_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Left to itself, the library tries for 23 seconds."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(kept_weights, "hub_fault", lambda: "the.hub cannot be reached: no route")
    monkeypatch.setattr(socket, "create_connection", None)  # nor is it asked all the same
    begun = time.monotonic()
    with pytest.raises(
        ExperimentError, match=r"'clinic/weights' is no file .*the\.hub cannot be reached: no route\. Down"
    ):
        find_weights("clinic/weights")
    assert time.monotonic() - begun < 5


def test_what_was_downloaded_before_does_without_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = given(tmp_path)

    def download(repository: str, file: str, local_files_only: bool) -> str:
        assert local_files_only
        return str(path)

    hub(monkeypatch, download)
    monkeypatch.setattr(kept_weights, "hub_fault", lambda: "no network")
    assert find_weights("clinic/weights") == path


def test_without_the_hub_library_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ExperimentError, match="pip install huggingface_hub"):
        find_weights("clinic/weights")


def test_copies_outlive_their_files(tmp_path: Path) -> None:
    path = given(tmp_path)
    kept, again = KeptWeights(tmp_path / "run/init"), KeptWeights(tmp_path / "again/init")
    kept.keep([str(path), "scratch", str(path)])
    data = path.read_bytes()
    path.unlink()
    assert kept.find(str(path)).read_bytes() == data
    again.keep([str(path)], kept)
    assert again.find(str(path)).read_bytes() == data
    assert json.loads((again.path / "index.json").read_text()).keys() == {str(path)}
    kept.find(str(path)).write_bytes(data[:-1])
    with pytest.raises(CheckpointError, match="is damaged"):
        kept.find(str(path))
    with pytest.raises(CheckpointError, match="copy of 'other'"):
        kept.find("other")


def test_without_given_weights_no_folder_is_made(tmp_path: Path) -> None:
    KeptWeights(tmp_path / "init").keep(["scratch"])
    assert not (tmp_path / "init").exists()


ODD = {
    "no JSON": "{",
    "a list": "[1, 2]",
    "a text": '"omnifm weights 1"',
    "deep": "[" * 100_000,
    "nothing else": '{"format": "omnifm weights 1"}',
    "a key too many": None,
    "a size of words": None,
    "settings that are none": None,
}


@pytest.mark.parametrize("kind", ODD)
def test_a_file_with_odd_metadata_is_no_file_of_weights(tmp_path: Path, kind: str) -> None:
    """Its digest is right: another program wrote it, or someone who knows how."""
    about = {"format": "omnifm weights 1", **vars(small_arm("fedavg").origin)}
    changed: dict[str, dict[str, Any]] = {
        "a key too many": {"more": 1},
        "a size of words": {"size": ["x"]},
        "settings that are none": {"settings": 3},
    }
    text = ODD[kind] or json.dumps({**about, **changed[kind]})
    tensors = {"network.head.bias": torch.zeros(3)}
    path = tmp_path / "odd.safetensors"
    save_file(tensors, path, {"plain": text, "sha256": digest(tensors, text)})
    with pytest.raises(CheckpointError, match=r"odd\.safetensors .*'omnifm export'") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)


def test_a_type_that_numpy_lacks_is_read(tmp_path: Path) -> None:
    path = given(tmp_path, tensors={"network.head.bias": torch.zeros(3, dtype=torch.bfloat16)})
    assert read_weights(path)[0]["network.head.bias"].dtype == torch.bfloat16


def test_a_damaged_list_of_copies_is_named(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match=r"index\.json, the list of the weights"):
        KeptWeights(tmp_path).find("x")
