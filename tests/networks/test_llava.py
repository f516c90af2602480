from __future__ import annotations

import json
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from omnifm.data.columns import Texts
from omnifm.data.examples import Batch
from omnifm.errors import ExperimentError
from omnifm.networks.llava import LlavaAnswerer, LlavaSettings
from omnifm.networks.llava.halves import LlavaHead, LlavaTokens, in_scale
from omnifm.networks.llava.images import clip_images


@pytest.fixture
def model(tiny_llava: Path) -> Path:
    return tiny_llava


def settings(model: Path, **changes: Any) -> LlavaSettings:
    return LlavaSettings(**{"model": str(model), "rank": 4, "alpha": 8, "max_new_tokens": 5, **changes})


def made(model: Path, **changes: Any) -> tuple[LlavaAnswerer, LlavaTokens, LlavaHead]:
    answerer = LlavaAnswerer(settings(model, **changes), (32, 32))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return answerer, *answerer.halves()


EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
QUESTIONS, ANSWERS = ("is there a lesion?", "which side?", "what is it?"), ("yes", "left lobe", "é")


def batch(channels: int = 3, size: int = 32) -> Batch:
    image = torch.rand(3, channels, size, size, generator=torch.Generator().manual_seed(1))
    return {"image": image, "question": Texts.of(QUESTIONS).utf8, "answer": Texts.of(ANSWERS).utf8}


def answered(answerer: LlavaAnswerer, tokens: LlavaTokens, head: LlavaHead, given: Batch) -> dict[str, Tensor]:
    seen = tokens(given["image"])
    return head(seen, seen, answerer.read(given))


def hugging_face(model: Path) -> tuple[Any, Any]:
    """Return the model and its processor as Hugging Face's own users load them."""
    from transformers import AutoTokenizer, CLIPImageProcessorPil, LlavaForConditionalGeneration, LlavaProcessor

    processor = LlavaProcessor(
        CLIPImageProcessorPil.from_pretrained(model),
        AutoTokenizer.from_pretrained(model),
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    return LlavaForConditionalGeneration.from_pretrained(model).eval(), processor


@pytest.mark.parametrize("train", ["connector", "connector+llm"])
def test_it_says_what_hugging_faces_own_model_says(model: Path, train: str) -> None:
    from PIL import Image

    answerer, tokens, head = made(model, train=train)
    whole, processor = hugging_face(model)
    levels = (batch()["image"] * 255).round()
    given = answerer.read({**batch(), "image": levels / 255})
    pictures = [Image.fromarray(image.permute(1, 2, 0).byte().numpy()) for image in levels]

    def processed(ends: tuple[str, ...]) -> Any:
        texts = [f"USER: <image>\n{q} ASSISTANT:{end}" for q, end in zip(QUESTIONS, ends, strict=True)]
        return processor(images=pictures, text=texts, padding=True, padding_side="left", return_tensors="pt")

    asked, told = processed(("", "", "")), processed(tuple(f" {answer}</s>" for answer in ANSWERS))
    assert torch.equal(asked.input_ids, given["asked"])
    assert torch.equal(told.input_ids, given["told"])
    assert torch.equal(told.attention_mask, given["told_mask"].long())
    with torch.inference_mode():
        out = answered(answerer, tokens.eval(), head.eval(), given)
        written = whole.generate(**asked, max_new_tokens=5, do_sample=False)[:, asked.input_ids.shape[1] :]
        losses = [
            whole(
                input_ids=told.input_ids[row : row + 1],
                attention_mask=told.attention_mask[row : row + 1],
                pixel_values=told.pixel_values[row : row + 1],
                labels=told.input_ids.masked_fill(~given["told_answer"], -100)[row : row + 1],
            ).loss
            for row in range(3)
        ]
    assert torch.equal(out["written"], written)
    torch.testing.assert_close(out["loss"], torch.stack(losses), atol=1e-4, rtol=1e-4)


def test_the_answer_ends_with_the_end_of_the_text(model: Path) -> None:
    answerer, *_ = made(model)
    given = answerer.read(batch())
    rows = [ids[answer].tolist() for ids, answer in zip(given["told"], given["told_answer"], strict=True)]
    assert [row[-1] for row in rows] == [2, 2, 2]
    assert [len(row) for row in rows] == [1 + len(answer.encode()) + 1 for answer in ANSWERS]
    texts = answerer.answers({"written": torch.nn.utils.rnn.pad_sequence(list(map(torch.tensor, rows)), True)}, given)
    assert tuple(texts) == ANSWERS


def test_a_question_cannot_bring_an_image_of_its_own(model: Path) -> None:
    answerer, tokens, head = made(model)
    given = {**batch(), "question": Texts.of(["<image>?", "a", "b <image><image>"]).utf8}
    assert answered(answerer, tokens, head.train(), given)["loss"].isfinite().all()


def test_an_answer_does_not_depend_on_the_truth_or_on_the_rest_of_the_batch(model: Path) -> None:
    answerer, tokens, head = made(model, train="connector+llm")
    with torch.inference_mode():
        head.eval()
        whole = answered(answerer, tokens, head, batch())
        other = answered(answerer, tokens, head, {**batch(), "answer": Texts.of(["no", "right", "x"]).utf8})
        alone = answered(answerer, tokens, head, {name: value[1:2] for name, value in batch().items()})
    assert torch.equal(other["written"], whole["written"])
    assert torch.equal(alone["written"], whole["written"][1:2])
    torch.testing.assert_close(alone["loss"], whole["loss"][1:2])


def test_training_writes_nothing(model: Path) -> None:
    answerer, tokens, head = made(model)
    out = answered(answerer, tokens, head.train(), batch())
    assert out.keys() == {"loss"}
    assert answerer.loss(out, batch()) == out["loss"].mean()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(24, 24), (32, 32), (48, 48), (40, 56), (61, 43)])
def test_images_are_as_clips_own_processor_makes_them(channels: int, size: tuple[int, int]) -> None:
    from PIL import Image
    from transformers import CLIPImageProcessorPil

    processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    smooth = torch.rand(2, channels, 6, 6, generator=torch.Generator().manual_seed(0))
    levels = (torch.nn.functional.interpolate(smooth, size, mode="bilinear") * 255).round()
    pictures = [Image.fromarray(image.permute(1, 2, 0).squeeze(2).byte().numpy()) for image in levels]
    expected = torch.from_numpy(np.stack(processor(pictures).pixel_values))
    mean, std = torch.tensor(processor.image_mean), torch.tensor(processor.image_std)
    found = clip_images(levels / 255, 32, mean, std)
    # It rounds to 256 levels after resizing, each 1 / 255 / 0.26 wide here.
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1.5 / 255 / 0.26


def test_tokens_come_from_the_layer_that_the_model_names(model: Path) -> None:
    _, tokens, _ = made(model)
    whole, _ = hugging_face(model)
    pixels = clip_images(batch()["image"], 32, tokens.mean, tokens.std)
    with torch.inference_mode():
        states = whole.model.vision_tower(pixels, output_hidden_states=True).hidden_states
    found = tokens(batch()["image"])
    assert found.shape == (3, 16, tokens.width) == (3, 16, 32)
    torch.testing.assert_close(found, states[-2][:, 1:])
    assert not found.requires_grad


def test_several_layers_and_the_class_token(model: Path, tmp_path: Path) -> None:
    folder = copied(model, tmp_path)
    change(folder / "config.json", vision_feature_layer=[-3, -2], vision_feature_select_strategy="full")
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.endswith("projector.linear_1.weight"))
    weights[name] = weights[name].repeat(1, 2)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    answerer, tokens, head = made(folder)
    assert tokens(batch()["image"]).shape == (3, 17, 64)
    assert answered(answerer, tokens, head.train(), batch())["loss"].isfinite().all()


def test_tokens_take_back_their_scale() -> None:
    seen = 3 + 7 * torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(in_scale(seen, seen), seen, atol=1e-4, rtol=1e-4)
    normalised = torch.nn.functional.layer_norm(seen, (32,))
    torch.testing.assert_close(in_scale(normalised, seen), seen, atol=1e-4, rtol=1e-4)
    # By hand: a token (0, 2) seen as (10, 30) has mean 20 and deviation 10.
    torch.testing.assert_close(
        in_scale(torch.tensor([[[0.0, 2.0]]]), torch.tensor([[[10.0, 30.0]]])).round(), torch.tensor([[[10.0, 30.0]]])
    )


TRAINED = {
    "connector": {"projector"},
    "connector+llm": {"projector", "q_proj", "k_proj", "v_proj", "o_proj"},
}


@pytest.mark.parametrize("train", list(TRAINED))
def test_what_is_trained(model: Path, train: str) -> None:
    answerer, tokens, head = made(model, train=train)
    assert not any(parameter.requires_grad for parameter in tokens.parameters())
    learned = {name: p for name, p in head.named_parameters() if p.requires_grad}
    places = {part for name in learned for part in name.split(".") if part == "projector" or part.endswith("_proj")}
    assert places == TRAINED[train]
    assert all("lora_" in name for name in learned if not name.startswith("projector."))
    answerer.loss(answered(answerer, tokens, head.train(), batch()), batch()).backward()
    assert all(p.grad is not None for p in learned.values())
    assert all(p.grad is None for p in [*head.parameters(), *tokens.parameters()] if not p.requires_grad)


def test_only_what_goes_into_low_rank_changes_is_dropped(model: Path, tmp_path: Path) -> None:
    folder = copied(model, tmp_path)
    text = json.loads((folder / "config.json").read_text())
    change(
        folder / "config.json",
        text_config={**text["text_config"], "attention_dropout": 0.9},
        vision_config={**text["vision_config"], "attention_dropout": 0.9},
    )
    answerer, tokens, head = made(folder, train="connector+llm", dropout=0.5)
    tokens.train()
    head.train()
    on = {name for name, module in head.named_modules() if module.training}
    assert "" in on
    assert all(not name or "lora_dropout" in name for name in on)
    assert not any(module.training for module in tokens.modules())
    one, other = (answered(answerer, tokens, head, batch())["loss"] for _ in range(2))
    assert torch.equal(one, other)  # a new change is zero, whatever goes into it
    for name, parameter in head.named_parameters():
        if "lora_B" in name:
            torch.nn.init.ones_(parameter)
    one, other = (answered(answerer, tokens, head, batch())["loss"] for _ in range(2))
    assert not torch.equal(one, other)
    head.eval()
    assert not any(module.training for module in head.modules())


def test_frozen_weights_in_bfloat16(model: Path) -> None:
    answerer, tokens, head = made(model, train="connector+llm", dtype="bfloat16")
    types = {(p.requires_grad, p.dtype) for half in (tokens, head) for p in half.parameters()}
    assert types == {(True, torch.float32), (False, torch.bfloat16)}
    seen = tokens(batch()["image"])
    assert seen.dtype == torch.float32
    out = answered(answerer, tokens, head.eval(), batch())
    assert out["loss"].dtype == torch.float32
    exact = answered(*made(model)[:2], made(model)[2].eval(), batch())
    torch.testing.assert_close(out["loss"], exact["loss"], atol=0.05, rtol=0.05)


def moved_away(head: LlavaHead, seed: int = 3) -> LlavaHead:
    """Change all that is learned, as training would."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in head.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=draw))
    return head


@pytest.mark.parametrize("train", list(TRAINED))
def test_an_export_is_read_back(model: Path, tmp_path: Path, train: str) -> None:
    answerer, tokens, head = made(model, train=train)
    before = answered(answerer, tokens, moved_away(head).eval(), batch())
    head.export(tmp_path / "out")
    other, more, again = made(model, train=train, rank=7, lora=str(tmp_path / "out"))
    after = answered(other, more, again.eval(), batch())
    assert torch.equal(before["loss"], after["loss"])
    assert torch.equal(before["written"], after["written"])
    learned = [{name for name, p in half.named_parameters() if p.requires_grad} for half in (head, again)]
    assert learned[0] == learned[1]


def test_peft_reads_an_export_by_itself(model: Path, tmp_path: Path) -> None:
    answerer, tokens, head = made(model, train="connector+llm")
    before = answered(answerer, tokens, moved_away(head).eval(), batch())
    head.export(tmp_path)
    assert {"adapter_model.safetensors", "adapter_config.json", "projector.safetensors"} <= {
        path.name for path in tmp_path.iterdir()
    }
    assert not list(tmp_path.glob("*.bin"))
    whole = read_by_peft(model, tmp_path)
    given = answerer.read(batch())
    pixels = clip_images(given["image"], 32, tokens.mean, tokens.std)
    with torch.inference_mode():
        row, place = given["told_answer"].nonzero(as_tuple=True)
        logits = whole(input_ids=given["told"], attention_mask=given["told_mask"].long(), pixel_values=pixels).logits
        losses = torch.nn.functional.cross_entropy(logits[row, place - 1], given["told"][row, place], reduction="none")
    for number, loss in enumerate(before["loss"]):
        torch.testing.assert_close(losses[row == number].mean(), loss.detach(), atol=1e-4, rtol=1e-4)


def read_by_peft(model: Path, folder: Path) -> Any:
    import warnings

    from peft import PeftModel

    whole, _ = hugging_face(model)
    whole.model.multi_modal_projector.load_state_dict(load_file(folder / "projector.safetensors"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)  # of PEFT, about a name in transformers
        return PeftModel.from_pretrained(whole, folder).eval()


def test_a_low_rank_change_stays_as_it_is_when_only_the_connector_is_trained(model: Path, tmp_path: Path) -> None:
    _, tokens, head = made(model, train="connector+llm")
    moved_away(head).export(tmp_path)
    answerer, _, again = made(model, train="connector", lora=str(tmp_path))
    given = answerer.read(batch())
    seen = tokens(given["image"])
    assert torch.equal(again.eval()(seen, seen, given)["loss"], head.eval()(seen, seen, given)["loss"])
    assert all(name.startswith("projector.") for name, p in again.named_parameters() if p.requires_grad)


def test_the_connector_may_be_trained_first_and_the_language_model_then(model: Path, tmp_path: Path) -> None:
    answerer, tokens, head = made(model)
    before = answered(answerer, tokens, moved_away(head).eval(), batch())
    head.export(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["projector.safetensors"]
    _, _, again = made(model, train="connector+llm", lora=str(tmp_path))
    assert any("lora_" in name for name, _ in again.named_parameters())
    torch.testing.assert_close(answered(answerer, tokens, again.eval(), batch())["loss"], before["loss"])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "neither adapter_config.json with adapter_model.safetensors, as PEFT writes them, nor projector"),
        (("adapter_config.json",), "needs adapter_model.safetensors: it is missing"),
        (("adapter_config.json", "adapter_model.bin"), "adapter_model.bin is a pickle, which may run code"),
        (("projector.safetensors",), "does not fit this model"),
    ],
)
def test_a_start_that_cannot_be_read(model: Path, tmp_path: Path, files: tuple[str, ...], message: str) -> None:
    for name in files:
        (tmp_path / name).write_bytes(b"{}")
    with pytest.raises(ExperimentError, match=message) as caught:
        made(model, lora=str(tmp_path))
    assert str(tmp_path) in str(caught.value)


def test_a_start_of_another_model(model: Path, tmp_path: Path) -> None:
    save_file({"linear_1.weight": torch.zeros(2, 2)}, tmp_path / "projector.safetensors")
    with pytest.raises(ExperimentError, match="does not fit this model"):
        made(model, lora=str(tmp_path))
    _, _, head = made(model, train="connector+llm")
    head.export(tmp_path)
    weights = load_file(tmp_path / "adapter_model.safetensors")
    narrow = {name: value[:, :1].contiguous() for name, value in weights.items()}
    save_file(narrow, tmp_path / "adapter_model.safetensors")
    with pytest.raises(ExperimentError, match="does not fit this model"):
        made(model, train="connector+llm", lora=str(tmp_path))


def copied(model: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    shutil.copytree(model, folder)
    return folder


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


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
    with pytest.raises(
        ExperimentError, match="neither a folder here nor to be had from the Hugging Face hub"
    ) as caught:
        LlavaAnswerer(LlavaSettings(model="owner/name"), (32, 32))
    assert "couldn't connect" in str(caught.value)
    assert "preprocessor_config.json" in str(caught.value)


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
    with pytest.raises(ValueError, match="must"):
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
