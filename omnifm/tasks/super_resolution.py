"""Super-resolution: the sharp image from one that has been shrunk to a half, a quarter or an eighth of its side.

The image of an example is the truth. What a network may see is made of it by bicubic shrinking; what it adds to plain
bicubic enlargement is what it has learned. That plain enlargement is always evaluated too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from omnifm.core.signature import Signature
from omnifm.data.augment import turn_and_mirror
from omnifm.data.bicubic import enlarged, shrunk
from omnifm.data.images import pixels, to_channels
from omnifm.data.subset import Batch, Subset
from omnifm.metrics.similarity import psnr, ssim
from omnifm.networks.edsr import FeatureExtractor, Features, Reconstruction
from omnifm.tasks.task import DataShape, Encoded, Panel, Picture, Scores, Task, TaskNetwork
from omnifm.utils.errors import ExperimentError
from omnifm.utils.settings import Count, MultipleOf4, settings

SMALLEST = 4
"""The least side of an image that a network is asked to enlarge."""

SSIM_WINDOW = 11


@settings
class SuperResolutionSettings:
    """``[super_resolution]`` of an experiment.

    The loss is the mean absolute error (L1), as EDSR's.

    Attributes:
        scale: how many times longer the sides become.
        width: the channels of the feature maps (a multiple of 4: the adapter's attention has 4 heads).
        blocks: the number of residual blocks.
        augment: rotates and mirrors training images.
    """

    scale: Literal[2, 4, 8] = 2
    width: MultipleOf4 = 24
    blocks: Count = 3
    augment: bool = True


class SuperResolutionNetwork(TaskNetwork):
    """EDSR's feature extractor as the backbone, its reconstruction as the head."""

    backbone: FeatureExtractor
    head: Reconstruction

    def __init__(self, channels: int, settings: SuperResolutionSettings) -> None:
        super().__init__()
        self.width, self.scale = settings.width, settings.scale
        self.backbone = FeatureExtractor(channels, settings.width, settings.blocks)
        self.head = Reconstruction(channels, settings.width, settings.scale)

    def encode(self, batch: Batch) -> Encoded:
        """Return the deep features at the places of the small image as tokens ``(batch, h * w, width)``.

        The features themselves, whose magnitude tokens need not keep, go beside them.
        """
        features = self.backbone(batch["image"])
        return Encoded(features.deep.flatten(2).transpose(1, 2), features)

    def decode(self, tokens: Tensor, context: Features, batch: Batch) -> Tensor:
        """Return the bicubic enlargement and what is learned on top, ``(batch, channels, scale * h, scale * w)``."""
        detail: Tensor = self.head(tokens, context)
        return enlarged(batch["image"], self.scale) + detail


class SuperResolution(Task):
    """The task (see ``Task``)."""

    main_metric = "psnr"
    sources = ("phantom", "manifest", "image_folder", "tile_folder")
    learning_rate, optimizer = 0.002, "adamw"
    networks: ClassVar[Mapping[str, type]] = {"edsr": FeatureExtractor}
    score_range = (-100.0, 100.0)
    imports = ("monai.metrics",)

    def __init__(self, settings: SuperResolutionSettings, shape: DataShape) -> None:
        self.settings, self.shape = settings, shape
        if len(shape.size) != 2:
            raise ExperimentError("super_resolution takes images of two axes; these have three. Choose other sources.")
        if shape.channels not in (1, 3):
            raise ExperimentError(
                f"super_resolution takes grey images or colour; these have {shape.channels} channels. Choose sources "
                "of single images, or of one sequence."
            )
        for side in shape.size:
            if side % settings.scale:
                raise ExperimentError(
                    f"data.size = {side} is not divisible by super_resolution.scale = {settings.scale}. "
                    f"Set data.size = {side - side % settings.scale or settings.scale}, or another multiple of it."
                )
            least = max(SMALLEST * settings.scale, -(-SSIM_WINDOW // settings.scale) * settings.scale)
            if side < least:
                raise ExperimentError(
                    f"data.size = {side} is too small for super_resolution.scale = {settings.scale}: the images to "
                    f"enlarge would be {side // settings.scale} pixels wide. Set data.size = {least} or more."
                )

    @property
    def private_range(self) -> tuple[float, float]:
        """In dB; what is learned moves within it."""
        return 0.0, 50.0

    @property
    def signature(self) -> Signature:
        """A small image in, a larger one out."""
        scale = self.settings.scale
        return Signature(
            "image",
            {"image": "float32 in [0, 1], (batch, channels, height, width)"},
            {"enlarged": f"float32 in [0, 1], (batch, channels, {scale} * height, {scale} * width)"},
            {"scale": scale},
        )

    def image_size(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Return the size after shrinking."""
        return tuple(side // self.settings.scale for side in size)

    def network(self) -> SuperResolutionNetwork:
        """Build the network."""
        return SuperResolutionNetwork(self.shape.channels, self.settings)

    def augment(self, batch: Batch, draw: torch.Generator) -> Batch:
        """Turn and mirror the images, if the settings say so."""
        if not self.settings.augment:
            return batch
        return {**batch, **turn_and_mirror({"image": batch["image"]}, draw)}

    def prepare_batch(self, batch: Batch) -> Batch:
        """Shrink ``image``, and keep what it was as ``target``."""
        return {**batch, "image": shrunk(batch["image"], self.settings.scale), "target": batch["image"]}

    def answer(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Return the enlarged images ``(batch, channels, scale * h, scale * w)`` in [0, 1]."""
        return prediction.clamp(0, 1)

    def result(self, prediction: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return the ``enlarged`` images."""
        return {"enlarged": self.answer(prediction, batch)}

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Mean absolute error."""
        return F.l1_loss(prediction, batch["target"])

    def metric(self, train: Subset) -> SuperResolutionMetric:
        """Return an empty meter."""
        return SuperResolutionMetric(self.settings.scale)

    def visualise(self, prediction: Tensor, batch: Batch) -> list[Panel]:
        """Show where an image has most detail: small, enlarged, true and found, and how near the found one comes."""
        scale, target = self.settings.scale, batch["target"]
        plain, found = enlarged(batch["image"], scale), prediction.clamp(0, 1)
        blocks = batch["image"].repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3)
        numbers = [psnr(luminance(made), luminance(target)).tolist() for made in (found, plain)]
        panels = []
        for row, (ours, bicubic) in enumerate(zip(*numbers, strict=True)):
            rows, columns = busiest_window(target[row], scale)

            def picture(title: str, images: Tensor) -> Picture:
                return Picture(title, pixels(images[row, :, rows, columns]))  # noqa: B023 - used in this turn only

            given = (picture("low resolution", blocks), picture("bicubic", plain), picture("truth", target))
            panels.append(Panel(given, picture("", found), f"{ours:.2f} dB (bicubic {bicubic:.2f})"))
        return panels


class SuperResolutionMetric:
    """PSNR (dB) and SSIM, means over images, and the same of plain bicubic enlargement, on the luminance.

    Of colour images the luminance (ITU-R BT.601, of full range) is evaluated, as is common; of grey images their one
    channel. Predictions are clamped to [0, 1] first. No border is cut off.
    """

    def __init__(self, scale: int) -> None:
        self.scale = scale
        self._rows: list[Tensor] = []

    def update(self, prediction: Tensor, batch: Batch) -> None:
        """Take in images ``(batch, channels, h, w)``."""
        truth = luminance(batch["target"])
        found, plain = luminance(prediction.clamp(0, 1)), luminance(enlarged(batch["image"], self.scale))
        measures = (psnr(found, truth), ssim(found, truth), psnr(plain, truth), ssim(plain, truth))
        self._rows.append(torch.stack(measures))

    def compute(self) -> Scores:
        """Return the means."""
        means: list[float] = torch.cat(self._rows, dim=1).mean(dim=1).tolist()
        return Scores(dict(zip(("psnr", "ssim", "psnr_bicubic", "ssim_bicubic"), means, strict=True)), {})


def luminance(images: Tensor) -> Tensor:
    """Return images ``(batch, 1 or 3, h, w)`` in grey ``(batch, 1, h, w)``."""
    return to_channels(images, 1)


def busiest_window(image: Tensor, scale: int) -> tuple[slice, slice]:
    """Return the window of half the sides of ``image`` ``(channels, h, w)`` that has most detail, whole small pixels.

    Detail is what shrinking and enlarging lose.
    """
    lost = (image[None] - enlarged(shrunk(image[None], scale), scale)).square().mean(dim=1, keepdim=True)
    cells = F.avg_pool2d(lost, scale)
    size = (-(-cells.shape[2] // 2), -(-cells.shape[3] // 2))
    sums = F.avg_pool2d(cells, size, stride=1)[0, 0]
    top, left = divmod(int(sums.argmax()), sums.shape[1])
    return (slice(top * scale, (top + size[0]) * scale), slice(left * scale, (left + size[1]) * scale))
