"""Which LLaVA model, and what of it is trained."""

from __future__ import annotations

from typing import Literal

from omnifm.utils.settings import BelowOne, Count, settings


@settings
class LlavaSettings:
    """The table ``llava`` of the task's section.

    What is not trained is frozen.

    Attributes:
        model: a folder, or ``owner/name`` on the Hugging Face hub.
        train: ``connector`` trains the projector between image encoder and language model (and the spectral adapter
            before it), ``connector+llm`` also a low-rank change of the language model's attention (LoRA: Hu et al.,
            ICLR 2022).
        rank: the rank of that change.
        alpha: its scale: it is multiplied by alpha / rank.
        dropout: the rate of dropout on what goes into it.
        lora: a folder as an export or PEFT writes it, to start from; its rank and scale then hold.
        dtype: the type of the frozen weights; what is trained is float32.
        max_new_tokens: the most tokens of an answer.
    """

    model: str = ""
    train: Literal["connector", "connector+llm"] = "connector"
    rank: Count = 16
    alpha: Count = 32
    dropout: BelowOne = 0.05
    lora: str = ""
    dtype: Literal["float32", "bfloat16"] = "float32"
    max_new_tokens: Count = 16
