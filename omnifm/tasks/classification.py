"""Classification of images, where each client may have labels of its own within one union label space.

A row carries ``target`` ``(C,)`` over the union, ``allowed`` ``(C,)`` with the classes of its own data set, and
``exclusive``: whether exactly one label holds. Classes that are not allowed take no part in loss or prediction
(restricted softmax: Li and Zhan, FedRS, KDD 2021), so no hospital unlearns the labels of another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnifm.core.signature import Signature
from omnifm.data.augment import flip_and_shift
from omnifm.data.images import pixels
from omnifm.data.subset import Batch, Subset
from omnifm.networks.compact import CompactEncoder
from omnifm.networks.normalisation import Normalisation
from omnifm.networks.resnet import ResNet18Encoder
from omnifm.tasks.task import DataShape, Encoded, Panel, Picture, Scores, Task, TaskNetwork
from omnifm.utils.settings import MultipleOf8, settings


@settings
class ClassificationSettings:
    """``[classification]`` of an experiment.

    Attributes:
        network: the compact residual network, or MONAI's ResNet-18.
        width: the first channels of the compact network (a multiple of 8).
        norm: its normalisation; ``batch-personal`` keeps statistics and scales at the client.
        class_weights: ``balanced`` weighs each class by the inverse of its frequency at the client.
        augment: mirrors and shifts training images.
    """

    network: Literal["compact", "resnet18"] = "compact"
    width: MultipleOf8 = 24
    norm: Normalisation = "batch"
    class_weights: Literal["none", "balanced"] = "none"
    augment: bool = True


class ClassificationNetwork(TaskNetwork):
    """An encoder, and a linear head on the mean of its tokens."""

    pooled = True

    def __init__(self, backbone: CompactEncoder | ResNet18Encoder, classes: int) -> None:
        super().__init__()
        self.width = backbone.width
        self.backbone = backbone
        self.head = nn.Linear(backbone.width, classes)

    def encode(self, batch: Batch) -> Encoded:
        """Return the positions of the last feature map as tokens ``(batch, L, width)``."""
        return Encoded(self.backbone(batch["image"]).flatten(2).transpose(1, 2))

    def decode(self, tokens: Tensor, context: Any, batch: Batch) -> Tensor:
        """Return logits ``(batch, C)``, minus infinity for classes that the row's data set does not have."""
        logits: Tensor = self.head(tokens.mean(dim=1))
        return logits.masked_fill(~batch["allowed"], -torch.inf)


class Classification(Task):
    """The task (see ``Task``)."""

    main_metric = "accuracy"
    normalised_tokens = False
    needs = "exclusive"
    axes = (2,)
    sources = ("phantom", "manifest", "image_folder", "medmnist", "breakhis")
    networks: ClassVar[Mapping[str, type]] = {"compact": CompactEncoder, "resnet18": ResNet18Encoder}

    def __init__(self, settings: ClassificationSettings, shape: DataShape) -> None:
        self.settings, self.shape = settings, shape
        self.personal = ("norm",) if settings.norm == "batch-personal" else ()
        self.classes = len(shape.label_names)

    @property
    def private_reason(self) -> str:
        """Weights of classes are counted over all patients."""
        if self.settings.class_weights == "none":
            return ""
        return "classification.class_weights counts the classes of all patients: set it to 'none'"

    @property
    def signature(self) -> Signature:
        """An image in, the probability of each label out."""
        return Signature(
            "labels",
            {"image": "float32 in [0, 1], (batch, channels, height, width)"},
            {"probability": "float32, (batch, labels); 0 for labels that the client's data do not have"},
            {"labels": list(self.shape.label_names)},
        )

    @property
    def table_shapes(self) -> dict[str, tuple[int, ...]]:
        """The confusion of classes, ``(C, C)``."""
        return {"confusion": (self.classes, self.classes)}

    def network(self) -> ClassificationNetwork:
        """Build the network."""
        settings, channels = self.settings, self.shape.channels
        backbone = (
            CompactEncoder(channels, settings.width, settings.norm)
            if settings.network == "compact"
            else ResNet18Encoder(channels, settings.norm)
        )
        return ClassificationNetwork(backbone, self.classes)

    def setup_client(self, train: Subset) -> Subset:
        """Add what the loss can then take as given.

        ``single``, true, where every row has one label; and the weight of each class, ``class_weight`` ``(n, C)``,
        where they are asked for.
        """
        if train.column("exclusive").all():
            train = train.with_constant("single", torch.tensor(True))
        if self.settings.class_weights == "none":
            return train
        target = train.column("target").float()
        count = target.sum(dim=0)
        present = count > 0
        weight = torch.where(present, count.sum() / (present.sum() * count.clamp(min=1)), 1.0)
        return train.with_constant("class_weight", weight)

    def augment(self, batch: Batch, draw: torch.Generator) -> Batch:
        """Mirror and shift the images, if the settings say so."""
        if not self.settings.augment:
            return batch
        return {**batch, **flip_and_shift({"image": batch["image"]}, draw)}

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy over the allowed classes; binary cross-entropy for rows that can have several labels."""
        if "single" not in batch:
            return self._mixed_loss(prediction, batch)
        label = batch["target"].argmax(dim=1)
        if "class_weight" not in batch:
            return F.cross_entropy(prediction, label)
        weight = batch["class_weight"].gather(1, label.unsqueeze(1)).squeeze(1)
        return (weight * F.cross_entropy(prediction, label, reduction="none")).mean()

    def _mixed_loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """The same for rows of both kinds in one batch."""
        target, allowed = batch["target"].float(), batch["allowed"]
        weight = batch.get("class_weight", torch.ones_like(target)) * allowed
        log_p = F.log_softmax(prediction, dim=1).masked_fill(~allowed, 0.0)
        softmax = -(weight * target * log_p).sum(dim=1)
        logits = prediction.masked_fill(~allowed, 0.0)
        binary = F.binary_cross_entropy_with_logits(logits, target, weight, reduction="none").sum(dim=1)
        binary = binary / allowed.sum(dim=1)
        return torch.where(batch["exclusive"], softmax, binary).mean()

    def result(self, prediction: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return the ``probability`` of each label, ``(batch, C)``."""
        return {"probability": _probability(prediction, batch["exclusive"])}

    def labels(self, batch: Batch) -> Tensor:
        """Return the class of each row; a row that can have several labels has none."""
        return torch.where(batch["exclusive"], batch["target"].argmax(dim=1), -1).unsqueeze(1)

    def metric(self, train: Subset) -> ClassificationMetric:
        """Return an empty meter."""
        return ClassificationMetric()

    def visualise(self, prediction: Tensor, batch: Batch) -> list[Panel]:
        """Show each image with the label found and, where it differs, the true one."""
        found = _decide(_probability(prediction, batch["exclusive"]), batch["exclusive"])
        panels = []
        for image, hit, true in zip(batch["image"], found.cpu(), batch["target"].cpu() > 0, strict=True):
            right = bool((hit == true).all())
            caption = self._names(hit) if right else f"{self._names(hit)}, is {self._names(true)}"
            panels.append(Panel((Picture("", pixels(image)),), None, caption, right))
        return panels

    def _names(self, chosen: Tensor) -> str:
        names = [self.shape.label_names[i] for i in chosen.nonzero().flatten().tolist()]
        return ", ".join(name.rsplit("/", 1)[-1] for name in names) or "none"


class ClassificationMetric:
    """Accuracy, macro F1, area under the ROC curve (one against the rest, mean over classes), and loss.

    All over the client's own classes. A class without both positive and negative images has no curve and is left out
    of the mean; with no class left there is no ``auc``. Rows with several labels count label by label.
    """

    def __init__(self) -> None:
        self._rows: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []

    def update(self, prediction: Tensor, batch: Batch) -> None:
        """Take in logits ``(batch, C)``."""
        probability = _probability(prediction, batch["exclusive"])
        self._rows.append((probability, batch["target"] > 0, batch["allowed"], batch["exclusive"]))

    def compute(self) -> Scores:
        """Return the scores, and the table ``confusion`` ``(C, C)`` (rows: truth) of single-label rows."""
        probability, target, allowed, exclusive = (torch.cat(column).cpu() for column in zip(*self._rows, strict=True))
        found = _decide(probability, exclusive)
        own = allowed.any(dim=0).nonzero().flatten().tolist()
        hit = torch.where(
            exclusive, (found == target).all(dim=1).float(), ((found == target) & allowed).sum(1) / allowed.sum(1)
        )
        numbers = {"accuracy": float(hit.mean()), "macro_f1": _macro_f1(target[:, own], found[:, own])}
        curves = []
        for column in own:
            rows = allowed[:, column]
            truth, score = target[rows, column], probability[rows, column]
            if 0 < truth.sum() < len(truth):
                curves.append(_area(score[truth], score[~truth]))
        if curves:
            numbers["auc"] = float(np.mean(curves))
        single = exclusive.nonzero().flatten()
        if not len(single):
            return Scores(numbers, {})
        classes = target.shape[1]
        cell = target[single].int().argmax(1) * classes + found[single].int().argmax(1)
        confusion = torch.bincount(cell, minlength=classes**2).view(classes, classes)
        return Scores(numbers, {"confusion": confusion.numpy()})


def _probability(logits: Tensor, exclusive: Tensor) -> Tensor:
    return torch.where(exclusive[:, None], logits.softmax(dim=1), logits.sigmoid())


def _decide(probability: Tensor, exclusive: Tensor) -> Tensor:
    best = F.one_hot(probability.argmax(dim=1), probability.shape[1]).bool()
    return torch.where(exclusive[:, None], best, probability > 0.5)


def _macro_f1(target: Tensor, found: Tensor) -> float:
    """Mean over the columns of ``2 hits / (true + found)``, 0 for a class that is neither."""
    hits = (target & found).sum(dim=0)
    return float((2 * hits.double() / (target.sum(dim=0) + found.sum(dim=0)).clamp(min=1)).mean())


def _area(positive: Tensor, negative: Tensor) -> float:
    """Area under the ROC curve: how often a positive scores above a negative, a tie counting half."""
    negative = negative.sort().values
    below, up_to = (torch.searchsorted(negative, positive, right=right) for right in (False, True))
    return float((below + up_to).double().mean()) / (2 * len(negative))
