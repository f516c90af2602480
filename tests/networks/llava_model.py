"""A tiny LLaVA model, as the tests of it use it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from omnifm.data.columns import Texts
from omnifm.data.subset import Batch
from omnifm.networks.llava.answerer import LlavaAnswerer
from omnifm.networks.llava.halves import LlavaHead, LlavaTokens
from omnifm.networks.llava.settings import LlavaSettings


def settings(model: Path, **changes: Any) -> LlavaSettings:
    return LlavaSettings(**{"model": str(model), "rank": 4, "alpha": 8, "max_new_tokens": 5, **changes})


def made(model: Path, **changes: Any) -> tuple[LlavaAnswerer, LlavaTokens, LlavaHead]:
    answerer = LlavaAnswerer(settings(model, **changes), (32, 32))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return answerer, *answerer.halves()


EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TRAINED = {
    "connector": {"projector"},
    "connector+llm": {"projector", "q_proj", "k_proj", "v_proj", "o_proj"},
}
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


def copied(model: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    shutil.copytree(model, folder)
    return folder


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
