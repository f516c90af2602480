"""The head that every patient is a deformation of: the ICBM152 brain maps, wrapped in skull and scalp.

The maps (T1, grey and white matter, 1 mm) come inside the nilearn package, so nothing is downloaded. They end
at the brain's surface; skull and scalp are laid around it by distance, which is all the later steps need: two
distance maps. Coordinates are millimetres in the frame of the atlas: x to the right, y to the front, z up.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnifm.data.phantom.storage import cached
from omnifm.utils.errors import DataError

Array = NDArray[np.float32]

CENTRE = np.array([0.0, -18.0, 10.0], dtype=np.float32)
"""The middle of the head (mm), about which patients are turned and on which slices are centred."""

ANATOMY_VERSION = 1
_NAMES = frozenset({"brain", "distance", "brain_origin", "distance_origin"})
_CSF, _GREY = 68.0, 156.0  # T1 intensity of the atlas in pure fluid, and where grey matter begins


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Maps of one head.

    ``brain`` ``(2, x, y, z)`` float32: fractions of grey and white matter, 1 mm. ``distance`` ``(2, x, y,
    z)`` float32: mm to the surface of the brain (negative inside), and mm to the ventricles, on a 2 mm grid.
    The origins ``(3,)`` are the coordinates of the first voxels.
    """

    brain: Tensor
    distance: Tensor
    brain_origin: Tensor
    distance_origin: Tensor

    def sample(self, points: Array) -> tuple[Array, Array]:
        """Return ``brain`` and ``distance`` at ``points`` ``(n, 3)``, each ``(2, n)``, interpolated."""
        grid = torch.from_numpy(points)
        distance = _interpolate(self.distance, grid - self.distance_origin, 2.0, "border")
        brain = np.zeros((2, len(points)), dtype=np.float32)
        near = np.flatnonzero(distance[0] < 6)  # half of an image is far from the brain: spare the larger map
        brain[:, near] = _interpolate(self.brain, grid[near] - self.brain_origin, 1.0, "zeros")
        return brain, distance

    @lru_cache(maxsize=256)  # noqa: B019, one anatomy lives as long as the process
    def plane(self, level: int) -> tuple[Array, Array, Array]:
        """Return a 3 mm grid at a height in mm: points ``(n, 3)`` and both maps there ``(2, n)``."""
        x = np.arange(-69, 70, 3, dtype=np.float32)
        y = np.arange(-102, 73, 3, dtype=np.float32)
        grid = np.meshgrid(x, y, np.float32(level), indexing="ij")
        points = np.stack(grid, -1).reshape(-1, 3).astype(np.float32)
        return points, *self.sample(points)


def _interpolate(field: Tensor, offsets: Tensor, spacing: float, outside: str) -> Array:
    last = torch.tensor(field.shape[1:], dtype=torch.float32) - 1
    grid = (offsets * (2.0 / (spacing * last)) - 1).flip(-1)[None, None, None]
    values = torch.nn.functional.grid_sample(
        field[None], grid, mode="bilinear", padding_mode=outside, align_corners=True
    )
    found: Array = values[0, :, 0, 0].numpy()
    return found


def load_anatomy(cache: Path) -> Anatomy:
    """Return the head, prepared once in the folder ``cache`` (some 40 MB) and remembered in this process.

    Raises:
        DataError: nilearn's atlas files are not where they should be.
    """
    return _load(cache.resolve())


@lru_cache(maxsize=2)
def _load(cache: Path) -> Anatomy:
    maps = cached(cache / f"phantom-anatomy-v{ANATOMY_VERSION}.safetensors", _NAMES, _prepare)
    return Anatomy(
        brain=maps["brain"].float() / 255,
        distance=maps["distance"].float(),
        brain_origin=maps["brain_origin"],
        distance_origin=maps["distance_origin"],
    )


def _prepare() -> dict[str, Tensor]:
    from scipy import ndimage

    (t1, origin), (grey, _), (white, _) = (_read(name) for name in ("t1", "gm", "wm"))
    mask = t1 > 0
    # The grey map runs over narrow sulci and the ventricles' lining; the T1 template sees the fluid in them.
    fluid = np.clip(np.maximum(1 - (grey + white) / 255, (_GREY - t1) / (_GREY - _CSF)), 0, 1)
    total = np.maximum(grey + white, 1)
    brain = np.stack([(1 - fluid) * grey / total, (1 - fluid) * white / total]) * mask
    used = tuple(slice(int(i.min()), int(i.max()) + 1) for i in np.nonzero(mask))

    def outside(region: NDArray[np.bool_]) -> Array:
        """Distance to the region in mm, on the 2 mm grid."""
        found: Array = 2 * ndimage.distance_transform_edt(~region).astype(np.float32)
        return found

    coarse = mask[::2, ::2, ::2]
    # Closing by 12 mm bridges the fissures, as the skull does; the smoothing takes the voxels' steps away.
    around = np.pad(coarse, 8, mode="edge")
    closed = outside(~(outside(around) <= 12)) > 12
    closed |= around
    surface = (outside(closed) - outside(~closed))[8:-8, 8:-8, 8:-8]
    surface = ndimage.gaussian_filter(surface, 1.5, mode="nearest")
    ventricles = (fluid[::2, ::2, ::2] > 0.6) & coarse & (surface < -25)
    return {
        "brain": torch.from_numpy((brain[(slice(None), *used)] * 255).round().astype(np.uint8, order="C")),
        "distance": torch.from_numpy(np.stack([surface, outside(ventricles)]).astype(np.float32)),
        "brain_origin": torch.tensor([o + s.start for o, s in zip(origin, used, strict=True)]),
        "distance_origin": torch.tensor(origin),
    }


def _read(name: str) -> tuple[Array, list[float]]:
    import nibabel

    package = importlib.util.find_spec("nilearn")
    if package is None or package.origin is None:
        raise DataError("the phantom needs the brain atlas inside nilearn; install it: pip install nilearn")
    path = Path(package.origin).parent / f"datasets/data/mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz"
    if not path.is_file():
        raise DataError(f"nilearn has no atlas file {path}; install it again: pip install --force-reinstall nilearn")
    image: Any = nibabel.load(path)
    return np.asarray(image.dataobj, dtype=np.float32, order="C"), [float(v) for v in image.affine[:3, 3]]
