from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from llava_model import TRAINED, answered, batch, hugging_face, made
from safetensors.torch import load_file, save_file

from omnifm.networks.llava.halves import LlavaHead
from omnifm.networks.llava.pixels import clip_images
from omnifm.utils.errors import ExperimentError


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
