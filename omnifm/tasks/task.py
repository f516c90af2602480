"""The contract of a task: what is predicted from images.

A task is one file: its network (``encode`` and ``decode``), its loss and its metrics. Everything else, from the
spectral adapter to the federation, is the same for every task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from omnifm.core.signature import Signature
from omnifm.data.subset import Batch, Subset
from omnifm.utils.errors import DataError


@dataclass(frozen=True)
class DataShape:
    """The properties of the data that a task needs to build its network.

    The channels of the images, their spatial ``size`` (two axes or three), the label space, and the answers that the
    hospitals have agreed on, where there are questions.
    """

    channels: int
    size: tuple[int, ...]
    label_names: tuple[str, ...] = ()
    vocabulary: tuple[str, ...] = ()


Prediction = Any
"""What a network predicts: a tensor, or a dictionary of tensors by name. The task alone looks into it."""


class Encoded(NamedTuple):
    """Spatial tokens ``(batch, L, width)``, and further inputs of the decoder (a grid size, skips)."""

    tokens: Tensor
    context: Any = None


class TaskNetwork(nn.Module):
    """A network in two halves. ``backbone`` and ``head`` can be kept personal by these names.

    ``pooled`` means that ``decode`` reads only the mean of the tokens, so that one token is enough.
    """

    width: int
    pooled: bool = False
    backbone: nn.Module
    head: nn.Module

    def encode(self, batch: Batch) -> Encoded:
        """Turn the images of a batch into tokens."""
        raise NotImplementedError

    def decode(self, tokens: Tensor, context: Any, batch: Batch) -> Prediction:
        """Turn tokens, perhaps conditioned on the way, into the task's prediction.

        In training that is what the loss needs; in evaluation also what the metrics need.
        """
        raise NotImplementedError

    def export(self, folder: Path) -> None:
        """Write what other libraries read, where any do."""


class Scores(NamedTuple):
    """How well a client's model does: ``numbers`` by metric name, and arrays for the report by table name."""

    numbers: dict[str, float]
    tables: dict[str, npt.NDArray[Any]]


class Metric(Protocol):
    """Collects predictions batch by batch."""

    def update(self, prediction: Prediction, batch: Batch) -> None:
        """Take in one batch."""
        ...

    def compute(self) -> Scores:
        """Return the scores of all batches together."""
        ...


class Picture(NamedTuple):
    """A picture of the report, ``(h, w)`` or ``(h, w, 3)`` uint8, and a word or two above it."""

    title: str
    pixels: npt.NDArray[np.uint8]


class Panel(NamedTuple):
    """One test example as people look at it.

    ``given`` are the pictures that are the same whatever a model says: the image, and the truth if it is a picture.
    ``found`` is the predicted picture, if there is one; ``caption`` describes the prediction, ``right``
    whether that is right, if that can be said. ``question`` is shown above the example, if there is one.
    """

    given: tuple[Picture, ...]
    found: Picture | None
    caption: str
    right: bool | None = None
    question: str = ""


class Task:
    """What is learned. Built once per experiment from its settings and the shape of the data.

    ``main_metric`` chooses the best round on validation data, higher is better, within ``score_range``;
    ``lower_is_better`` names the metrics for which it is the other way round. ``personal`` names parts of the network
    that this task's settings keep at the client. ``normalised_tokens`` is whether the adapter normalises the tokens
    that it gives to the decoder: decoders of every position need it, a pooled readout does not. ``classes`` is how many
    classes :meth:`labels` tells apart, 0 for a
    task without any. ``imports`` names modules that the task imports when it first needs them: an engine imports them
    once, before its workers start. ``needs`` is the field of the data that it cannot do without, and ``axes`` how many
    spatial axes its network takes: data that do not fit are refused before anything runs. ``images`` is how many
    registered images make one example. ``no_program`` says why networks of this task cannot be exported as a program,
    where they cannot.

    For those who begin: ``sources`` are the kinds of data that serve it, one that needs no download first;
    ``learning_rate`` and ``optimizer`` suit such data; ``networks`` are those that it can be built with, by name.
    """

    main_metric: ClassVar[str]
    normalised_tokens: ClassVar[bool] = True
    needs: ClassVar[str] = "image"
    axes: ClassVar[tuple[int, ...]] = (2, 3)
    score_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    lower_is_better: tuple[str, ...] = ()
    personal: tuple[str, ...] = ()
    classes: int = 0
    imports: ClassVar[tuple[str, ...]] = ()
    sources: ClassVar[tuple[str, ...]] = ("phantom", "manifest", "image_folder")
    learning_rate: ClassVar[float] = 0.02
    optimizer: ClassVar[str] = "sgd"
    networks: ClassVar[Mapping[str, type]] = {}
    images: ClassVar[int] = 1
    no_program: str = ""

    @property
    def signature(self) -> Signature:
        """What a trained network takes and gives: ``inputs`` of :meth:`request`, ``outputs`` of :meth:`result`."""
        return Signature("tensor", {"image": "float32 in [0, 1]"}, {"prediction": "the prediction"}, {})

    def image_size(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Return the spatial size in which networks see images of the data that have this one."""
        return size

    @property
    def private_range(self) -> tuple[float, float]:
        """The range to which the main metric of one patient is clipped in a private run; noise grows with its width."""
        return self.score_range

    @property
    def private_reason(self) -> str:
        """Why this task cannot be trained in a private run, in half a sentence; "" if it can."""
        return ""

    @property
    def table_shapes(self) -> dict[str, tuple[int, ...]]:
        """The tables of counts that the metric can compute, with their shapes."""
        return {}

    def network(self) -> TaskNetwork:
        """Build a new network, its weights drawn from torch's global generator."""
        raise NotImplementedError

    def setup_client(self, train: Subset) -> Subset:
        """Add to a client's training examples what the loss needs and only this client knows."""
        return train

    def augment(self, batch: Batch, draw: torch.Generator) -> Batch:
        """Change a training batch at random in ways that leave its truth as it is."""
        return batch

    def prepare_batch(self, batch: Batch) -> Batch:
        """Turn examples into the problem: ``image`` is then what a network may see, all else is truth or aid.

        It comes after :meth:`augment`, in training and in evaluation.
        """
        return batch

    def request(self, images: Tensor, allowed: Tensor, **more: Any) -> Batch:
        """Return the batch in which a network sees new images, of which nothing else is known.

        Args:
            images: as a network sees them, ``(batch, channels, *size)`` in [0, 1].
            allowed: the possible labels of ``label_names``, ``(batch, labels)`` bool.
            more: further inputs besides the images, by name.

        Raises:
            DataError: something is missing, or not supported.
        """
        if more:
            raise DataError(f"This model takes images and allowed labels, and no {next(iter(more))!r}. Leave it out.")
        return {"image": images, "allowed": allowed}

    def answer(self, prediction: Prediction, batch: Batch) -> Any:
        """Return a prediction as a user of the model gets it; by default as it is."""
        return prediction

    def result(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Return what the signature promises: tensors by name, the main one first, with a row for each of the batch."""
        return {"prediction": self.answer(prediction, batch)}

    def loss(self, prediction: Prediction, batch: Batch) -> Tensor:
        """Return the mean loss over the batch, a scalar."""
        raise NotImplementedError

    def labels(self, batch: Batch) -> Tensor:
        """Return the class at each position, int64, -1 where there is none; never asked of a task without classes.

        ``(batch, 1)`` if the network is pooled, else ``(batch, L)``. The batch can be prepared or not.
        """
        raise NotImplementedError

    def metric(self, train: Subset) -> Metric:
        """Return an empty meter; ``train`` are the client's training examples, for baselines that learn from them."""
        raise NotImplementedError

    def visualise(self, prediction: Prediction, batch: Batch) -> list[Panel]:
        """Show predictions as people look at them, a panel for each row of the batch."""
        raise NotImplementedError
