"""Which images are predicted: files, folders, and the rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath

from omnifm.data.reading.files import (
    by_series,
    images_among,
    is_dicom,
    is_litter,
    stem_of,
    warn_of_others,
    without_masks,
)
from omnifm.data.tables import read_table
from omnifm.utils.errors import DataError

_SEPARATORS = (";", "|")
"""What stands between the files of one image: of its channels, or of a pair."""


@dataclass(frozen=True)
class PredictionRequest:
    """One example: its ``files``, of which each is a channel or one of a pair, and what is asked of it.

    ``name`` is how the user called it, ``stem`` the path of its output below the folder of predictions, without ending.
    """

    name: str
    files: tuple[Path, ...]
    stem: Path
    question: str = ""


def requests_of(paths: Sequence[str | Path], table: Path | None = None, question: str = "") -> list[PredictionRequest]:
    """Return the examples among files, folders and the rows of a table, each with an output name of its own.

    A folder that holds the files of a DICOM series is one image; of another, every image in it and below. Several
    files joined by ``;`` are one example. In a table, ``image`` is a path, or several joined by ``;`` or ``|``, seen
    from the table's folder; ``pair`` the second image of a pair; ``question`` a question.

    Raises:
        DataError: a folder holds no image, or the table has no column ``image`` or no row; or there is nothing at all.
    """
    found: list[PredictionRequest] = []
    for path in paths:
        found += _requests(str(path), question)
    if table is not None:
        found += _rows(table, question)
    if not found:
        raise DataError("There is nothing to predict. Name images, folders of images, or a table of them.")
    return _with_own_stems(found)


def _requests(path: str, question: str) -> list[PredictionRequest]:
    files = _split(path)
    if len(files) > 1:
        return [PredictionRequest(path, tuple(map(Path, files)), Path(_stem(Path(files[0]))), question)]
    place = Path(path)
    if not place.is_dir() or (_is_all_dicom(place) and not _are_single(sorted(place.iterdir()))):
        return [PredictionRequest(path, (place,), Path(_stem(place)), question)]
    images, others = images_among(place.rglob("*"), place)
    chosen, masks = without_masks(images)
    warn_of_others(place, others, masks)
    if not chosen:
        raise DataError(f"{place}: holds no image. Name the folder of the images, or the images themselves.")
    return [
        PredictionRequest(
            str(one), (one,), (one.relative_to(place) if one != place else Path(one.name)).parent / _stem(one), question
        )
        for one in _series_joined(chosen)
    ]


def _is_all_dicom(folder: Path) -> bool:
    files = [path for path in folder.iterdir() if not is_litter(path)]
    return bool(files) and all(is_dicom(path) for path in files)


def _series_joined(paths: Sequence[Path]) -> list[Path]:
    """Replace the files of a DICOM series by their folder, but leave images apart that are each of a series alone."""
    found: list[Path] = []
    for path in by_series(paths):
        inside = [one for one in paths if one.parent == path]
        found += inside if inside and _are_single(inside) else [path]
    return found


def _are_single(files: Sequence[Path]) -> bool:
    """Return whether DICOM files are images of their own, such as X-rays: no two are of one series."""
    import pydicom

    series = []
    for file in files:
        if is_dicom(file):
            try:
                header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"], force=True)
                series.append(str(header.get("SeriesInstanceUID", file)))
            except Exception:  # damaged in any way: what reads the image says so
                series.append(str(file))
    return len(set(series)) == len(series)


def _rows(table: Path, question: str) -> list[PredictionRequest]:
    frame = read_table(table, ["image"])
    optional = {name: str(name).lower() for name in frame.columns if str(name).lower() in ("pair", "question")}
    frame = frame.rename(columns=optional)
    found = []
    for number, row in zip(frame.index, frame.to_dict("records"), strict=True):
        cells = [*_split(row["image"]), *([row["pair"]] if row.get("pair") else [])]
        if not cells:
            raise DataError(f"{table}, row {number}: names no image. Fill it in, or remove the row.")
        files = tuple(table.parent / PureWindowsPath(cell).as_posix() for cell in cells)
        found.append(PredictionRequest(row["image"], files, Path(_stem(files[0])), row.get("question") or question))
    return found


def _split(text: str) -> list[str]:
    if Path(text).exists():  # a name may hold such a character
        return [text]
    for separator in _SEPARATORS:
        if separator in text:
            return [part.strip() for part in text.split(separator) if part.strip()]
    return [text] if text else []


def _stem(path: Path) -> str:
    return path.name if path.is_dir() else stem_of(path)


def _with_own_stems(requests: list[PredictionRequest]) -> list[PredictionRequest]:
    """Number the output names that several requests would share, whatever their case."""
    taken: set[str] = set()
    found = []
    for request in requests:
        stem, number = request.stem, 1
        while str(stem).lower() in taken:
            number += 1
            stem = request.stem.with_name(f"{request.stem.name}_{number}")
        taken.add(str(stem).lower())
        found.append(replace(request, stem=stem))
    return found
