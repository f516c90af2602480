"""The way of answering with LLaVA (see ``Answerer``)."""

from __future__ import annotations

import torch
from torch import Tensor

from omnifm.core.signature import Signature
from omnifm.data.columns import Texts, read_texts
from omnifm.data.subset import Batch
from omnifm.networks.answering import Answered
from omnifm.networks.llava.halves import LlavaHead, LlavaTokens
from omnifm.networks.llava.lora import add_lora
from omnifm.networks.llava.model_files import read_model, read_reader
from omnifm.networks.llava.prompts import Prompter
from omnifm.networks.llava.settings import LlavaSettings
from omnifm.utils.errors import ExperimentError


class LlavaAnswerer:
    """Reads the tokenizer and the files besides the weights now, the weights when a network is built.

    Raises:
        ExperimentError: a file of the model is missing, or the images have three axes.
    """

    no_program = "its language model writes answers token by token, by code of transformers"
    signature = Signature(
        "text",
        {"asked": "int64, (batch, tokens): the question as the model's tokenizer reads it", "asked_mask": "the same"},
        {"answer": "uint8, (batch, bytes): UTF-8, padded with zeros"},
        {},
    )

    def __init__(self, settings: LlavaSettings, size: tuple[int, ...]) -> None:
        if len(size) != 2:
            raise ExperimentError(f"network = 'llava' reads images of two axes, and these have {len(size)}.")
        self.settings = settings
        self._reader = read_reader(settings.model)
        self._prompter = Prompter(self._reader.tokenizer, self._reader.image_token, self._reader.image_tokens)

    def halves(self) -> tuple[LlavaTokens, LlavaHead]:
        """Read the model; what is new in it is drawn from torch's global generator."""
        settings = self.settings
        model = read_model(settings.model, getattr(torch, settings.dtype))
        peft = add_lora(model, settings)
        tokens = LlavaTokens(model, self._reader.mean, self._reader.std)
        return tokens, LlavaHead(model, peft, self._reader.end, settings.max_new_tokens)

    def read(self, batch: Batch) -> Batch:
        """Add the questions in tokens, ``asked`` and ``asked_mask``; and with the answers, ``told...`` (``Prompt``)."""
        questions, answers = read_texts(batch["question"]), read_texts(batch["answer"])
        asked, told = self._prompter.ask(questions), self._prompter.ask(questions, answers)
        return {
            **batch,
            "asked": asked.ids,
            "asked_mask": asked.mask,
            "told": told.ids,
            "told_mask": told.mask,
            "told_answer": told.answer,
        }

    def loss(self, prediction: Answered, batch: Batch) -> Tensor:
        """Cross-entropy of the answer's tokens, mean over each answer, then over the batch."""
        return prediction["loss"].mean()

    def answers(self, prediction: Answered, batch: Batch) -> list[str]:
        """Return what the language model wrote."""
        return self._prompter.read(prediction["written"])

    def result(self, prediction: Answered) -> Answered:
        """Return what the language model wrote as bytes."""
        return {"answer": Texts.of(self.answers(prediction, {})).utf8}
