"""Segmentation of regions in images or volumes.

Regions may overlap (the whole tumour holds its core), so each is a yes or no of its own: a sigmoid a region. A row
carries ``mask`` ``(R, *size)`` over the regions of all hospitals and ``allowed`` ``(R,)``, those that its own source
has drawn. Others take no part in loss or scores: nobody has looked for vessels in a brain. The loss is nnU-Net's for
regions (Isensee et al., nnU-Net for Brain Tumor Segmentation, BrainLes 2020): binary cross-entropy and soft Dice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from omnifm.core.signature import Signature
from omnifm.data.augment import flip_and_shift
from omnifm.data.images import pixels
from omnifm.data.subset import Batch, Subset
from omnifm.metrics.overlap import dice, hausdorff95
from omnifm.networks.normalisation import Normalisation
from omnifm.networks.unet import UNetDecoder, UNetEncoder
from omnifm.tasks.task import DataShape, Encoded, Panel, Picture, Scores, Task, TaskNetwork
from omnifm.utils.errors import DataError, ExperimentError
from omnifm.utils.settings import Count, MultipleOf8, settings

# Colours that differ from each other and from grey, also to colour-blind readers.
REGION_COLOURS = ((239, 177, 24), (255, 92, 76), (66, 105, 208), (108, 197, 176), (164, 99, 242), (255, 138, 183))


@settings
class SegmentationSettings:
    """``[segmentation]`` of an experiment.

    Attributes:
        width: the channels of the U-Net at full size (a multiple of 8), which double with each halving.
        depth: how often the U-Net halves the image.
        norm: its normalisation; ``batch-personal`` keeps statistics and scales at the client.
        augment: mirrors and shifts training images together with their masks.
    """

    width: MultipleOf8 = 8
    depth: Count = 3
    norm: Normalisation = "batch"
    augment: bool = True


class SegmentationNetwork(TaskNetwork):
    """A U-Net: its bottleneck are the tokens, its skips the context."""

    def __init__(self, encoder: UNetEncoder, decoder: UNetDecoder) -> None:
        super().__init__()
        self.width = encoder.width
        self.backbone = encoder
        self.head = decoder

    def encode(self, batch: Batch) -> Encoded:
        """Return the positions of the bottleneck as tokens ``(batch, L, width)``; context: its size, and the skips."""
        bottleneck, skips = self.backbone(batch["image"])
        return Encoded(bottleneck.flatten(2).transpose(1, 2), (bottleneck.shape[2:], skips))

    def decode(self, tokens: Tensor, context: Any, batch: Batch) -> Tensor:
        """Return a logit for each region at each place, ``(batch, R, *size)``."""
        size, skips = context
        logits: Tensor = self.head(tokens.transpose(1, 2).reshape(tokens.shape[0], self.width, *size), skips)
        return logits


class Segmentation(Task):
    """The task (see ``Task``). For algorithms that know classes, each position of the bottleneck has one.

    Raises:
        ExperimentError: the data have no regions, or a side that the network cannot halve often enough.
    """

    main_metric = "dice"
    needs = "mask"
    sources = ("phantom_regions", "manifest", "masked_folder", "brats")
    learning_rate, optimizer = 0.005, "adamw"
    networks: ClassVar[Mapping[str, type]] = {"unet": UNetEncoder}
    imports = ("monai.metrics",)

    def __init__(self, settings: SegmentationSettings, shape: DataShape) -> None:
        self.settings, self.shape = settings, shape
        self.stride = 2**settings.depth
        self.personal = ("norm",) if settings.norm == "batch-personal" else ()
        if not shape.label_names:
            raise ExperimentError("task = 'segmentation' needs regions, and the sources of data have none.")
        if any(side % self.stride for side in shape.size):
            low, high = min(shape.size) // self.stride * self.stride, (max(shape.size) // self.stride + 1) * self.stride
            raise ExperimentError(
                f"The images are {' x '.join(map(str, shape.size))}, but the network halves every side "
                f"{settings.depth} times: set data.size to a multiple of {self.stride}, such as {low or high} or "
                f"{high}, or lower segmentation.depth."
            )
        self.lower_is_better = ("hd95", *(_metric("hd95", name) for name in shape.label_names))
        self.classes = 1 + len(shape.label_names)

    @property
    def signature(self) -> Signature:
        """An image or a volume in, the probability of each region at each place out."""
        size = "depth, height, width" if len(self.shape.size) == 3 else "height, width"
        return Signature(
            "regions",
            {"image": f"float32 in [0, 1], (batch, channels, {size})"},
            {"probability": f"float32, (batch, regions, {size}); 0 for regions that the client's data do not have"},
            {"labels": list(self.shape.label_names), "threshold": 0.5},
        )

    def network(self) -> SegmentationNetwork:
        """Build the network."""
        settings, axes = self.settings, len(self.shape.size)
        encoder = UNetEncoder(axes, self.shape.channels, width=settings.width, depth=settings.depth, norm=settings.norm)
        decoder = UNetDecoder(
            axes, len(self.shape.label_names), width=settings.width, depth=settings.depth, norm=settings.norm
        )
        return SegmentationNetwork(encoder, decoder)

    def augment(self, batch: Batch, draw: torch.Generator) -> Batch:
        """Mirror and shift images and masks together, if the settings say so."""
        if not self.settings.augment:
            return batch
        return {**batch, **flip_and_shift({"image": batch["image"], "mask": batch["mask"]}, draw)}

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Binary cross-entropy and soft Dice, each a mean over the allowed regions.

        As nnU-Net has it, Dice takes a region of all images of the batch as one: that of a small or empty one alone
        would be noise. Both its parts have one pixel added, so that a region that is nowhere has a Dice too.
        """
        truth, allowed = batch["mask"].to(prediction.dtype), batch["allowed"].to(prediction.dtype)
        entropy = F.binary_cross_entropy_with_logits(prediction, truth, reduction="none").flatten(2).mean(dim=2)
        probability = prediction.sigmoid().flatten(2) * allowed.unsqueeze(2)
        places = truth.flatten(2)
        overlap, together = (probability * places).sum(dim=(0, 2)), (probability + places).sum(dim=(0, 2))
        found = (2 * overlap + 1) / (together + 1)
        known = allowed.amax(dim=0)
        return (entropy * allowed).sum() / allowed.sum() + 1 - (found * known).sum() / known.sum()

    def request(self, images: Tensor, allowed: Tensor, **more: Any) -> Batch:
        """Refuse sides that the network cannot halve often enough."""
        if any(side % self.stride for side in images.shape[2:]):
            raise DataError(
                f"Images of {' x '.join(map(str, images.shape[2:]))} cannot be halved {self.settings.depth} times: "
                f"every side must be a multiple of {self.stride}. Pad or crop them."
            )
        return super().request(images, allowed, **more)

    def answer(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Return logits ``(batch, R, *size)``, minus infinity for regions that are not allowed."""
        allowed = batch["allowed"]
        return prediction.masked_fill(~allowed.view(*allowed.shape, *[1] * (prediction.dim() - 2)), -torch.inf)

    def result(self, prediction: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return the ``probability`` of each region at each place, ``(batch, R, *size)``."""
        return {"probability": self.answer(prediction, batch).sigmoid()}

    def labels(self, batch: Batch) -> Tensor:
        """Return the class of each position of the bottleneck, ``(batch, L)``: an extension, for it has no labels.

        It is 1 + the last region in order that takes up half of the position's cell or more (regions are named from the
        outer to the inner), and 0 where none does.
        """
        pool = F.avg_pool2d if len(self.shape.size) == 2 else F.avg_pool3d
        covered = pool(batch["mask"].float(), self.stride).flatten(2) >= 0.5
        number = torch.arange(1, 1 + covered.shape[1], device=covered.device).view(1, -1, 1)
        return (covered * number).amax(dim=1)

    def metric(self, train: Subset) -> SegmentationMetric:
        """Return an empty meter."""
        return SegmentationMetric(self.shape.label_names)

    def visualise(self, prediction: Tensor, batch: Batch) -> list[Panel]:
        """Show image, true and found regions; of a volume the slice with the most of the truth."""
        found, truth, allowed = _decided(prediction, batch)
        score = dice(found, truth)
        panels = []
        for row, image in enumerate(batch["image"].cpu()):
            own = allowed[row].nonzero().flatten()
            shown, true, hit = _one_slice(image, truth[row, own], found[row, own])
            names = [self.shape.label_names[region] for region in own.tolist()]
            caption = ", ".join(f"{name} {score[row, region]:.2f}" for name, region in zip(names, own, strict=True))
            given = (Picture("image", pixels(shown)), Picture("truth", _overlay(shown, true, own)))
            panels.append(Panel(given, Picture("found", _overlay(shown, hit, own)), f"Dice: {caption}"))
        return panels


class SegmentationMetric:
    """Dice and HD95, means over all examples and their allowed regions, and for each region.

    What counts where a region is empty: ``omnifm.metrics.overlap``. HD95 is in mm where rows have a ``spacing``,
    else in pixels.
    """

    def __init__(self, regions: tuple[str, ...]) -> None:
        self._regions = regions
        self._rows: list[tuple[Tensor, Tensor, Tensor]] = []

    def update(self, prediction: Tensor, batch: Batch) -> None:
        """Take in logits ``(batch, R, *size)``."""
        found, truth, allowed = _decided(prediction, batch)
        self._rows.append((dice(found, truth), hausdorff95(found, truth, batch.get("spacing")), allowed))

    def compute(self) -> Scores:
        """Return the scores; a region that none of the examples may have has none."""
        *measured, allowed = (torch.cat(column) for column in zip(*self._rows, strict=True))
        numbers = {}
        for metric, values in zip(("dice", "hd95"), measured, strict=True):
            numbers[metric] = float(values[allowed].double().mean())
            for region in allowed.any(dim=0).nonzero().flatten().tolist():
                mean = values[allowed[:, region], region].double().mean()
                numbers[_metric(metric, self._regions[region])] = float(mean)
        return Scores(numbers, {})


def _metric(metric: str, region: str) -> str:
    return f"{metric}_{region.replace(' ', '_')}"


def _decided(prediction: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Return what was found and what is true, ``(batch, R, *size)``, and what is allowed ``(batch, R)``, all bool."""
    allowed = batch["allowed"].cpu()
    places = allowed.view(*allowed.shape, *[1] * (prediction.dim() - 2))
    return (prediction.cpu() > 0) & places, (batch["mask"].cpu() > 0) & places, allowed


def _one_slice(image: Tensor, truth: Tensor, found: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return image and masks, each ``(channels or regions, h, w)``: of volumes the slice with the most to see."""
    if image.dim() == 3:
        return image, truth, found
    for mask in (truth, found):
        if mask.any():
            place = int(mask.sum(dim=(0, 2, 3)).argmax())
            break
    else:
        place = image.shape[1] // 2
    return image[:, place], truth[:, place], found[:, place]


def _overlay(image: Tensor, masks: Tensor, regions: Tensor) -> npt.NDArray[np.uint8]:
    """Return the image in grey, regions in their colours over it, later ones over earlier ones: ``(h, w, 3)``."""
    shown = pixels(image)
    picture = np.repeat((shown if shown.ndim == 2 else shown.mean(axis=2))[..., np.newaxis], 3, axis=2).astype(float)
    grey = picture.copy()
    for mask, region in zip(masks.numpy(), regions.tolist(), strict=True):
        picture[mask] = 0.5 * grey[mask] + 0.5 * np.array(REGION_COLOURS[region % len(REGION_COLOURS)])
    return picture.astype(np.uint8)
