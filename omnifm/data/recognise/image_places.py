"""Where each image of a folder lies: its split, its class, its patient and its masks, as paths tell them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omnifm.data.reading.files import stem_of
from omnifm.data.recognise.path_words import MASK_ENDING, of_images, of_masks, split_word


@dataclass(frozen=True)
class ImagePlace:
    """One image: ``levels`` are the folders above it that are neither a split's nor a folder of all images."""

    path: Path
    split: str
    levels: tuple[str, ...]
    masks: tuple[Path, ...] = ()


@dataclass(frozen=True)
class ImagePlaces:
    """All images of a folder. ``lone_masks`` are masks of which no image is found."""

    images: tuple[ImagePlace, ...]
    lone_masks: tuple[Path, ...]

    @property
    def masked(self) -> bool:
        """Whether any image has a mask."""
        return any(image.masks for image in self.images)


def image_places(paths: Sequence[Path]) -> ImagePlaces:
    """Tell images from masks, by their names and folders, and say of each image where it lies."""
    stems = {(path.parent, stem_of(path)) for path in paths}
    in_folders = {path for path in paths if any(of_masks(part) for part in path.parts[:-1])}
    if len(in_folders) == len(paths):  # a wrapping folder, such as Dataset_with_GT, holds images as well
        in_folders = _in_narrow_folders(paths)
    in_folders |= _label_folders(paths)
    masks: dict[Path, str] = {}
    for path in paths:
        ending = MASK_ENDING.match(stem_of(path))
        if path in in_folders:
            masks[path] = ending["of"] if ending else stem_of(path)
        elif ending and (path.parent, ending["of"]) in stems:
            masks[path] = ending["of"]
    images = [path for path in paths if path not in masks]
    wrapping = _shared_by_all([path.parts[:-1] for path in paths])
    return _matched(images, masks, wrapping)


def _in_narrow_folders(paths: Sequence[Path]) -> set[Path]:
    """Return what is in folders of masks that are not folders of everything."""
    wrapping = _shared_by_all([path.parts[:-1] for path in paths])
    return {path for path in paths if any(of_masks(part) for part in path.parts[wrapping:-1])}


def _label_folders(paths: Sequence[Path]) -> set[Path]:
    """Return what is in a folder ``labels`` beside a folder ``images``: there, labels are drawn."""
    folders = {parent for path in paths for parent in path.parents}
    beside = {parent.parent for parent in folders if of_images(parent.name)}
    drawn = {folder for folder in folders if folder.name.lower() in ("label", "labels") and folder.parent in beside}
    return {path for path in paths if drawn & set(path.parents)}


def _shared_by_all(parts: Sequence[tuple[str, ...]]) -> int:
    """Return how many folders, from the top, all paths share."""
    depth = 0
    while all(len(one) > depth for one in parts) and len({one[depth] for one in parts}) == 1:
        depth += 1
    return depth


def _matched(images: list[Path], masks: dict[Path, str], wrapping: int) -> ImagePlaces:
    by_place: dict[tuple[tuple[str, ...], str, str], list[Path]] = defaultdict(list)
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for mask, stem in masks.items():
        levels, split = _levels(mask, wrapping, bool(masks))
        by_place[levels, split, stem].append(mask)
        by_stem[stem].append(mask)
    alike = Counter(stem_of(path) for path in images)
    found, used = [], set()
    for path in images:
        levels, split = _levels(path, wrapping, bool(masks))
        own = by_place.get((levels, split, stem_of(path)), [])
        if not own and alike[stem_of(path)] == 1:
            own = by_stem.get(stem_of(path), [])
        used.update(own)
        found.append(ImagePlace(path, split, levels, tuple(sorted(own))))
    return ImagePlaces(tuple(found), tuple(sorted(set(masks) - used)))


def _levels(path: Path, wrapping: int, masked: bool) -> tuple[tuple[str, ...], str]:
    """Return the folders above a file that say something, and its split."""
    split, levels = "", []
    for part in path.parts[wrapping:-1]:
        if word := split_word(part):
            split = split or word
        elif not (masked and of_masks(part)) and not of_images(part) and part.lower() not in ("label", "labels"):
            levels.append(part)
    return tuple(levels), split
