"""The library from Python: the same runs as the command's, and models that are ready to call."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small_run import document, hashes, write_experiment, write_images
from small_run import omnifm as command

import omnifm
from omnifm.data.columns import read_texts
from omnifm.data.federated_dataset import load_dataset
from omnifm.runs.arm import make_arm
from omnifm.runs.run import arm_folder
from omnifm.utils.errors import OutOfTime

pytestmark = pytest.mark.slow

SHORT: dict[str, Any] = {"federation": {"rounds": 2, "evaluate_every": 1}}
OTHERS: dict[str, dict[str, Any]] = {
    "segmentation": {"data": {"size": 16, "sources": [{"kind": "phantom_regions"}]}, "segmentation": {"depth": 2}},
    "super_resolution": {"data": {"size": 24, "sources": [{"kind": "phantom"}]}},
    "vqa": {"data": {"size": 16, "sources": [{"kind": "phantom_questions"}]}, "vqa": {"compact": {"width": 8}}},
    "image_fusion": {"data": {"size": 48, "sources": [{"kind": "phantom_pairs", "modalities": ["CT-T2", "PET-T1"]}]}},
}


def tiny(folder: Path, *arms: str, **changes: Any) -> dict[str, Any]:
    return {**document(folder / "data", write_images(folder / "data"), *arms), **SHORT, **changes}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> omnifm.Run:
    folder = tmp_path_factory.mktemp("run")
    return omnifm.run(tiny(folder, "fedavg", "omnifm", "local", "ditto"), out=folder / "out", workers=1)


@pytest.fixture
def moved(run: omnifm.Run) -> Iterator[None]:
    """Let the data be away."""
    data, away = run.folder.parent / "data", run.folder.parent / "away"
    data.rename(away)
    yield
    away.rename(data)


def as_evaluated(run: omnifm.Run, arm: str, client: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a client's test images, and what the trainer predicts for them at the best round, as received."""
    experiment, folder = run.plan.arms[arm], arm_folder(run.folder, arm)
    made = make_arm(experiment, load_dataset(experiment.data, experiment.partition, experiment.seed), folder.kept)
    best = folder.read_best(folder.checkpoints(), "before_local_training")
    state = best.clients.get(client, omnifm.ClientState())
    trainer = made.runtime._ready(made.algorithm.broadcast(best.server), client, state, "before_local_training")
    seen = list(trainer.predict(trainer.client.test))
    return torch.cat([batch["image"] for batch, _ in seen]), torch.cat([output.prediction for _, output in seen])


@pytest.mark.parametrize("arm", ["fedavg", "omnifm", "local", "ditto"])
def test_a_clients_model_predicts_what_was_evaluated(run: omnifm.Run, arm: str) -> None:
    images, expected = as_evaluated(run, arm, "MRI")
    model = run.load(arm).model("MRI")
    assert not model.training
    torch.testing.assert_close(model(images), expected)
    assert not torch.equal(run.load(arm).model("CT")(images), expected) or arm == "fedavg"


def test_a_model_needs_no_data(run: omnifm.Run, moved: None) -> None:
    model = omnifm.load(run.folder).model("CT", "local")
    assert model(torch.rand(2, 1, 16, 16)).isfinite().all()
    kept = run.model("CT", "omnifm")  # its statistics are older than the weights before them: the run keeps the model
    assert kept(torch.rand(2, 1, 16, 16)).isfinite().all()
    with pytest.raises(omnifm.OmniFMError, match="data"):
        run.model("CT", "omnifm", "after_local_training")


def test_a_newcomer_has_a_model_without_labels_or_training(run: omnifm.Run) -> None:
    images = torch.rand(6, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    with pytest.raises(omnifm.OmniFMError, match="No circle takes it"):
        run.load("omnifm").model_for(images)
    model = run.load("fedavg").model_for(images)
    assert model.placement is not None
    assert str(model.placement).startswith("there are no circles")
    assert model(images).isfinite().all()


def test_after_local_training_the_model_is_another(run: omnifm.Run) -> None:
    images = torch.rand(4, 1, 16, 16)
    before, after = (run.model("CT", "omnifm", point) for point in omnifm.EVALUATION_POINTS)
    assert not torch.equal(before(images), after(images))


def test_a_model_is_of_the_round_that_was_evaluated_at_any_point(tmp_path: Path) -> None:
    federation = {**SHORT["federation"], "evaluate": ["after_local_training"]}
    run = omnifm.run(tiny(tmp_path, "fedavg", federation=federation), out=tmp_path / "out", workers=1)
    name = run.load().clients[0]
    for point in ("before_local_training", "after_local_training"):
        assert run.model(client=name, point=point)


def test_what_all_share_is_a_model_where_it_is_a_whole_network(run: omnifm.Run) -> None:
    assert run.model(arm="fedavg")(torch.rand(2, 1, 16, 16)).shape == (2, 2)
    for arm in ("omnifm", "local"):
        with pytest.raises(omnifm.OmniFMError, match=r"is not shared by all clients.*Name a client: CT, MRI, PET"):
            run.model(arm=arm)


def test_labels_can_be_left_out(run: omnifm.Run) -> None:
    model = run.model("CT", "fedavg")
    assert model.allowed == ("left", "right")
    logits = model(torch.rand(2, 1, 16, 16), allowed=["right"])
    assert logits[:, 0].eq(-torch.inf).all()
    with pytest.raises(omnifm.OmniFMError, match=r"no label 'rihgt'. Did you mean 'right'"):
        model(torch.rand(2, 1, 16, 16), allowed=["rihgt"])


@pytest.mark.parametrize(
    "images", [torch.rand(1, 16, 16), torch.rand(2, 3, 16, 16), torch.zeros(2, 1, 16, 16, dtype=torch.uint8)]
)
def test_images_of_another_form_are_refused(run: omnifm.Run, images: torch.Tensor) -> None:
    with pytest.raises(omnifm.OmniFMError, match=r"takes \(batch, 1, height, width\), floating point in \[0, 1\]"):
        run.model("CT", "fedavg")(images)


def test_what_is_given_without_use_is_refused(run: omnifm.Run) -> None:
    with pytest.raises(omnifm.OmniFMError, match="no 'question'"):
        run.model("CT", "fedavg")(torch.rand(2, 1, 16, 16), question="what is it?")


def test_unknown_names_are_reported(run: omnifm.Run) -> None:
    with pytest.raises(omnifm.OmniFMError, match="several arms: name one of them"):
        run.load()
    with pytest.raises(omnifm.OmniFMError, match="Did you mean 'fedavg'"):
        run.load("fedavgg")
    with pytest.raises(omnifm.OmniFMError, match="There is no client 'CTT'"):
        run.model("CTT", "fedavg")


def test_results_are_a_frame_and_a_table_for_notebooks(run: omnifm.Run) -> None:
    assert run.arms == ("fedavg", "omnifm", "local", "ditto")
    assert set(run.results["client"]) == {"", "CT", "MRI", "PET"}
    assert run.report.exists()
    assert "<table" in run._repr_html_()
    assert "omnifm" in run._repr_html_()


def test_a_run_has_the_bits_of_the_commands(tmp_path: Path) -> None:
    path = write_experiment(tmp_path, "omnifm", **SHORT)
    told = ("--set", "seed=3", "--set", "federation.rounds=1")
    done = command("run", path, *told, "--out", tmp_path / "command", "--workers", 1)
    assert done.status == 0, done.text
    ours = omnifm.run(path, out=tmp_path / "api", set={"seed": 3, "federation.rounds": 1}, workers=1)
    assert hashes(ours.folder) == hashes(tmp_path / "command")
    assert (ours.folder / "experiment.toml").read_bytes() == (tmp_path / "command/experiment.toml").read_bytes()


class Pause(omnifm.Callback):
    """Pauses after the first round."""

    def on_round_end(self, event: Any) -> omnifm.Stop | None:
        return omnifm.Stop("Paused", pause=True)


def test_a_paused_run_is_resumed_to_the_same_end(run: omnifm.Run, tmp_path: Path) -> None:
    shutil.copytree(run.folder.parent / "data", tmp_path / "data")
    document = {**run.plan.document, "arms": {"fedavg": {"algorithm": "fedavg"}}}
    with pytest.raises(OutOfTime, match="Paused"):
        omnifm.run(document, out=tmp_path / "out", workers=1, callbacks=[Pause()])
    with pytest.raises(omnifm.OmniFMError, match="holds a run already"):
        omnifm.run(document, out=tmp_path / "out", workers=1)
    again = omnifm.resume(tmp_path / "out", experiment=document, workers=1)
    assert hashes(again.folder)["fedavg"] == hashes(run.folder)["fedavg"]
    assert again.load().name == "fedavg"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"federation.round": 1}, "Unknown key 'federation.round'"),
        (["seed"], "write it as key=value"),
        ({"seed": object()}, "TOML cannot hold"),
    ],
)
def test_changes_that_do_not_fit_are_reported(tmp_path: Path, changes: Any, words: str) -> None:
    with pytest.raises(omnifm.OmniFMError, match=words):
        omnifm.run({"arms": {}}, out=tmp_path, set=changes)


def test_workers_are_counted_from_one(tmp_path: Path) -> None:
    with pytest.raises(omnifm.OmniFMError, match="workers = 0"):
        omnifm.run({}, out=tmp_path, workers=0)


def test_values_of_a_sweep_keep_their_kind(tmp_path: Path) -> None:
    """A comparison of a folder that holds another one is refused after its design was made."""
    given = tiny(tmp_path / "x")
    sweep: dict[str, list[Any]] = {"adapter.retrieval": [True, False], "name": ["a,b", "c"]}
    for name in ("comparison.json", "experiment.toml", "versions.json"):
        (tmp_path / name).write_text("", encoding="utf-8")
    with pytest.raises(omnifm.OmniFMError, match="already"):
        omnifm.compare(given, algorithms="omnifm", sweep=sweep, out=tmp_path, workers=1)
    with pytest.raises(omnifm.OmniFMError, match=r"adapter\.retrieval.*'maybe'"):
        omnifm.compare(given, algorithms="omnifm", sweep={"adapter.retrieval": ["maybe"]}, out=tmp_path / "b")


def test_a_comparison_from_python(tmp_path: Path) -> None:
    content = tiny(tmp_path, federation={"rounds": 1, "evaluate_every": 1})
    with pytest.raises(omnifm.OmniFMError, match="give an experiment, or the folder to resume"):
        omnifm.compare()
    found = omnifm.compare(content, algorithms=["fedavg"], seeds=1, out=tmp_path / "out", workers=1)
    assert {"fedavg", "local"} <= set(found.summary.index.get_level_values("arm"))
    assert set(found.results["algorithm"]) >= {"fedavg"}
    again = omnifm.compare(resume=found.folder, workers=1)
    assert again.results.equals(found.results)
    for opened in (omnifm.load, omnifm.resume):
        with pytest.raises(omnifm.OmniFMError, match="holds a comparison"):
            opened(found.folder)


@pytest.fixture(scope="module", params=OTHERS)
def other(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, omnifm.Run]:
    """A run of another task, on the phantom."""
    folder, content = tmp_path_factory.mktemp(request.param), OTHERS[request.param]
    source = {"modalities": ["T1", "CT"], "patients": 6, **content["data"]["sources"][0]}
    data = {**content["data"], "cache": str(folder / "cache"), "sources": [source], "answer_patients": 1}
    more = {"task": request.param, "data": data, "federation": {"rounds": 1, "evaluate_every": 1}}
    settings = {"training": {"batch_size": 4}, "adapter": {"grid": 5, "token_dim": 8}, "bank": {"min_cluster": 1}}
    run = omnifm.run({"algorithm": "omnifm", **content, **more, **settings}, out=folder / "out", workers=1)
    return request.param, run


def test_other_tasks_answer_in_their_own_way(other: tuple[str, omnifm.Run]) -> None:
    task, run = other
    arm = run.load()
    client, model = arm.clients[0], arm.model(arm.clients[0])
    spec = arm.arm.data_spec
    images = torch.rand(3, spec.channels, *spec.shape.size)
    if task == "segmentation":
        logits = model(images)
        assert logits.shape == (3, 3, 16, 16)
        assert model(images, allowed=["tumour core"])[:, [0, 2]].eq(-torch.inf).all()
        with pytest.raises(omnifm.OmniFMError, match="multiple of 4"):
            model(images[..., 1:])
    elif task == "super_resolution":
        large = model(images)
        assert large.shape == (3, 1, 48, 48)
        assert 0 <= large.min() <= large.max() <= 1
    elif task == "vqa":
        test = arm.arm.runtime.clients[client].test
        batch = test.batch(torch.arange(3))
        answers = model(batch["image"], question=read_texts(batch["question"]))
        assert len(answers) == 3
        assert all(isinstance(answer, str) for answer in answers)
        assert model(batch["image"], question="  Which  SIDE? ") == model(batch["image"], question=["which side?"] * 3)
        for wrong, words in ((None, "answers questions"), (["one?"], "3 images and 1 questions"), ("", "is empty")):
            with pytest.raises(omnifm.OmniFMError, match=words):
                model(images, question=wrong)
    else:
        fused = model(images)
        assert fused.shape == (3, 1, 48, 48)


def test_data_json_names_the_labels_of_each_client(run: omnifm.Run) -> None:
    plain = json.loads((run.folder / "omnifm/data.json").read_text(encoding="utf-8"))
    assert plain["allowed"] == {name: ["left", "right"] for name in ("CT", "MRI", "PET")}
