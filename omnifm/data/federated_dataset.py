"""From the sources to the hospitals: the tables get one label space and are distributed.

The union label space: a class is its name, so that sources with the same class name share it, and the union
holds each name once, in order of first appearance. A row is trained and evaluated on the classes of its own
source only: that an image of one set shows no sign of another set's disease, nobody has looked at.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from platformdirs import user_cache_dir
from pydantic import Field
from torch import Tensor

from omnifm.data.columns import Widened, as_tensor, row_chunks, stacked
from omnifm.data.data_record import DataRecord
from omnifm.data.duplicates import warn_of_duplicates
from omnifm.data.fingerprint import ReadFile
from omnifm.data.kept_split import KeptSplit
from omnifm.data.packed import Packed
from omnifm.data.partition import PartitionSettings, partition_rows, whole
from omnifm.data.patient_rows import ClientSplit, Rows
from omnifm.data.phantom.dataset import PhantomSource
from omnifm.data.read_tables import read_tables
from omnifm.data.reading.intensity import Intensity, IntensityRule
from omnifm.data.source import Loading
from omnifm.data.source_names import check_names, warn_of_alike
from omnifm.data.sources import AnySource
from omnifm.data.subset import ClientData, Columns, SourceTable, Subset, distinct
from omnifm.data.vocabulary import agreed_answers
from omnifm.utils.errors import DataError, did_you_mean
from omnifm.utils.settings import Count, NotNegative, settings

_log = logging.getLogger("omnifm")

POOLED = "centralised"
"""What all clients are called when they are one."""


@settings
class DataSettings:
    """Which data, and how they come out: ``[data]`` of an experiment.

    Attributes:
        root: the folder that contains all sources.
        size: the side of the square images in pixels.
        channels: 1 (grey) or 3 (RGB).
        cache: the folder for expensive preprocessing; empty: the user's cache folder.
        cache_limit: the most GiB that the cache holds: what was used least recently goes first; with 0 images are read
            anew each time.
        name_files: writes the names of files into the record of a run, which otherwise has keyed digests of them only.
        intensity: how the numbers of image files become intensities in [0, 1] where a source does not say: the name of
            a rule, or a table with its ``rule`` and parameters.
        answer_patients: an answer to questions becomes a class if at least so many training patients of one hospital
            have it.
        sources: the data sets, a table for each.
    """

    root: str = "data"
    size: Count = 48
    channels: Literal[1, 3] = 1
    cache: str = ""
    cache_limit: NotNegative = 50.0
    name_files: bool = False
    answer_patients: Count = 5
    intensity: Intensity = IntensityRule()
    sources: Annotated[tuple[AnySource, ...], Field(min_length=1)] = (PhantomSource(),)


PLACES = ("root", "cache", "cache_limit", "name_files")
"""The keys of ``[data]`` that say where things are, not what the data are: they can change when a run is resumed."""
CheckData = Callable[[tuple[str, ...], Mapping[str, ReadFile]], None]


@dataclass(frozen=True)
class FederatedDataset:
    """The hospitals, and the classes (or regions) of all of them.

    Where sources have a ``label`` or a ``mask``, each row of a client has ``target`` ``(rows, classes)`` uint8, 1 for
    each class the row has, and ``allowed`` ``(rows, classes)`` bool, the classes of the row's own source. In place of
    ``label`` there is ``exclusive`` ``(rows,)`` bool, False where an image can have several classes or none; ``mask``
    becomes ``(rows, classes, *size)`` uint8. ``vocabulary`` are the answers that the hospitals have agreed on, where
    there are questions. ``files`` are those that were read, by their paths below the root of the data.
    """

    clients: tuple[ClientData, ...]
    label_names: tuple[str, ...]
    vocabulary: tuple[str, ...] = ()
    files: Mapping[str, ReadFile] = field(default_factory=dict, repr=False)

    def client(self, name: str) -> ClientData:
        """Return the hospital of this name; a DataError says which is nearest, if there is none."""
        known = {client.name: client for client in self.clients}
        if name not in known:
            raise DataError(f"There is no client {name!r}. {did_you_mean(name, known)}")
        return known[name]

    def _repr_html_(self) -> str:
        from omnifm.data.notebook import dataset_html  # draws: only a notebook needs it

        return dataset_html(self.clients, self.label_names)


def load_dataset(
    data: DataSettings,
    partition: PartitionSettings,
    seed: int,
    whole_as: str = "",
    labels: Sequence[str] = (),
    *,
    kept: KeptSplit | None = None,
    check: CheckData | None = None,
) -> FederatedDataset:
    """Load every source, unite their classes, and distribute the rows to hospitals.

    Args:
        data: the sources, and how the images come out.
        partition: who holds what.
        seed: of the experiment.
        whole_as: if given, all rows are one hospital's, of this name.
        labels: the classes of a federation that these data are a part of; those of the data are among them.
        kept: the split of an earlier run, if not that of ``partition.split_from``.
        check: is shown the classes and files of the data before they are distributed; may raise DataError.

    Raises:
        DataError: a source cannot be read, the sources do not fit together, or the partition is not possible.
    """
    loading = loading_of(data, seed)
    check_names(data.sources)
    tables, files = read_tables(data.sources, loading)
    own = distinct([name for table in tables for name in table.label_names])
    warn_of_alike(own)
    label_names = tuple(labels) or own
    if unknown := [name for name in own if name not in label_names]:
        raise DataError(f"The data have the class {unknown[0]!r}, which is not among those of the federation.")
    if check:
        check(own, files)
    fields = _unite([with_targets(table, label_names) for table in tables])
    rows = Rows(
        patients=_chain([table.patients for table in tables]),
        modalities=_chain([table.modalities for table in tables]),
        institutions=_chain([table.institutions for table in tables]),
        splits=tuple(split for table in tables for split in table.split or (None,) * len(table)),
        classes=_main_classes(as_tensor(fields["target"])) if "target" in fields else (0,) * sum(map(len, tables)),
    )
    if kept is None and partition.split_from:
        kept = split_of_run(partition, seed)
    if kept is not None:
        shares = kept.partition(rows, partition, seed, whole_as)
    else:
        shares = (whole(whole_as, rows, partition, seed),) if whole_as else partition_rows(rows, partition, seed)
    warn_of_duplicates(fields["image"], shares)
    clients = tuple(_client(share, fields, rows) for share in shares)
    if "exclusive" in fields:
        _warn_of_single_class(clients, label_names)
    asked = "answer" in fields
    vocabulary = agreed_answers([client.train for client in clients], data.answer_patients) if asked else ()
    return FederatedDataset(clients, label_names if "target" in fields else (), vocabulary, files)


def split_of_run(partition: PartitionSettings, seed: int) -> KeptSplit:
    """Return the split of the run that ``partition.split_from`` names; raises :class:`DataError` if it has none."""
    dealt = {key: value for key, value in asdict(partition).items() if key != "split_from"}
    return DataRecord(Path(partition.split_from).expanduser()).only_split({"partition": dealt, "seed": seed})


def loading_of(data: DataSettings, seed: int) -> Loading:
    """Return what every source is told of these settings."""
    return Loading(
        root=Path(data.root).expanduser(),
        size=data.size,
        channels=data.channels,
        seed=seed,
        cache=Path(data.cache or user_cache_dir("omnifm")).expanduser(),
        intensity=data.intensity,
        cache_limit=data.cache_limit,
    )


def pooled(dataset: FederatedDataset) -> ClientData:
    """Return all hospitals as if they were one, for the centralised baseline."""
    clients = dataset.clients
    return ClientData(
        name=POOLED,
        group=_group([part for client in clients for part in client.group.split("+")]),
        train=Subset.joined([client.train for client in clients]),
        validation=Subset.joined([client.validation for client in clients]),
        test=Subset.joined([client.test for client in clients]),
    )


def with_targets(table: SourceTable, label_names: tuple[str, ...]) -> Columns:
    """Return the fields over all labels instead of the table's own: ``target`` and ``allowed``, and with them the rest.

    ``exclusive`` replaces ``label``; ``mask`` gets an empty region for every label that is not the table's.
    """
    fields = dict(table.fields)
    if not table.label_names:
        return fields
    columns = torch.tensor([label_names.index(name) for name in table.label_names])
    if "mask" in fields:
        mask = fields["mask"]
        assert isinstance(mask, Tensor | Packed)
        if table.label_names != label_names:
            wider = Widened(mask, columns, len(label_names))
            fields["mask"] = as_tensor(wider) if isinstance(mask, Tensor) else wider
        own = torch.cat([part.flatten(2).amax(dim=2) for part in row_chunks(mask)])
    else:
        label = as_tensor(fields.pop("label"))
        exclusive = label.ndim == 1
        fields["exclusive"] = torch.tensor(exclusive).expand(len(table))
        own = F.one_hot(label, len(columns)) if exclusive else label
    target = torch.zeros(len(table), len(label_names), dtype=torch.uint8)
    target[:, columns] = own.to(torch.uint8)
    allowed = torch.zeros(len(label_names), dtype=torch.bool)
    allowed[columns] = True
    fields["target"] = target
    fields["allowed"] = allowed.expand(len(table), -1)
    return fields


def _unite(tables: list[Columns]) -> Columns:
    """Concatenate the fields that all tables have.

    A single table is not copied: it can be a file whose rows are read on demand.
    """
    if len(tables) == 1:
        return tables[0]
    common = [name for name in tables[0] if all(name in fields for fields in tables)]
    dropped = distinct([name for fields in tables for name in fields if name not in common])
    if dropped:
        _log.info("Left out the fields that only some sources have: %s.", ", ".join(dropped))
    for name in common:
        shapes = distinct([str(tuple(fields[name].shape[1:])) for fields in tables])
        if len(shapes) > 1:
            raise DataError(
                f"The sources do not fit together: field {name!r} has the shapes {' and '.join(shapes)}. "
                "Use them in separate experiments."
            )
    return {name: stacked([fields[name] for fields in tables]) for name in common}


def _main_classes(target: Tensor) -> tuple[int, ...]:
    """Return the first class of each row, or the number of classes for a row that has none."""
    none = 1 - target.amax(dim=1, keepdim=True)
    return tuple(torch.cat([target, none], dim=1).argmax(dim=1).tolist())


def _client(share: ClientSplit, fields: Columns, rows: Rows) -> ClientData:
    def examples(chosen: tuple[int, ...]) -> Subset:
        return Subset(fields, rows.patients, torch.tensor(chosen, dtype=torch.int64))

    return ClientData(
        name=share.name,
        group=_group([rows.modalities[row] for row in (*share.train, *share.validation, *share.test)]),
        train=examples(share.train),
        validation=examples(share.validation),
        test=examples(share.test),
    )


def _group(modalities: Sequence[str]) -> str:
    return "+".join(sorted(set(modalities)))


def _chain(parts: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(name for part in parts for name in part)


def _warn_of_single_class(clients: Sequence[ClientData], label_names: tuple[str, ...]) -> None:
    """Warn of clients that cannot learn to distinguish classes, in one line."""
    single = {client.name: target for client in clients if (target := _single_class(client)) is not None}
    if not single:
        return
    name, target = next(iter(single.items()))
    classes = [label for label, held in zip(label_names, target.tolist(), strict=True) if held]
    more = f", and so for {len(single) - 1} other clients" if len(single) > 1 else ""
    _log.warning(
        "All training data of client %r are of one class (%s)%s; it cannot learn to distinguish classes.",
        name,
        " and ".join(classes) or "no finding",
        more,
    )


def _single_class(client: ClientData) -> Tensor | None:
    """Return the target ``(classes,)`` that all training rows of a client share, or None."""
    target = client.train.column("target")
    return target[0] if (target == target[0]).all() else None
