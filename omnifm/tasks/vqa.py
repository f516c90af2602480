"""Questions about images, answered in text.

How a question is answered is the matter of an ``Answerer`` (``networks/answering.py``), of which there may be several.
A row carries ``question`` and ``answer`` (texts), ``closed``, and the type of its question as ``target``, over the
types of all hospitals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from torch import Tensor

from omnifm.core.signature import Signature
from omnifm.data.augment import flip_and_shift
from omnifm.data.columns import Texts, as_tensor, read_texts
from omnifm.data.images import pixels
from omnifm.data.questions import as_text
from omnifm.data.subset import Batch, Subset
from omnifm.metrics.answers import FrequentAnswer, is_match, overlap
from omnifm.networks.answering import Answered, Answerer, Head, ImageTokens
from omnifm.networks.compact_vqa import CompactAnswerer, CompactSettings
from omnifm.networks.llava.answerer import LlavaAnswerer
from omnifm.networks.llava.settings import LlavaSettings
from omnifm.tasks.task import DataShape, Encoded, Panel, Picture, Scores, Task, TaskNetwork
from omnifm.utils.errors import DataError
from omnifm.utils.settings import settings


@settings
class VQASettings:
    """``[vqa]`` of an experiment.

    Attributes:
        network: how questions are answered; each way has settings of its own in the table of its name
            (``[vqa.compact]``).
        augment: shifts training images; it never mirrors them, since questions ask for the side.
        compact: the settings of the compact network.
        llava: the settings of LLaVA.
    """

    network: Literal["compact", "llava"] = "compact"
    augment: bool = True
    compact: CompactSettings = field(default_factory=CompactSettings)
    llava: LlavaSettings = field(default_factory=LlavaSettings)


class VQANetwork(TaskNetwork):
    """The two halves that an answerer brings."""

    backbone: ImageTokens
    head: Head

    def __init__(self, answerer: Answerer) -> None:
        super().__init__()
        self.backbone, self.head = answerer.halves()
        self.width = self.backbone.width

    def encode(self, batch: Batch) -> Encoded:
        """Return the image's tokens ``(batch, L, width)``, and beside them the same for the head."""
        tokens = self.backbone(batch["image"])
        return Encoded(tokens, tokens)

    def decode(self, tokens: Tensor, context: Any, batch: Batch) -> Answered:
        """Answer the questions."""
        answered: Answered = self.head(tokens, context, batch)
        return answered

    def export(self, folder: Path) -> None:
        """Write what the head writes."""
        self.head.export(folder)


class VQA(Task):
    """The task (see ``Task``)."""

    main_metric = "accuracy"
    needs = "question"
    axes = (2,)
    sources = ("phantom_questions", "manifest", "vqa_rad", "slake", "vqa_med")
    learning_rate, optimizer = 0.002, "adamw"
    networks: ClassVar[Mapping[str, type]] = {"compact": CompactAnswerer, "llava": LlavaAnswerer}

    def __init__(self, settings: VQASettings, shape: DataShape) -> None:
        self.settings, self.shape = settings, shape
        self.answerer = _answerer(settings, shape)
        self.no_program = self.answerer.no_program

    @property
    def signature(self) -> Signature:
        """An image and a question in, a text out."""
        image = {"image": "float32 in [0, 1], (batch, channels, height, width)"}
        asked = self.answerer.signature
        return asked._replace(inputs={**image, **asked.inputs})

    @property
    def private_reason(self) -> str:
        """The vocabulary is collected from what patients' records say."""
        return "its answers are read from the records of patients, and leave as text"

    def network(self) -> VQANetwork:
        """Build the network."""
        return VQANetwork(self.answerer)

    def augment(self, batch: Batch, draw: Any) -> Batch:
        """Shift the images, if the settings say so."""
        if not self.settings.augment:
            return batch
        return {**batch, **flip_and_shift({"image": batch["image"]}, draw, mirror=False)}

    def prepare_batch(self, batch: Batch) -> Batch:
        """Turn texts into numbers."""
        return self.answerer.read(batch)

    def request(
        self, images: Tensor, allowed: Tensor, question: str | Sequence[str] | None = None, **more: Any
    ) -> Batch:
        """Ask a question about each image, or one about all.

        Raises:
            DataError: the questions are missing or empty, or not as many as the images.
        """
        if question is None:
            raise DataError("This model answers questions: call it as model(images, question=['...', ...]).")
        questions = [question] * len(images) if isinstance(question, str) else list(question)
        if len(questions) != len(images):
            raise DataError(f"There are {len(images)} images and {len(questions)} questions: give one for each image.")
        texts = [as_text(text, "text", f"question {place}") for place, text in enumerate(questions)]
        unknown = [""] * len(questions)  # what the loss alone needs
        columns = {"question": as_tensor(Texts.of(texts)), "answer": as_tensor(Texts.of(unknown))}
        return self.answerer.read({**super().request(images, allowed, **more), **columns})

    def answer(self, prediction: Answered, batch: Batch) -> list[str]:
        """Return the answers as texts."""
        return self.answerer.answers(prediction, batch)

    def result(self, prediction: Answered, batch: Batch) -> dict[str, Tensor]:
        """Return the ``answer`` as UTF-8 padded with zeros, ``(batch, bytes)`` uint8, and what else there is of it."""
        return self.answerer.result(prediction)

    def loss(self, prediction: Answered, batch: Batch) -> Tensor:
        """Return the answerer's loss."""
        return self.answerer.loss(prediction, batch)

    def metric(self, train: Subset) -> VQAMetric:
        """Return an empty meter."""
        return VQAMetric(self.answerer, train, self.shape.label_names)

    def visualise(self, prediction: Answered, batch: Batch) -> list[Panel]:
        """Show each image under its question, with the answer found and, where it differs, the true one."""
        panels = []
        found, true = self.answerer.answers(prediction, batch), read_texts(batch["answer"])
        for image, question, predicted, reference in zip(
            batch["image"], read_texts(batch["question"]), found, true, strict=True
        ):
            right = is_match(predicted, reference)
            caption = predicted if right else f"{predicted or 'no answer'}, is {reference}"
            panels.append(Panel((Picture("", pixels(image)),), None, caption, right, question))
        return panels


class VQAMetric:
    """Exact matches (of all answers, closed, open, and by type of question), F1 and recall of words in open ones.

    Beside each of the matches, with ``_frequent`` to its name, what the most frequent training answer to questions of
    the type would reach. A number without any question is left out.
    """

    def __init__(self, answerer: Answerer, train: Subset, types: tuple[str, ...]) -> None:
        self._answerer, self._types = answerer, types
        self._rule = FrequentAnswer(read_texts(train.column("answer")), _types(train.column("target")))
        self._values: dict[str, list[float]] = {}

    def update(self, prediction: Answered, batch: Batch) -> None:
        """Take in what the answerer's head predicted."""
        found, true = self._answerer.answers(prediction, batch), read_texts(batch["answer"])
        closed, types = batch["closed"].tolist(), _types(batch["target"])
        for predicted, reference, is_closed, kind in zip(found, true, closed, types, strict=True):
            hit, rule = is_match(predicted, reference), is_match(self._rule.answer(kind), reference)
            side = "closed" if is_closed else "open"
            for name in ("accuracy", f"accuracy_{side}", f"accuracy_{self._types[kind].replace(' ', '_')}"):
                self._record(name, hit)
                self._record(f"{name}_frequent", rule)
            if not is_closed:
                f1, recall = overlap(predicted, reference)
                self._record("f1_open", f1)
                self._record("recall_open", recall)

    def _record(self, name: str, value: float) -> None:
        self._values.setdefault(name, []).append(float(value))

    def compute(self) -> Scores:
        """Return the means."""
        return Scores({name: float(np.mean(self._values[name])) for name in self._order()}, {})

    def _order(self) -> list[str]:
        first = ["accuracy", "accuracy_frequent", "accuracy_closed", "accuracy_closed_frequent"]
        first += ["accuracy_open", "accuracy_open_frequent", "f1_open", "recall_open"]
        return [name for name in first if name in self._values] + sorted(self._values.keys() - set(first))


def _answerer(settings: VQASettings, shape: DataShape) -> Answerer:
    if settings.network == "llava":
        return LlavaAnswerer(settings.llava, shape.size)
    return CompactAnswerer(settings.compact, shape.channels, shape.vocabulary)


def _types(target: Tensor) -> list[int]:
    types: list[int] = target.argmax(dim=1).tolist()
    return types
