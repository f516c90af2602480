"""The bank upload: a client's prototypes and retrievals, and how the server updates the bank with them."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from omnifm.algorithms.kinds import Kind
from omnifm.algorithms.private_prototypes import private_prototypes
from omnifm.algorithms.token_collector import TokenCollector
from omnifm.core.records import Upload
from omnifm.core.tensors import Tensors, add_prefix, strip_prefix
from omnifm.spectral.adapter import SpectralAdapter
from omnifm.spectral.bank import BankSettings, KnowledgeBank, Prototypes, counted_of
from omnifm.spectral.kmeans import spherical_k_means
from omnifm.spectral.prototypes import fixed_prototypes
from omnifm.training.trainer import Trainer
from omnifm.utils.seeding import generator

PREFIX = "bank"
"""The prefix of the bank upload in an upload's ``extra``."""
_TOLERANCE = 1.01e-3
_TOGETHER = 64
"""So many images are read at a time."""


class BankUpload(NamedTuple):
    """A client's prototypes, and how often, ``counts`` ``(m,)``, it retrieved the ``rows`` ``(m,)`` of the bank."""

    prototypes: Prototypes
    rows: Tensor
    counts: Tensor


def make_bank_upload(
    trainer: Trainer, collector: TokenCollector, round_number: int, settings: BankSettings, rows: Tensor | None = None
) -> BankUpload:
    """Return the client's prototypes, and its retrievals of the last epoch.

    Prototypes of fixed keys are those of all training images, as they are, and of learned keys those of the last epoch;
    in a private run both are of all training images, with noise. ``rows`` ``(entries,)`` are the rows of the bank that
    the client could retrieve from; by default all.
    """
    client, adapter = trainer.client, trainer.model.adapter
    assert adapter is not None
    if trainer.private is not None:
        tokens, sizes, retrieved, counts = private_prototypes(trainer, trainer.private, round_number, settings)
    else:
        tokens, sizes = _prototypes(trainer, adapter, collector, round_number, settings)
        nearest = collector.rows[:, : counted_of(len(adapter.bank), adapter.settings.neighbours)]
        retrieved, counts = torch.unique(nearest, return_counts=True)
    return BankUpload(
        Prototypes(client.name, client.group, tokens, sizes), retrieved if rows is None else rows[retrieved], counts
    )


def _prototypes(
    trainer: Trainer, adapter: SpectralAdapter, collector: TokenCollector, round_number: int, settings: BankSettings
) -> tuple[Tensor, Tensor]:
    client = trainer.client
    if adapter.keys is not None:
        return fixed_prototypes(_keys(trainer, adapter), settings, client.train.patient_numbers)
    stream = generator(trainer.seed, client.name, round_number, "prototypes")
    return spherical_k_means(
        collector.tokens, settings.prototypes, stream, settings.min_cluster, patients=collector.patients
    )


@torch.no_grad()
def _keys(trainer: Trainer, adapter: SpectralAdapter) -> Tensor:
    """Return the keys ``(n, token_dim)`` of the training images, on the CPU."""
    train = trainer.client.train
    places = torch.split(torch.arange(len(train)), _TOGETHER)
    batches = (trainer.task.prepare_batch(train.batch(rows)) for rows in places)
    return torch.cat([adapter.keys_of(batch["image"].to(trainer.device)).cpu() for batch in batches])


def add_bank_upload(upload: Upload, bank_upload: BankUpload) -> Upload:
    """Put a bank upload into an upload."""
    new, rows, counts = bank_upload
    retrieved = {"rows": rows.to(torch.int32), "counts": counts.to(torch.int32)}
    extra = add_prefix(PREFIX, {"prototypes": new.tokens, "sizes": new.sizes, **retrieved})
    return replace(upload, extra={**upload.extra, **extra}, notes={**upload.notes, "group": new.group})


def take_bank_upload(upload: Upload) -> tuple[Upload, BankUpload]:
    """Undo :func:`add_bank_upload`."""
    extra = strip_prefix(PREFIX, upload.extra)
    new = Prototypes(upload.client, upload.notes["group"], extra["prototypes"], extra["sizes"])
    others = {name: value for name, value in upload.extra.items() if name not in add_prefix(PREFIX, extra)}
    return replace(upload, extra=others), BankUpload(new, extra["rows"].long(), extra["counts"].long())


def offer_kinds(upload: Upload) -> dict[str, Kind]:
    """Return the kind of each tensor of the bank upload in an upload, under ``extra/name``."""
    names = add_prefix(f"extra/{PREFIX}", strip_prefix(PREFIX, upload.extra))
    return {name: Kind.PROTOTYPE if name.endswith("/prototypes") else Kind.COUNT for name in names}


def bank_upload_like(entries: Tensor, width: int) -> Tensors:
    """Return tensors like those of a bank upload; ``width`` is that of the bank's ``entries`` ``(n, dim)`` if empty."""
    none = {"rows": torch.zeros(0, dtype=torch.int32), "counts": torch.zeros(0, dtype=torch.int32)}
    prototypes = torch.zeros(0, entries.shape[1] or width)
    return add_prefix(PREFIX, {"prototypes": prototypes, "sizes": torch.zeros(0, dtype=torch.int64), **none})


def check_bank_upload(upload: Upload, entries: int, settings: BankSettings) -> None:
    """Check the bank upload in an upload against a bank of so many entries and its settings.

    Raises:
        ValueError: its parts do not fit together, are more than is permitted or than its samples can give, or refer to
            an entry that does not exist.
    """
    if not isinstance(upload.notes.get("group"), str):
        raise ValueError("the bank upload does not say of which group it is")
    parts = strip_prefix(PREFIX, upload.extra)
    prototypes, found = len(parts["sizes"]), len(parts["rows"])
    if len(parts["prototypes"]) != prototypes or len(parts["counts"]) != found:
        raise ValueError("the parts of the bank upload are not of one length")
    if prototypes > settings.prototypes:
        raise ValueError(f"{prototypes} prototypes are more than bank.prototypes = {settings.prototypes}")
    if found > entries:
        raise ValueError(f"the bank upload refers to {found} entries of the bank, which has {entries}")
    sizes, rows, counts = (parts[name].tolist() for name in ("sizes", "rows", "counts"))  # few: fastest by Python
    if rows and not (min(rows) >= 0 and max(rows) < entries and min(counts) >= 0):
        raise ValueError(f"the bank upload refers to entries that the bank of {entries} does not have")
    if rows and (len(set(rows)) < found or max(counts) > upload.samples):
        raise ValueError(f"{upload.samples} samples cannot have retrieved what the bank upload says")
    if not sizes:
        return
    smallest, together = min(sizes), sum(sizes)
    if smallest < settings.min_cluster or together > upload.samples:
        raise ValueError(
            f"prototypes of {smallest} samples and more, of {together} in all, are not possible with "
            f"{upload.samples} samples and bank.min_cluster = {settings.min_cluster}"
        )
    if not all(abs(norm - 1) <= _TOLERANCE for norm in parts["prototypes"].norm(dim=1).tolist()):
        raise ValueError("the bank upload holds prototypes that are not of norm 1")


class Refreshment:
    """Updates the bank in a round: entries age and are credited with retrievals, prototypes are merged, then pruned.

    It takes bank uploads one by one and keeps only their prototypes.
    """

    def __init__(self, bank: KnowledgeBank, settings: BankSettings) -> None:
        self._bank, self._settings = bank.grow_older(settings.frequency_decay), settings
        self._new: list[Prototypes] = []

    def take(self, bank_upload: BankUpload) -> None:
        """Take one client's bank upload."""
        self._bank = self._bank.credit(bank_upload.rows, bank_upload.counts)
        new = bank_upload.prototypes  # copied, so that the memory of the whole upload can be freed
        self._new.append(replace(new, tokens=new.tokens.clone(), sizes=new.sizes.clone()))

    def result(self) -> KnowledgeBank:
        """Return the bank after the round."""
        return self._bank.merge(self._new, self._settings.merge_above).prune(self._settings)
