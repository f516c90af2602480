from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from llava_model import ANSWERS, QUESTIONS, TRAINED, answered, batch, change, copied, hugging_face, made
from safetensors.torch import load_file, save_file

from omnifm.data.columns import Texts
from omnifm.networks.llava.halves import in_scale
from omnifm.networks.llava.pixels import clip_images


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
