"""Questions and answers as the language model reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

TEMPLATE = "USER: {image}\n{question} ASSISTANT:"
"""As LLaVA-1.5 was trained."""


class Prompt(NamedTuple):
    """Texts in tokens, padded on the left.

    ``ids`` ``(batch, tokens)`` int64; ``mask`` ``(batch, tokens)`` bool, false where there is padding; ``answer``
    ``(batch, tokens)`` bool, true at the tokens of the answer, its end among them.
    """

    ids: Tensor
    mask: Tensor
    answer: Tensor


class Prompter:
    """Writes prompts with a model's tokenizer.

    Args:
        tokenizer: Hugging Face's.
        image: the text that stands for a token of the image.
        image_tokens: how many there are.
    """

    def __init__(self, tokenizer: Any, image: str, image_tokens: int) -> None:
        self._tokenizer, self._image = tokenizer, image
        self._images = image * image_tokens

    def ask(self, questions: Sequence[str], answers: Sequence[str] | None = None) -> Prompt:
        """Return the prompts of questions, each followed by its answer if they are given."""
        rows, lengths = [], []
        for place, question in enumerate(questions):
            asked = TEMPLATE.format(image=self._images, question=question.replace(self._image, " "))
            prompt = self._ids(asked)
            answer = [] if answers is None else self._answer(asked, len(prompt), answers[place])
            rows.append(prompt + answer)
            lengths.append(len(answer))
        longest = max(map(len, rows))
        padding = [longest - len(row) for row in rows]
        fill = self._tokenizer.eos_token_id if self._tokenizer.pad_token_id is None else self._tokenizer.pad_token_id
        places = torch.arange(longest)
        return Prompt(
            torch.tensor([[fill] * pad + row for pad, row in zip(padding, rows, strict=True)]),
            places >= torch.tensor(padding).unsqueeze(1),
            places >= longest - torch.tensor(lengths).unsqueeze(1),
        )

    def read(self, ids: Tensor) -> list[str]:
        """Return the texts of answers ``(batch, tokens)``."""
        return [self._tokenizer.decode(row, skip_special_tokens=True).strip() for row in ids.tolist()]

    def _answer(self, asked: str, start: int, answer: str) -> list[int]:
        """Return the tokens of an answer: a tokenizer may write a text otherwise at its start than within."""
        return [*self._ids(f"{asked} {answer}")[start:], self._tokenizer.eos_token_id]

    def _ids(self, text: str) -> list[int]:
        """Text by text: of many at a time, the tokenizer's threads would not survive the fork of a worker."""
        ids: list[int] = self._tokenizer(text).input_ids
        return ids
