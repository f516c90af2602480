"""Your own data set in one file; running the file is the `omnifm` command with one more kind of source.

    python examples/own_data.py run experiment.toml

where experiment.toml has

    [[data.sources]]
    kind = "discs"
    images = 60

A source returns all of its images at once: fields of tensors, one row an image, and of each row its patient, modality
and institution. Here they are drawn; yours would be read from `loading.root`.
"""

from dataclasses import dataclass
from typing import Literal

import torch

from omnifm import Loading, SourceTable, register_source
from omnifm.cli import main


@register_source("discs")
@dataclass(frozen=True)
class Discs:
    """Discs, large or small, as bright as each of two scanners shows them."""

    kind: Literal["discs"] = "discs"
    images: int = 60

    def load(self, loading: Loading) -> SourceTable:
        """Draw the discs: every image is of a patient of its own."""
        draw = torch.Generator().manual_seed(loading.seed)
        label = torch.arange(self.images) % 2
        centre = 0.3 + 0.4 * torch.rand(self.images, 2, 1, 1, generator=draw)
        grid = torch.linspace(0, 1, loading.size)
        distance = (grid[:, None] - centre[:, 0]) ** 2 + (grid - centre[:, 1]) ** 2
        disc = distance.sqrt() < 0.12 + 0.12 * label[:, None, None]
        scanners = ["bright" if number % 4 < 2 else "dim" for number in range(self.images)]
        light = torch.tensor([1.0 if scanner == "bright" else 0.5 for scanner in scanners])
        image = (disc * light[:, None, None] + 0.1 * torch.rand(disc.shape, generator=draw)).clamp(0, 1)
        return SourceTable(
            fields={"image": image[:, None].expand(-1, loading.channels, -1, -1), "label": label},
            label_names=("small", "large"),
            patients=tuple(f"discs/{number}" for number in range(self.images)),
            modalities=tuple(scanners),
            institutions=("discs",) * self.images,
        )


if __name__ == "__main__":
    main()
