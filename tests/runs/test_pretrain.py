"""Making weights centrally, starting runs and comparisons from them, and taking models out of runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from helpers import same
from small_run import Outcome, hashes, omnifm, reached, result, write_experiment

from omnifm.checkpoint.file import read_checkpoint
from omnifm.checkpoint.weight_file import read_weights
from omnifm.tasks.task import TaskNetwork

pytestmark = pytest.mark.slow

FEW = ("--set", "federation.rounds=2")


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_experiment(tmp_path_factory.mktemp("experiment"), "local", "fedavg", "omnifm")


@pytest.fixture(scope="module")
def start(experiment: Path) -> Path:
    file = experiment.parent / "starts/start.safetensors"
    done = omnifm("pretrain", experiment, *FEW, "--out", file, "--workers", 1)
    assert done.status == 0, done.text
    assert f"Weights: {file}" in done.text
    return file


@pytest.fixture(scope="module")
def tuned(experiment: Path, start: Path) -> Path:
    """A run that starts from the weights."""
    out = experiment.parent / "tuned"
    done = omnifm("run", experiment, *FEW, "--set", f"init={start}", "--out", out, "--workers", 1)
    assert done.status == 0, done.text
    return out


def refused(outcome: Outcome, words: str) -> None:
    assert outcome.status == 1, outcome.text
    assert outcome.text.startswith("Error: ")
    assert "Traceback" not in outcome.text
    assert words in outcome.text


def test_pretraining_leaves_the_best_weights_and_a_run(start: Path) -> None:
    run = start.with_suffix("")
    assert (run / "report.html").exists()
    assert result(run / "centralised")["algorithm"] == "centralised"
    tensors, origin = read_weights(start)
    best, _ = read_checkpoint(run / "centralised/checkpoints/best-before_local_training.safetensors")
    shared = {name.removeprefix("shared/"): value for name, value in best.items() if name.startswith("shared/")}
    assert any(name.startswith("adapter.") for name in tensors)
    assert not any(name.endswith(("suffix", "num_batches_tracked")) for name in tensors)
    assert same(tensors, {name: value for name, value in shared.items() if not name.endswith("num_batches_tracked")})
    assert origin.label_names == ("left", "right")


def test_a_bare_algorithm_gets_a_bare_network(experiment: Path, tmp_path: Path) -> None:
    more = ("--set", "algorithm=fedavg", "--set", "federation.rounds=1")
    assert omnifm("pretrain", experiment, *more, "--out", tmp_path / "bare.safetensors", "--workers", 1).status == 0
    assert not any(name.startswith("adapter.") for name in read_weights(tmp_path / "bare.safetensors")[0])


def test_an_interrupted_pretraining_continues_to_the_same_file(experiment: Path, start: Path, tmp_path: Path) -> None:
    file, run = tmp_path / "start.safetensors", tmp_path / "start"
    done = omnifm("pretrain", experiment, *FEW, "--out", file, "--workers", 1, "--time-limit", "0.001s")
    assert done.status == 75
    assert f"omnifm pretrain --resume {run}" in done.text
    assert not file.exists()
    assert reached(run / "centralised", 1)()
    assert omnifm("pretrain", "--resume", run, "--workers", 1).status == 0
    (tensors, origin), (whole, its_origin) = read_weights(file), read_weights(start)
    assert same(tensors, whole)  # the bytes need not be the same: safetensors writes its metadata in any order
    assert origin == its_origin


def test_what_stands_in_the_way_of_pretraining(experiment: Path, start: Path, tmp_path: Path) -> None:
    refused(omnifm("pretrain", experiment, "--out", start), "exists already")
    refused(omnifm("pretrain", experiment, "--out", tmp_path / "start.pt"), "let its name end in .safetensors")
    refused(omnifm("pretrain"), "Give an experiment file")
    refused(omnifm("pretrain", experiment, "--out", start, "--resume", tmp_path), "only one of them")


def test_the_start_changes_every_arm(experiment: Path, tuned: Path, tmp_path: Path) -> None:
    assert omnifm("run", experiment, *FEW, "--out", tmp_path / "scratch", "--workers", 1).status == 0
    scratch, warm = hashes(tmp_path / "scratch"), hashes(tuned)
    assert scratch.keys() == warm.keys() == {"local", "fedavg", "omnifm"}
    assert not set(scratch.values()) & set(warm.values())


def test_a_run_is_repeated_from_its_folder_alone(tuned: Path, start: Path, tmp_path: Path) -> None:
    gone = start.rename(start.with_name("elsewhere.safetensors"))
    try:
        done = omnifm("run", tuned / "experiment.toml", "--out", tmp_path / "again", "--workers", 2)
        assert done.status == 0, done.text
    finally:
        gone.rename(start)
    assert hashes(tmp_path / "again") == hashes(tuned)


def test_a_resumed_run_starts_from_its_copy(experiment: Path, tuned: Path, start: Path, tmp_path: Path) -> None:
    file, out = shutil.copy(start, tmp_path / "mine.safetensors"), tmp_path / "run"
    arguments = ("run", experiment, *FEW, "--set", f"init={file}", "--out", out, "--workers", 1)
    assert omnifm(*arguments, "--time-limit", "0.001s").status == 75
    Path(file).write_bytes(b"other weights")
    assert omnifm("run", "--resume", out, "--workers", 1).status == 0
    assert hashes(out) == hashes(tuned)
    copy = next((out / "init").glob("*.safetensors"))
    (out / "omnifm/result.json").unlink()
    copy.write_bytes(b"other weights")
    refused(omnifm("run", "--resume", out), "is damaged")


def test_a_missing_file_is_reported_before_there_is_a_run(experiment: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    refused(omnifm("run", experiment, "--set", f"init={tmp_path}/no.safetensors", "--out", out), "there is no file")
    assert not (out / "experiment.toml").exists()


def test_a_comparison_starts_from_it_too(experiment: Path, start: Path, tmp_path: Path) -> None:
    file, out = shutil.copy(start, tmp_path / "mine.safetensors"), tmp_path / "compared"
    settings = ("--set", "federation.rounds=1", "--set", "federation.evaluate_every=1")
    arguments = ("--algorithms", "fedavg", "--seeds", 1, *settings, "--workers", 1)
    missing = omnifm("compare", experiment, *arguments, "--set", "init=no/file.safetensors", "--out", tmp_path / "no")
    refused(missing, "there is no file")
    done = omnifm("compare", experiment, *arguments, "--set", f"init={file}", "--out", out)
    assert done.status == 0, done.text
    assert json.loads((out / "init/index.json").read_text()).keys() == {str(file)}
    scratch = tmp_path / "scratch"
    assert omnifm("compare", experiment, *arguments, "--out", scratch).status == 0
    for cell in ("fedavg", "local", "alone"):
        place = f"cells/{cell}/p0-s0-r100"
        assert result(out / place)["weights_sha256"] != result(scratch / place)["weights_sha256"]
    refused(omnifm("export", out, tmp_path / "model"), "holds a comparison, which keeps no weights")


def test_export_writes_what_is_shared_or_a_hospitals_own(tuned: Path, tmp_path: Path) -> None:
    done = omnifm("export", tuned, tmp_path / "shared", "--arm", "omnifm")
    assert done.status == 0, done.text
    assert "Shared weights only" in done.text
    assert omnifm("export", tuned, tmp_path / "own", "--arm", "omnifm", "--client", "CT").status == 0
    shared, _ = read_weights(tmp_path / "shared/model.safetensors")
    own, _ = read_weights(tmp_path / "own/model.safetensors")
    assert same(shared, {name: own[name] for name in shared})
    assert not any("backbone" in name or "suffix" in name for name in shared)
    assert any("backbone" in name for name in own)
    assert "adapter.prompting.suffix" in own
    done = omnifm("export", tuned, tmp_path / "b", "--arm", "omnifm", "--client", "MRI")
    other, _ = read_weights(tmp_path / "b/model.safetensors")
    assert not torch.equal(other["adapter.prompting.suffix"], own["adapter.prompting.suffix"])


def test_export_without_a_folder_goes_into_the_run(tuned: Path, tmp_path: Path) -> None:
    run = shutil.copytree(tuned, tmp_path / "run")
    assert omnifm("export", run, "--arm", "fedavg").status == 0
    assert (run / "export/safetensors/model.safetensors").exists()


def test_an_exported_model_is_a_start(experiment: Path, tuned: Path, tmp_path: Path) -> None:
    assert omnifm("export", tuned, tmp_path / "model", "--arm", "fedavg").status == 0
    more = ("--set", f"init={tmp_path / 'model'}", "--set", "federation.rounds=1")
    assert omnifm("run", experiment, *more, "--out", tmp_path / "run", "--workers", 1).status == 0


def test_a_network_may_write_its_own_format(tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(self: TaskNetwork, folder: Path) -> None:
        (folder / "own.txt").write_text(f"{float(next(self.parameters()).detach().sum()):.6f}")

    monkeypatch.setattr(TaskNetwork, "export", write)
    assert omnifm("export", tuned, tmp_path / "a", "--arm", "fedavg").status == 0
    tensors, _ = read_weights(tmp_path / "a/model.safetensors")
    first = next(iter(tensors.values()))
    sums = {f"{float(value.sum()):.6f}" for value in tensors.values() if value.shape == first.shape}
    assert (tmp_path / "a/own.txt").read_text() in sums
    assert omnifm("export", tuned, tmp_path / "b", "--arm", "omnifm").status == 0
    assert not (tmp_path / "b/own.txt").exists()


def test_export_names_what_there_is(experiment: Path, tuned: Path, tmp_path: Path) -> None:
    refused(omnifm("export", tuned, tmp_path / "a"), "name one of them (local, fedavg, omnifm)")
    refused(omnifm("export", tuned, tmp_path / "a", "--arm", "fedavgg"), "Did you mean 'fedavg'?")
    refused(omnifm("export", tuned, tmp_path / "a", "--arm", "fedavg", "--client", "z"), "There is no client 'z'")
    refused(omnifm("export", tuned, tmp_path / "a", "--arm", "local"), "'local' shares no weights")
    refused(omnifm("export", tmp_path, tmp_path / "a"), "holds no run")
    assert not (tmp_path / "a").exists()
    assert omnifm("export", tuned, tmp_path / "a", "--arm", "local", "--client", "PET").status == 0
    refused(omnifm("export", tuned, tmp_path / "a", "--arm", "fedavg"), "holds a model already")
    out = tmp_path / "young"
    assert omnifm("run", experiment, *FEW, "--out", out, "--time-limit", "0.001s", "--workers", 1).status == 75
    refused(omnifm("export", out, tmp_path / "b", "--arm", "omnifm"), "no round that validation chose yet")
