"""Models as files that other programs run, and what lies beside them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_run import omnifm as command
from trained_runs import picture

import omnifm
from omnifm.export.program import check_agreement, example_inputs, make_program
from omnifm.networks.compact_vqa import CompactAnswerer, CompactSettings, hashed_words
from omnifm.utils.errors import ExperimentError

Trained = Callable[[str], omnifm.Run]
TASKS = ("classification", "segmentation", "super_resolution", "image_fusion", "vqa")
ALONE = "import sys; sys.modules['omnifm'] = None\n"
"""Makes every import of the library fail."""


def first_client(run: omnifm.Run) -> str:
    return run.load().clients[0]


def given(run: omnifm.Run, rows: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Return inputs of a program, and what the original model gives of them."""
    model = run.model(first_client(run))
    inputs = {name: value[:rows] for name, value in example_inputs(model).items()}
    asked = {"question": ["is there one?", "what is it?", "where?"][:rows]} if "words" in inputs else {}
    return inputs, model.result(inputs["image"], **asked)


def snippet(folder: Path) -> str:
    """Return the Python of an export's README."""
    return re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)[0]


def run_alone(code: str, folder: Path) -> str:
    """Run code where the library cannot be imported."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ALONE + code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_onnx_agrees_with_the_original(trained: Trained, tmp_path: Path, task: str) -> None:
    import onnxruntime

    run = trained(task)
    run.export(tmp_path / "model", "onnx", first_client(run))
    session = onnxruntime.InferenceSession(tmp_path / "model/model.onnx")
    for rows in (1, 2, 3):
        inputs, expected = given(run, rows)
        found = session.run(list(expected), {name: value.numpy() for name, value in inputs.items()})
        values = {name: torch.from_numpy(value) for name, value in zip(expected, found, strict=True)}
        assert {name: value.shape for name, value in values.items()} == {n: v.shape for n, v in expected.items()}
        assert check_agreement(values, expected) <= 1e-4
    assert session.get_inputs()[0].shape[0] == "batch"
    about = json.loads(session.get_modelmeta().custom_metadata_map["omnifm"])
    assert about == json.loads((tmp_path / "model/model.json").read_text())
    assert b"program.py" not in (tmp_path / "model/model.onnx").read_bytes()


@pytest.mark.parametrize("task", ["classification", pytest.param("vqa", marks=pytest.mark.slow)])
def test_a_torch_program_runs_where_the_library_is_not(trained: Trained, tmp_path: Path, task: str) -> None:
    run, folder = trained(task), tmp_path / "model"
    run.export(folder, "torch", first_client(run))
    inputs, expected = given(run, 2)
    main = next(iter(expected))
    np.savez(folder / "given.npz", **{name: value.numpy() for name, value in inputs.items()})
    code = (
        "import json, numpy\n"
        "given = {name: torch.from_numpy(value) for name, value in numpy.load('given.npz').items()}\n"
        "image, *more = given.pop('image'), *[given][: len(given)]\n"
        f"print(json.dumps(program(image, *more)['{main}'].tolist()))\n"
    )
    printed = run_alone(snippet(folder) + code, folder).splitlines()
    assert len(printed) > 1  # what the README shows, too
    torch.testing.assert_close(torch.tensor(json.loads(printed[-1])).float(), expected[main].float(), atol=1e-4, rtol=0)


def test_the_bank_and_the_personal_parts_are_in_a_program(trained: Trained) -> None:
    run = trained("classification")
    model = run.model("CT")
    program = make_program(model)
    assert model.model.adapter is not None
    bank = model.model.adapter.bank
    assert len(bank)
    kept = [*program.exported.state_dict.values(), *program.exported.constants.values()]
    assert any(value.shape == bank.shape and torch.equal(value, bank) for value in kept)
    suffix = model.model.adapter.prompting.suffix
    assert suffix is not None
    assert any(torch.equal(value, suffix) for value in kept if value.shape == suffix.shape)
    model.model.adapter.use_bank(None)
    found = program.exported.module()(program.example["image"])["probability"]
    assert not torch.equal(found, model.result(program.example["image"])["probability"])


def test_making_a_program_leaves_the_model_and_its_caches_as_they_were(trained: Trained) -> None:
    model = trained("segmentation").model("CT")
    images = torch.rand(2, 1, 16, 16)
    before = model(images)
    make_program(model)
    assert torch.equal(model(images), before)


def test_a_program_that_computes_something_else_is_refused() -> None:
    one = {"probability": torch.zeros(2, 2)}
    assert check_agreement({"probability": torch.full((1, 2), 5e-5)}, one) == pytest.approx(5e-5)
    for wrong in (torch.full((1, 2), 2e-4), torch.full((1, 2), torch.nan)):
        with pytest.raises(ExperimentError, match="gives another 'probability'"):
            check_agreement({"probability": wrong}, one)


def test_the_words_of_a_question_are_made_as_in_training() -> None:
    names: dict[str, Any] = {}
    exec(CompactAnswerer(CompactSettings(buckets=64), 1, ()).signature.code, names)
    for question in ("Is there a lesion?", "où est-il", "?", "肿瘤 left"):
        expected = hashed_words(question, 64) or [(0, 0)]
        assert names["words"](question).tolist() == [np.array(expected).T.tolist()]


def test_answers_come_out_of_a_program_as_texts(trained: Trained) -> None:
    run = trained("vqa")
    model = run.model(first_client(run))
    images = torch.rand(4, 1, 16, 16)
    found = model.result(images, question="where is it?")["answer"]
    assert [bytes(row.tolist()).rstrip(b"\0").decode() for row in found] == model(images, question="where is it?")


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch of its own parts, as it reads a program
@pytest.mark.filterwarnings("ignore::UserWarning:monai.*")  # MONAI of readers that it has not
def test_a_bundle_is_one_that_monai_verifies_and_runs(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from monai.bundle.config_parser import ConfigParser
    from monai.bundle.scripts import verify_net_in_out

    run, folder = trained("segmentation"), tmp_path / "bundle"
    assert command("export", run.folder, folder, "--format", "monai-bundle", "--client", "CT").status == 0
    meta, config = str(folder / "configs/metadata.json"), str(folder / "configs/inference.json")
    about = json.loads(Path(meta).read_text())
    needed = [
        "schema",
        "version",
        "changelog",
        "monai_version",
        "pytorch_version",
        "numpy_version",
        "task",
        "required_packages_version",
        "description",
        "authors",
        "copyright",
        "network_data_format",
    ]
    assert [name for name in needed if not about.get(name)] == []
    (folder / "images").mkdir()
    values, _ = picture(5, 20)
    Image.fromarray(values).save(folder / "images/a.png")
    monkeypatch.chdir(folder)
    verify_net_in_out("network_def", meta, config, "cpu")
    parser = ConfigParser()
    parser.read_config(config)
    (item,) = parser.get_parsed_content("run", eval_expr=True)[0]
    expected = run.predict(folder / "images/a.png", client="CT", modality="CT", out=tmp_path / "o")
    with Image.open(tmp_path / "o" / expected.loc[0, "mask"]) as mask:
        here = np.asarray(mask) > 0
    there = np.asarray(item["pred"])[0].T > 0.5  # of a picture, MONAI counts columns first
    assert there.shape == here.shape
    assert (there == here).mean() > 0.97
    assert list((folder / "predictions").glob("a*"))
    assert (folder / "docs/README.md").read_text().startswith("# Model card")


def test_a_card_says_what_the_model_is(trained: Trained, tmp_path: Path) -> None:
    run = trained("classification")
    run.export(tmp_path / "model", client="PET")
    card = (tmp_path / "model/MODEL_CARD.md").read_text()
    test = run.results.query("split == 'test' and metric == 'accuracy'")["value"]
    row = (
        rf"\| test \| accuracy \| {test.mean():.4g} \| {test.std():.4g} \| {test.min():.4g} \| {test.max():.4g} \| 3 \|"
    )
    assert re.search(row, card)
    for words in (
        "not for diagnosis",
        "| PET | PET | 12 | 4 | 4 |",
        "client `PET`",
        "no noise was added",
        "left, right",
    ):
        assert words in card
    assert "- torch " in card
    assert (tmp_path / "model/bank.safetensors").exists()


def test_what_cannot_be_exported_is_said(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained("classification")
    with pytest.raises(ExperimentError, match=r"no format 'onxx'\. Did you mean 'onnx'"):
        run.export(tmp_path / "a", "onxx")
    with pytest.raises(ExperimentError, match="Name a client"):
        run.export(tmp_path / "a", "onnx")
    model = run.model("CT")
    monkeypatch.setattr(model.task, "no_program", "it sings", raising=False)
    with pytest.raises(ExperimentError, match="cannot be exported as a program: it sings"):
        make_program(model)
    assert not (tmp_path / "a").exists()
    run.export(tmp_path / "b", client="CT")
    with pytest.raises(ExperimentError, match="holds a model already"):
        run.export(tmp_path / "b", "torch", "CT")
