"""A compact network that answers questions: trained in minutes on two processor cores.

Words of a question need no common vocabulary: each is hashed into a fixed number of buckets (Weinberger et al., Feature
hashing for large scale multitask learning, ICML 2009), by two hashes, whose embeddings are added, so that hardly any
two words share both (Svenstrup et al., Hash embeddings, NeurIPS 2017). Answers that the hospitals have agreed on are
classes; one more class stands for all others, which a recurrent decoder writes byte by byte.
"""

from __future__ import annotations

import hashlib
import math
import re
from functools import lru_cache
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from omnifm.core.signature import Signature
from omnifm.data.columns import Texts, read_texts
from omnifm.data.subset import Batch
from omnifm.networks.answering import Answered, Head, ImageTokens, written
from omnifm.networks.compact import CompactEncoder
from omnifm.networks.normalisation import Normalisation
from omnifm.utils.settings import BelowOne, Count, MultipleOf8, NotNegative, settings

_WORD = re.compile(r"[\u3400-\u9fff]|[^\W_]+")
_BYTES = 256
_WORDS = '''import hashlib
import re

import numpy as np


def words(question):
    """Return two numbers for each word of a question, int64 (1, 2, words)."""
    found = re.findall(r"{pattern}", question.lower())
    digests = [hashlib.sha256(word.encode()).digest() for word in found]
    pairs = [[int.from_bytes(digest[at : at + 8], "big") % {buckets} + 1 for at in (0, 8)] for digest in digests]
    return np.array(pairs or [[0, 0]], dtype=np.int64).T[np.newaxis]
'''
"""How to make words from a question without this library: what :func:`hashed_words` does."""


@settings
class CompactSettings:
    """``[vqa.compact]`` of an experiment.

    Attributes:
        width: the first channels of the image encoder (a multiple of 8).
        norm: the normalisation of the image encoder.
        layers: how often question words look at each other and at the image.
        heads: the heads of each of these attentions.
        dropout: its rate in these layers and on words.
        buckets: the number of embeddings that words are hashed into.
        answer_bytes: the most bytes that the decoder writes.
        decoder: the weight of the decoder's loss beside that of the classes.
    """

    width: MultipleOf8 = 24
    norm: Normalisation = "batch"
    layers: Count = 2
    heads: Count = 4
    dropout: BelowOne = 0.1
    buckets: Annotated[int, Field(ge=2)] = 2048
    answer_bytes: Count = 48
    decoder: NotNegative = 0.5

    def __post_init__(self) -> None:
        if 4 * self.width % self.heads:
            raise ValueError(f"heads must divide 4 * width = {4 * self.width}")


class CompactAnswerer:
    """The way of answering (see ``Answerer``); ``vocabulary`` are the answers agreed on."""

    no_program = ""

    def __init__(self, settings: CompactSettings, channels: int, vocabulary: tuple[str, ...]) -> None:
        self.settings, self.channels, self.vocabulary = settings, channels, vocabulary
        self._class = {answer: number for number, answer in enumerate(vocabulary)}
        self._spelled = Texts.of(vocabulary).utf8 if vocabulary else torch.zeros(0, 0, dtype=torch.uint8)

    @property
    def signature(self) -> Signature:
        """Hashed words in; out the answer, and the logarithm of its probability."""
        return Signature(
            "text",
            {"words": "int64, (batch, 2, words): two numbers for each word of the question, 0 where none is"},
            {
                "answer": "uint8, (batch, bytes): UTF-8, padded with zeros",
                "log_probability": "float32, (batch,): the natural logarithm of the answer's probability",
            },
            {"buckets": self.settings.buckets, "vocabulary": list(self.vocabulary)},
            _WORDS.format(pattern=_WORD.pattern, buckets=self.settings.buckets),
        )

    def halves(self) -> tuple[ImageTokens, Head]:
        """Build the compact residual encoder, and what reads the question and writes the answer."""
        settings = self.settings
        backbone = CompactTokens(self.channels, settings.width, settings.norm)
        return backbone, CompactHead(settings, len(self.vocabulary))

    def read(self, batch: Batch) -> Batch:
        """Add ``words``, ``class`` and ``letters``, int64.

        ``words`` ``(batch, 2, W)`` are two buckets a word, 0 where none is; ``class`` is ``(batch,)``; ``letters``
        ``(batch, T)`` are the bytes to write: the answer, a zero, and -1 after it.
        """
        hashed = [hashed_words(text, self.settings.buckets) for text in read_texts(batch["question"])]
        words = torch.zeros(len(hashed), 2, max(1, *(len(row) for row in hashed)), dtype=torch.int64)
        for row, pairs in enumerate(hashed):
            if pairs:
                words[row, :, : len(pairs)] = torch.tensor(pairs).T
        classes = [self._class.get(text, len(self._class)) for text in read_texts(batch["answer"])]
        letters = _to_write(batch["answer"], self.settings.answer_bytes)
        return {**batch, "words": words, "class": torch.tensor(classes), "letters": letters}

    def loss(self, prediction: Answered, batch: Batch) -> Tensor:
        """Cross-entropy over the classes, "other" among them, and over the bytes that the decoder has to write."""
        loss = F.cross_entropy(prediction["classes"], batch["class"])
        if not self.settings.decoder:
            return loss
        written_loss = F.cross_entropy(prediction["bytes"].transpose(1, 2), batch["letters"], ignore_index=-1)
        return loss + self.settings.decoder * written_loss

    def answers(self, prediction: Answered, batch: Batch) -> list[str]:
        """Return the likeliest text: an agreed answer, or what the decoder wrote.

        The probability of the latter is that of "other", times that of its bytes: "other" stands for many answers.
        """
        chosen = _likely(prediction).argmax(dim=1).tolist()
        texts = written(prediction["written"])
        return [self.vocabulary[c] if c < len(self.vocabulary) else text for c, text in zip(chosen, texts, strict=True)]

    def result(self, prediction: Answered) -> Answered:
        """Return the likeliest ``answer``, ``(batch, bytes)``, and its ``log_probability``, ``(batch,)``."""
        likely, written_bytes = _likely(prediction).max(dim=1), prediction["written"]
        width = max(written_bytes.shape[1], self._spelled.shape[1])
        spelled = F.pad(self._spelled, (0, width - self._spelled.shape[1], 0, 1)).to(written_bytes.device)
        own = (likely.indices == len(self.vocabulary)).unsqueeze(1)
        answer = torch.where(own, F.pad(written_bytes, (0, width - written_bytes.shape[1])), spelled[likely.indices])
        return {"answer": answer, "log_probability": likely.values}


def _likely(prediction: Answered) -> Tensor:
    """Return the log-probability of each agreed answer and of what the decoder wrote, ``(batch, answers + 1)``."""
    likely = prediction["classes"].log_softmax(dim=1)
    return torch.cat([likely[:, :-1], likely[:, -1:] + prediction["written_likely"].unsqueeze(1)], dim=1)


class CompactTokens(ImageTokens):
    """The compact encoder, and its feature map as tokens that know their place."""

    def __init__(self, channels: int, width: int, norm: Normalisation) -> None:
        super().__init__()
        self.encoder = CompactEncoder(channels, width, norm)
        self.width = self.encoder.width

    def forward(self, image: Tensor) -> Tensor:
        """Map ``(batch, channels, h, w)`` to ``(batch, h w / 64, width)``."""
        features: Tensor = self.encoder(image)
        return (features + position_codes(*features.shape[1:]).to(features)).flatten(2).transpose(1, 2)


class CompactHead(Head):
    """Words look at each other and at the image; what the first of them, the asker, has seen is the answer."""

    def __init__(self, settings: CompactSettings, answers: int) -> None:
        super().__init__()
        width = 4 * settings.width
        self.answer_bytes = settings.answer_bytes
        self.words = nn.Embedding(settings.buckets + 1, width, padding_idx=0)
        nn.init.normal_(self.words.weight, std=0.5)
        with torch.no_grad():
            self.words.weight[0] = 0
        self.asker = nn.Parameter(torch.randn(1, 1, width) * 0.5)
        self.dropout = nn.Dropout(settings.dropout)
        layers = [
            nn.TransformerDecoderLayer(
                width, settings.heads, 2 * width, settings.dropout, F.gelu, batch_first=True, norm_first=True
            )
            for _ in range(settings.layers)
        ]
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(width)
        self.classes = nn.Linear(width, answers + 1)
        self.decoder = ByteDecoder(width)

    def forward(self, tokens: Tensor, seen: Tensor, batch: Batch) -> Answered:
        """Return ``classes`` ``(batch, answers + 1)``, ``bytes`` ``(batch, T, 256)`` (of ``letters``); in use more.

        ``written`` ``(batch, answer_bytes)`` uint8 is what the decoder writes by itself, zero from its end on, and
        ``written_likely`` ``(batch,)`` the logarithm of its probability.
        """
        words = batch["words"]
        nothing = words[:, 0] == 0
        read = self.dropout(self.words(words).sum(dim=1))
        mean = read.sum(dim=1) / (~nothing).sum(dim=1, keepdim=True).clamp(min=1)
        asked = read + token_sequence(read.shape[1], read.shape[2]).to(read)
        asked = torch.cat([self.asker.expand(asked.shape[0], -1, -1), asked], dim=1)
        nothing = F.pad(nothing, (1, 0))
        for layer in self.layers:
            asked = layer(asked, tokens, tgt_key_padding_mask=nothing)
        found: Tensor = self.norm(asked[:, 0] + mean)
        answered = {"classes": self.classes(found)}
        if "letters" in batch:  # which the loss alone needs
            answered["bytes"] = self.decoder(found, batch["letters"])
        if not self.training:
            answered["written"], answered["written_likely"] = self.decoder.write(found, self.answer_bytes)
        return answered


class ByteDecoder(nn.Module):
    """Writes an answer byte by byte (gated recurrent units; Cho et al., EMNLP 2014); a zero ends it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.letters = nn.Embedding(_BYTES, width)
        self.start = nn.Linear(width, width)
        self.unit = nn.GRU(2 * width, width, batch_first=True)
        self.next = nn.Linear(width, _BYTES)

    def forward(self, seen: Tensor, target: Tensor) -> Tensor:
        """Return logits ``(batch, T, 256)`` of each byte of ``target`` ``(batch, T)``, given those before it."""
        before = F.pad(target.clamp(min=0), (1, 0))[:, :-1]
        logits, _ = self._run(seen, before, torch.tanh(self.start(seen)).unsqueeze(0))
        return logits

    def write(self, seen: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Return the likeliest next byte over and over, ``(batch, length)`` uint8, and the log-probability of all."""
        state = torch.tanh(self.start(seen)).unsqueeze(0)
        last = torch.zeros(seen.shape[0], 1, dtype=torch.int64, device=seen.device)
        ended = torch.zeros_like(last, dtype=torch.bool)
        likely, letters = torch.zeros(seen.shape[0], device=seen.device), []
        for _ in range(length):
            logits, state = self._run(seen, last, state)
            best = logits.float().log_softmax(dim=2).max(dim=2)
            last = best.indices.masked_fill(ended, 0)
            likely = likely + best.values.masked_fill(ended, 0.0).squeeze(1)
            ended = last == 0
            letters.append(last)
        return torch.cat(letters, dim=1).to(torch.uint8), likely

    def _run(self, seen: Tensor, letters: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        context = seen.unsqueeze(1).expand(-1, letters.shape[1], -1)
        found, state = self.unit(torch.cat([self.letters(letters), context], dim=2), state)
        return self.next(found), state


def hashed_words(text: str, buckets: int) -> list[tuple[int, int]]:
    """Return two buckets, from 1 to ``buckets``, of each word of a text: the same ones everywhere."""
    return [_buckets(word, buckets) for word in _WORD.findall(text.lower())]


@lru_cache(maxsize=1 << 16)
def _buckets(word: str, buckets: int) -> tuple[int, int]:
    digest = hashlib.sha256(word.encode()).digest()
    first, second = (int.from_bytes(digest[start : start + 8], "big") % buckets + 1 for start in (0, 8))
    return first, second


def _to_write(answer: Tensor, length: int) -> Tensor:
    """Return what :meth:`CompactAnswerer.read` calls ``letters``: no longer than ``length``, nor than the longest."""
    longest = int((answer > 0).sum(dim=1).max())
    letters = F.pad(answer, (0, 1))[:, : min(length, longest + 1)].long()
    after = F.pad(letters == 0, (1, 0))[:, :-1].cummax(dim=1).values
    return letters.masked_fill(after, -1)


def token_sequence(count: int, width: int) -> Tensor:
    """Return sines and cosines of the place in a sequence, ``(count, width)`` (Vaswani et al., NeurIPS 2017)."""
    rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    angle = torch.arange(count).unsqueeze(1) * rate
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def position_codes(width: int, height: int, breadth: int) -> Tensor:
    """Return the same of the place in a picture, ``(width, height, breadth)``: half for rows, half for columns."""
    rows, columns = token_sequence(height, width // 2), token_sequence(breadth, width // 2)
    grid = torch.cat([rows.unsqueeze(1).expand(-1, breadth, -1), columns.unsqueeze(0).expand(height, -1, -1)], dim=2)
    return grid.permute(2, 0, 1)
