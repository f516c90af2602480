"""Reading every source, and taking down which files that took."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace

from omnifm.core.tensors import digest
from omnifm.data.columns import Texts, row_chunks
from omnifm.data.fingerprint import ReadFile, ReadFiles
from omnifm.data.source import Loading, Source
from omnifm.data.subset import SourceTable


def read_tables(sources: Sequence[Source], loading: Loading) -> tuple[list[SourceTable], dict[str, ReadFile]]:
    """Return the table of each source, and all files that were read, by their paths below the root.

    Raises:
        DataError: a source cannot be read.
    """
    tables, files = list[SourceTable](), dict[str, ReadFile]()
    for number, source in enumerate(sources, start=1):
        mine = replace(loading, read=ReadFiles())
        table = source.load(mine)
        if not mine.read.files:  # a source of somebody's own, that reads files in a way of its own
            mine.read.add(f"source {number} ({source.kind})", len(table), _table_digest(table))
        tables.append(table)
        files |= mine.read.files
    return tables, files


def _table_digest(table: SourceTable) -> str:
    """Return a digest of all that a table holds."""
    places = [table.label_names, table.patients, table.modalities, table.institutions, table.split]
    total = hashlib.sha256(json.dumps(places).encode())
    for name in sorted(table.fields):
        total.update(name.encode())
        column = table.fields[name]
        for part in [column.utf8] if isinstance(column, Texts) else row_chunks(column):
            total.update(digest({name: part}).encode())
    return total.hexdigest()
