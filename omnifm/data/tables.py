"""Tables that people write or export: comma-, semicolon- or tab-separated text of any encoding, or Parquet."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omnifm.data.limits import check_regular
from omnifm.utils.errors import DataError, did_you_mean, first_line

if TYPE_CHECKING:
    from pandas import DataFrame

SEPARATORS = (",", ";", "\t", "|")
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_LOOKED_AT = 20
"""So many lines are looked at to tell the separator."""


def read_table(path: Path, columns: Sequence[str] = ()) -> DataFrame:
    """Return a table of texts, without blanks around them; what is empty is ``""``.

    The separator is told from the header and the first lines. Byte order marks, UTF-16 and Excel's line ``sep=;`` are
    understood; what is not UTF-8 is read as Windows-1252. Columns without a name are called ``column 1`` and so on.

    Args:
        path: text (``.csv``, ``.tsv``, ``.txt``) or Parquet.
        columns: those that there must be. They are found whatever their case, and get these names.

    Returns:
        the table; its index is the row as a spreadsheet counts it, the header being row 1. Rows without any value are
        left out.

    Raises:
        DataError: it cannot be read, a row has more values than the header names, a name is there twice, or a column
            is missing.
    """
    check_regular(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}). Put the table there, or correct its path."
        ) from error
    if data.startswith(b"PAR1"):
        table = _parquet(path)
    elif data.startswith(b"PK\x03\x04") or data.startswith(b"\xd0\xcf\x11\xe0"):
        raise DataError(f"{path}: is a workbook and no text. Export its sheet as CSV.")
    else:
        table = _text(path, data)
    return _named(path, table, columns)


def _text(path: Path, data: bytes) -> DataFrame:
    from pandas import DataFrame, Index

    text = _decoded(path, data)
    if text[:4].lower() == "sep=":  # Excel's own line
        separator, text = text[4:5], "\n" + text.partition("\n")[2]
    else:
        separator = _separator(text)
    header: list[str] = []
    rows, places = [], []
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if not header:
                header = cells
                continue
            if any(cells[len(header) :]):
                raise DataError(
                    f"{path}, row {reader.line_num}: has {len(cells)} values, but the header names {len(header)}. "
                    "Put values that hold the separator in quotation marks."
                )
            rows.append([*cells, *[""] * (len(header) - len(cells))][: len(header)])
            places.append(reader.line_num)
    except csv.Error as error:
        raise DataError(f"{path}: is no table of text ({error}). Export it as CSV in UTF-8.") from error
    if not header:
        raise DataError(
            f"{path}: is empty. Write the names of the columns in the first line, and a row for each image."
        )
    kept = [place for place, name in enumerate(header) if name or any(row[place] for row in rows)]
    names = [header[place] or f"column {place + 1}" for place in kept]
    return DataFrame([[row[place] for place in kept] for row in rows], columns=names, index=Index(places, name="row"))


def _decoded(path: Path, data: bytes) -> str:
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        if encoding != "utf-8":
            raise DataError(f"{path}: is no text in {encoding}, as its first bytes say. Export it in UTF-8.") from None
        text = data.decode("cp1252", errors="replace")  # what Excel writes in western Europe; a superset of Latin-1
    if "\0" in text:
        raise DataError(f"{path}: is no table of text, but holds null characters. Export it as CSV in UTF-8.")
    return text


def _separator(text: str) -> str:
    """Return the separator that divides the header into most columns, and the lines below into as many."""
    lines = [line for line in io.StringIO(text[: 2**20], newline=None) if line.strip()][:_LOOKED_AT]

    def divides(separator: str) -> tuple[int, int]:
        try:
            counts = [len(cells) for cells in csv.reader(lines, delimiter=separator, skipinitialspace=True) if cells]
        except csv.Error:
            return (0, 0)
        return (counts[0], sum(count == counts[0] for count in counts)) if counts else (0, 0)

    return max(SEPARATORS, key=divides)


def _parquet(path: Path) -> DataFrame:
    from pandas import RangeIndex, read_parquet

    try:
        table = read_parquet(path)
    except ImportError as error:
        raise DataError(
            f"{path}: Parquet needs the package pyarrow. Install it, or export the table as CSV."
        ) from error
    except Exception as error:  # a damaged file can end in any error of pyarrow
        raise DataError(f"{path}: cannot be read as Parquet ({first_line(error)}). Export it again.") from error
    texts = table.astype(object).map(_as_text)
    texts.columns = [str(name).strip() for name in table.columns]
    return texts.set_index(RangeIndex(2, len(texts) + 2, name="row"))


def _as_text(value: object) -> str:
    from pandas import isna

    if value is None or (isinstance(value, float) and isna(value)):
        return ""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()


def _named(path: Path, table: DataFrame, columns: Iterable[str]) -> DataFrame:
    """Give the columns that there must be their names."""
    names = list(table.columns)
    if twice := [name for name in names if names.count(name) > 1]:
        raise DataError(f"{path}: has two columns {twice[0]!r}. Rename or remove one.")
    known = {name.casefold(): name for name in names}
    found = {}
    for name in columns:
        if name not in names and name.casefold() not in known:
            raise DataError(f"{path}: has no column {name!r}. {did_you_mean(name, names)}")
        found[name if name in names else known[name.casefold()]] = name
    return table.rename(columns=found)
