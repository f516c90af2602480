"""The convolutions of VGG-16 (Simonyan and Zisserman, ICLR 2015), with weights from a file."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from omnifm.utils.errors import ExperimentError

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's colours, as it was trained
STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class VGG16Features(nn.Module):
    """The last feature map of each stage, before it is pooled. The weights are fixed.

    Its tensors have torchvision's names (``features.0.weight``, ...), so that a file of its weights fits as it is.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for stage in STAGES:
            for width in stage:
                layers += [nn.Conv2d(channels, width, 3, 1, 1), nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
        self.features = nn.Sequential(*layers)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return five maps ``(batch, channels, h, w)``, each of half the last one's side, of grey images in [0, 1]."""
        made, found = (image - self.mean) / self.deviation, []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                found.append(made)
            made = layer(made)
        return found


def load_vgg16(path: Path) -> VGG16Features:
    """Build the network with weights of a safetensors file that has torchvision's names; the classifier's are left.

    Raises:
        ExperimentError: the file is missing or damaged, or lacks a tensor, or one is of another shape.
    """
    remedy = "Save torchvision's vgg16 as safetensors (its state_dict, unchanged), or leave vgg empty."
    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ExperimentError(f"VGG-16 weights {path} cannot be read ({error}). {remedy}") from None
    network = VGG16Features()
    for name, own in network.state_dict().items():
        if name not in stored:
            raise ExperimentError(f"VGG-16 weights {path} lack {name!r}. {remedy}")
        if stored[name].shape != own.shape:
            shapes = f"{tuple(stored[name].shape)}, not {tuple(own.shape)}"
            raise ExperimentError(f"VGG-16 weights {path}: {name!r} is {shapes}. {remedy}")
        own.copy_(stored[name])
    return network.eval()
