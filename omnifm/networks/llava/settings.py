"""Which LLaVA model, and what of it is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class LlavaSettings:
    """The table ``llava`` of the task's section.

    ``model`` is a folder, or ``owner/name`` on the Hugging Face hub. ``train = "connector"`` trains the projector
    between image encoder and language model (and the spectral adapter before it), ``"connector+llm"`` also a low-rank
    change of the language model's attention (LoRA: Hu et al., ICLR 2022) of rank ``rank``, scaled by ``alpha / rank``,
    with ``dropout`` on what goes into it. All else is frozen. ``lora`` is a folder as an export or PEFT writes it, to
    start from; its rank and scale then hold. ``dtype`` is the type of the frozen weights; what is trained is float32.
    ``max_new_tokens`` bounds an answer.
    """

    model: str = ""
    train: Literal["connector", "connector+llm"] = "connector"
    rank: int = 16
    alpha: int = 32
    dropout: float = 0.05
    lora: str = ""
    dtype: Literal["float32", "bfloat16"] = "float32"
    max_new_tokens: int = 16

    def __post_init__(self) -> None:
        if self.rank < 1 or self.max_new_tokens < 1:
            raise ValueError("rank and max_new_tokens must be at least 1")
        if self.alpha < 1 or not 0 <= self.dropout < 1:
            raise ValueError("alpha must be at least 1 and dropout lie in [0, 1)")
