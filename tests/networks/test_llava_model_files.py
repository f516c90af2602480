from __future__ import annotations

import json
import runpy
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from llava_model import EXAMPLES, answered, batch, change, copied, hugging_face, made, settings
from safetensors.torch import load_file, save_file

from omnifm.networks.llava import model_files
from omnifm.networks.llava.answerer import LlavaAnswerer
from omnifm.networks.llava.settings import LlavaSettings
from omnifm.utils.errors import ExperimentError

NEEDED = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "preprocessor_config.json")


@pytest.mark.parametrize("place", ["", "/no/such/folder", "./runs/llava", "tiny", "~/llava", "examples/llava"])
def test_no_such_folder_says_which_files_there_must_be(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES.parent)
    with pytest.raises(ExperimentError, match="there is no such folder") as caught:
        LlavaAnswerer(LlavaSettings(model=place), (32, 32))
    assert repr(place) in str(caught.value)
    for name in NEEDED:
        assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_file_is_named(model: Path, tmp_path: Path, name: str) -> None:
    folder = copied(model, tmp_path)
    (folder / name).unlink()
    with pytest.raises(ExperimentError, match=rf"lacks .*{name}") as caught:
        made(folder)
    assert str(folder) in str(caught.value)


def test_a_shard_that_is_missing_is_named(model: Path, tmp_path: Path) -> None:
    folder = copied(model, tmp_path)
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    with pytest.raises(ExperimentError, match=r"lacks model-00002-of-00002\.safetensors"):
        made(folder)


def test_pickled_weights_are_not_read(model: Path, tmp_path: Path) -> None:
    folder = copied(model, tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ExperimentError, match=r"\.bin files are pickles and not read"):
        made(folder)


def test_weights_that_are_damaged_or_lack_something(model: Path, tmp_path: Path) -> None:
    folder = copied(model, tmp_path)
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if "multi_modal_projector" in name)
    save_file({n: v for n, v in weights.items() if n != name}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ExperimentError, match=r"weights lack 1 tensors, .*multi_modal_projector"):
        made(folder)
    (folder / "model.safetensors").write_bytes(b"no safetensors")
    with pytest.raises(ExperimentError, match="cannot be read"):
        made(folder)


def test_a_model_that_is_no_llava(model: Path, tmp_path: Path) -> None:
    folder = copied(model, tmp_path)
    (folder / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ExperimentError, match="of a 'bert' model, not of a 'llava' model"):
        made(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ExperimentError, match="cannot be read"):
        made(folder)


def test_a_tokenizer_without_the_images_token(model: Path, tmp_path: Path) -> None:
    folder = copied(model, tmp_path)
    change(folder / "config.json", image_token_index=999)
    with pytest.raises(ExperimentError, match="does not know the image's token, number 999"):
        made(folder)


def test_the_hub_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("We couldn't connect to 'https://huggingface.co'\nCheck your internet connection")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", fail)
    monkeypatch.setattr(model_files, "hub_fault", lambda: "")
    with pytest.raises(
        ExperimentError, match="neither a folder here nor to be had from the Hugging Face hub"
    ) as caught:
        LlavaAnswerer(LlavaSettings(model="owner/name"), (32, 32))
    assert "couldn't connect" in str(caught.value)
    assert "preprocessor_config.json" in str(caught.value)


def test_a_hub_that_cannot_be_reached_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_files, "hub_fault", lambda: "the.hub cannot be reached: no route")
    begun = time.monotonic()
    with pytest.raises(ExperimentError, match=r"from the Hugging Face hub: the\.hub cannot be reached: no route\."):
        LlavaAnswerer(LlavaSettings(model="owner/name"), (32, 32))
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("package", ["transformers", "peft"])
def test_the_extra_packages_are_missing(model: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ExperimentError, match=r"pip install 'omnifm\[vqa\]'"):
        LlavaAnswerer(settings(model), (32, 32))


def test_volumes_are_not_read(model: Path) -> None:
    with pytest.raises(ExperimentError, match="images of two axes, and these have 3"):
        LlavaAnswerer(settings(model), (32, 32, 32))


@pytest.mark.parametrize(
    "changes", [{"rank": 0}, {"max_new_tokens": 0}, {"alpha": 0}, {"dropout": 1.0}, {"dropout": -0.1}]
)
def test_settings_are_checked(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        LlavaSettings(**changes)


def test_a_model_is_composed_of_an_image_encoder_and_a_language_model(model: Path, tmp_path: Path) -> None:
    from transformers import CLIPImageProcessorPil, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    whole, _ = hugging_face(model)
    whole.model.vision_tower.save_pretrained(tmp_path / "vision")
    CLIPImageProcessorPil.from_pretrained(model).save_pretrained(tmp_path / "vision")
    config = LlamaConfig(**{**whole.config.text_config.to_dict(), "vocab_size": 259, "tie_word_embeddings": True})
    LlamaForCausalLM(config).save_pretrained(tmp_path / "language")
    words = json.loads((model / "tokenizer.json").read_text())
    words["added_tokens"] = [token for token in words["added_tokens"] if token["content"] != "<image>"]
    del words["model"]["vocab"]["<image>"]
    words["model"]["vocab"] = {word: number - (number > 3) for word, number in words["model"]["vocab"].items()}
    (tmp_path / "words.json").write_text(json.dumps(words))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(tmp_path / "words.json"), bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    tokenizer.save_pretrained(tmp_path / "language")
    compose = runpy.run_path(str(EXAMPLES / "compose_llava.py"))["compose"]
    compose(str(tmp_path / "vision"), str(tmp_path / "language"), tmp_path / "llava")
    answerer, tokens, head = made(tmp_path / "llava", train="connector+llm")
    assert torch.equal(tokens(batch()["image"]), made(model)[1](batch()["image"]))
    assert head.lm_head.weight is head.language_model.get_input_embeddings().weight
    assert len(head.lm_head.weight) == 260
    out = answered(answerer, tokens, head.train(), batch())["loss"]
    assert out.isfinite().all()
    out.mean().backward()
    assert all(p.grad is not None for p in head.parameters() if p.requires_grad)


def test_reading_is_silent(model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = copied(model, tmp_path)
    made(folder, train="connector+llm")
    weights = load_file(folder / "model.safetensors")
    weights.pop(next(name for name in weights if "multi_modal_projector" in name))
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ExperimentError):
        made(folder)
    assert capfd.readouterr() == ("", "")
