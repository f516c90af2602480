"""Fusion of two registered images of one body into one, without a truth to learn from.

A row carries ``image`` ``(2, height, width)``, the first source (its luminance, where it has colours) and the second;
and ``chroma`` ``(2, height, width)``, the colour of the first, which the fused image gets back for the eye.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

import torch
from pydantic import AfterValidator
from torch import Tensor

from omnifm.core.signature import Signature
from omnifm.data.augment import crop, flip_and_shift
from omnifm.data.colour import to_colour
from omnifm.data.images import pixels
from omnifm.data.subset import Batch, Subset
from omnifm.metrics.edges import edge_transfer, sobel, spatial_frequency
from omnifm.metrics.information import VIF_LEAST_SIDE, entropy, mutual_information, visual_information_fidelity
from omnifm.metrics.similarity import ssim, ssim_map
from omnifm.networks.source_weights import SourceFeatures, pyramid, source_weights
from omnifm.networks.u2fusion import DenseEncoder, ReconstructionDecoder, Skips
from omnifm.networks.vgg import load_vgg16
from omnifm.tasks.task import DataShape, Encoded, Panel, Picture, Scores, Task, TaskNetwork
from omnifm.utils.errors import DataError
from omnifm.utils.settings import Count, MultipleOf4, NotNegative, settings

WINDOW = 11  # of SSIM


def _holds_a_window(patch: int) -> int:
    if patch and patch < WINDOW:
        raise ValueError(f"must be 0 (whole images) or at least {WINDOW} pixels, not {patch}")
    return patch


@settings
class ImageFusionSettings:
    """``[image_fusion]`` of an experiment.

    Attributes:
        width: the length of the tokens (a multiple of 4).
        layers: the layers of the dense block.
        structure: the weight of structural similarity in the loss.
        intensity: the weight of the difference of intensities in the loss.
        gradient: the weight of the difference of gradients in the loss.
        sharpness: how much the source with more information counts above the other; 0: both equally.
        vgg: a safetensors file of torchvision's VGG-16 weights, whose features then measure information; empty: an
            image pyramid does.
        patch: the side of the squares cut at random from training images; 0: whole images.
        augment: mirrors and shifts training images.
    """

    width: MultipleOf4 = 24
    layers: Count = 3
    structure: NotNegative = 1.0
    intensity: NotNegative = 1.0
    gradient: NotNegative = 20.0
    sharpness: NotNegative = 4.0
    vgg: str = ""
    patch: Annotated[int, AfterValidator(_holds_a_window)] = 0
    augment: bool = True

    def __post_init__(self) -> None:
        if not self.structure + self.intensity + self.gradient:
            raise ValueError("structure, intensity and gradient are all 0: nothing is left to learn from")


class ImageFusionNetwork(TaskNetwork):
    """U2Fusion's dense encoder, whose coarse features are the tokens, and its decoder."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.width = width
        self.backbone = DenseEncoder(width, layers)
        self.head = ReconstructionDecoder(width)

    def encode(self, batch: Batch) -> Encoded:
        """Return the positions at half the resolution as tokens ``(batch, L, width)``, and the skips."""
        skips: Skips = self.backbone(batch["image"])
        return Encoded(skips.coarse.flatten(2).transpose(1, 2), skips)

    def decode(self, tokens: Tensor, context: Skips, batch: Batch) -> Tensor:
        """Return the fused images ``(batch, 1, height, width)`` in [0, 1]."""
        fused: Tensor = self.head(tokens.transpose(1, 2).reshape(context.coarse.shape), context)
        return fused


class ImageFusion(Task):
    """The task (see ``Task``)."""

    main_metric = "qabf"
    needs = "chroma"
    sources = ("phantom_pairs", "manifest", "image_pairs")
    learning_rate, optimizer = 0.004, "adamw"
    networks: ClassVar[Mapping[str, type]] = {"u2fusion": DenseEncoder}
    score_range = (0.0, 1.1)
    imports = ("monai.metrics",)
    images = 2

    def __init__(self, settings: ImageFusionSettings, shape: DataShape) -> None:
        if shape.channels != 2 or len(shape.size) != 2:
            raise DataError(
                f"Fusion needs pairs of two-dimensional images; the sources give {shape.channels} channel(s) of "
                f"{len(shape.size)} axes. Use sources of kind 'image_pairs' or 'phantom_pairs'."
            )
        if min(shape.size) < VIF_LEAST_SIDE:
            raise DataError(
                f"data.size = {min(shape.size)}: fused images are measured by VIF, which needs {VIF_LEAST_SIDE} pixels "
                "on a side. Set data.size to that or more."
            )
        if settings.patch > min(shape.size):
            raise DataError(
                f"image_fusion.patch = {settings.patch} is larger than data.size = {min(shape.size)}. Lower patch, or "
                "set it to 0 for whole images."
            )
        self.settings = settings
        self._features: SourceFeatures = load_vgg16(Path(settings.vgg).expanduser()) if settings.vgg else pyramid

    @property
    def signature(self) -> Signature:
        """Two registered images in, one out."""
        return Signature(
            "image",
            {"image": "float32 in [0, 1], (batch, 2, height, width): the first image (its luminance), and the second"},
            {"fused": "float32 in [0, 1], (batch, 1, height, width)"},
            {},
        )

    def network(self) -> ImageFusionNetwork:
        """Build the network."""
        return ImageFusionNetwork(self.settings.width, self.settings.layers)

    def augment(self, batch: Batch, draw: torch.Generator) -> Batch:
        """Crop, mirror and shift the images as the settings say; colour is not needed in training."""
        image = {"image": batch["image"]}
        if self.settings.patch:
            image = crop(image, draw, self.settings.patch)
        return flip_and_shift(image, draw) if self.settings.augment else image

    def result(self, prediction: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return the ``fused`` images."""
        return {"fused": prediction}

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Structure and intensity like the source with more information there, slopes like the steeper source's.

        The mean over places of ``structure * sum w (1 - SSIM) + intensity * sum w (fused - source)^2``, summed over the
        sources with their weights ``w`` there, and of ``gradient * |slope - steeper slope|``.
        """
        settings, sources = self.settings, batch["image"]
        weights = source_weights(sources, self._features, settings.sharpness, WINDOW)
        likeness = torch.cat([ssim_map(prediction, source) for source in _single(sources)], dim=1)
        edge = WINDOW // 2  # the middle of each window
        error = (prediction - sources).square()[..., edge:-edge, edge:-edge]
        per_source = settings.structure * (1 - likeness) + settings.intensity * error
        return (weights * per_source).sum(dim=1).mean() + settings.gradient * _slope_error(prediction, sources)

    def metric(self, train: Subset) -> ImageFusionMetric:
        """Return an empty meter."""
        return ImageFusionMetric()

    def visualise(self, prediction: Tensor, batch: Batch) -> list[Panel]:
        """Show both sources and the fused image, in the colours of the first, with VIF and Q^AB/F."""
        first, second = _single(batch["image"])
        vif, kept = _fidelity(prediction, first, second), edge_transfer(prediction, first, second)
        return [
            Panel(
                (Picture("first", pixels(own)), Picture("second", pixels(other))),
                Picture("fused", pixels(fused)),
                f"VIF {fidelity:.3f}, Q {edges:.3f}",
            )
            for own, other, fused, fidelity, edges in zip(
                to_colour(first, batch["chroma"]),
                second,
                to_colour(prediction, batch["chroma"]),
                vif.tolist(),
                kept.tolist(),
                strict=True,
            )
        ]


class ImageFusionMetric:
    """Means over images of how much of both sources is in the fused image.

    ``vif`` and ``ssim`` are means over the two sources, ``mutual_information`` (bits) their sum, ``qabf`` is Q^AB/F;
    ``entropy`` (bits) and ``spatial_frequency`` look at the fused image alone. ``vif_average``, ``vif_maximum``,
    ``qabf_average`` and ``qabf_maximum`` are those of two plain rules: the mean, and the larger, of the two sources.
    """

    def __init__(self) -> None:
        self._values: defaultdict[str, list[Tensor]] = defaultdict(list)

    def update(self, prediction: Tensor, batch: Batch) -> None:
        """Take in fused images ``(batch, 1, height, width)``."""
        first, second = _single(batch["image"])
        rules = {"": prediction, "_average": (first + second) / 2, "_maximum": torch.maximum(first, second)}
        for name, fused in rules.items():
            self._values[f"vif{name}"].append(_fidelity(fused, first, second))
            self._values[f"qabf{name}"].append(edge_transfer(fused, first, second))
        self._values["ssim"].append((ssim(prediction, first) + ssim(prediction, second)) / 2)
        shared = mutual_information(prediction, first) + mutual_information(prediction, second)
        self._values["mutual_information"].append(shared)
        self._values["entropy"].append(entropy(prediction))
        self._values["spatial_frequency"].append(spatial_frequency(prediction))

    def compute(self) -> Scores:
        """Return the means."""
        return Scores({name: float(torch.cat(values).mean()) for name, values in self._values.items()}, {})


def _single(sources: Tensor) -> tuple[Tensor, Tensor]:
    """Return the two sources, each ``(batch, 1, height, width)``."""
    return sources[:, :1], sources[:, 1:]


def _fidelity(fused: Tensor, first: Tensor, second: Tensor) -> Tensor:
    return (visual_information_fidelity(fused, first) + visual_information_fidelity(fused, second)) / 2


def _slope_error(fused: Tensor, sources: Tensor) -> Tensor:
    """Return the mean distance of the fused image's slopes from those of the source that is steeper at each place."""
    across, down = sobel(sources)
    steeper = (across.square() + down.square()).argmax(dim=1, keepdim=True)
    own_across, own_down = sobel(fused)
    error = (own_across - across.gather(1, steeper)).abs() + (own_down - down.gather(1, steeper)).abs()
    return error.mean() / 8  # Sobel's windows add up four differences over two pixels each
