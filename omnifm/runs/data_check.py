"""Checking the data of an experiment, or a manifest by itself: everything that is wrong, all at once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omnifm.config.experiment import Changes, Experiment, read_plan
from omnifm.data.check.check_examples import ReadingProgress, check_examples, dealable_rows, dealt
from omnifm.data.check.examples import Examples, joined_examples
from omnifm.data.check.finding import Finding, error
from omnifm.data.check.source_examples import source_examples
from omnifm.data.federated_dataset import FederatedDataset, loading_of, with_targets
from omnifm.data.manifest.manifest_source import ManifestSource
from omnifm.data.partition import partition_rows
from omnifm.data.source import Loading
from omnifm.data.subset import ClientData, Subset
from omnifm.runs.arm import describe_data
from omnifm.utils.errors import DataError, OmniFMError

TABLES = (".csv", ".tsv", ".txt", ".parquet")
"""How the name of a manifest ends; other files are experiments."""


def check_file(
    path: Path, changes: Changes = (), *, decode: bool = True, progress: ReadingProgress = lambda rows: rows
) -> list[Finding]:
    """Return everything that is wrong with the data of an experiment, or with those of a manifest by itself.

    Args:
        path: of an experiment file, or of a table.
        changes: of the experiment, as ``--set`` makes them.
        decode: whether images are read too; without, only tables and files are looked at.
        progress: lets a person see how far the reading of images has come.

    Raises:
        ExperimentError: the experiment cannot be read.
        DataError: the table cannot be read.
    """
    if path.suffix.lower() in TABLES:
        return _check_manifest(path, decode, progress)
    first = next(iter(read_plan(path, changes).arms.values()))
    loading = loading_of(first.data, first.seed)
    found: list[Finding] = []
    listed = []
    for number, source in enumerate(first.data.sources):
        try:
            listed.append(source_examples(source, loading))
        except DataError as problem:
            found.append(error(f"data.sources.{number} ({source.kind})", str(problem)))
    if not listed:
        return found
    if len({examples.learned for examples in listed}) > 1:
        kinds = ", ".join(sorted({examples.learned for examples in listed}))
        found.append(error("data.sources", f"teach different things ({kinds}). Use them in separate experiments."))
        return found + [one for each in listed for one in check_examples(each, decode=decode, progress=progress)]
    examples = joined_examples(listed)
    examples, problems = _partitioned(first, examples)
    found += [*problems, *_network_problems(path, first, examples, listed)]
    return found + check_examples(examples, decode=decode, size=loading.size, progress=progress)


def _check_manifest(path: Path, decode: bool, progress: ReadingProgress) -> list[Finding]:
    loading = Loading(root=path.parent, size=0, channels=1, seed=0, cache=path.parent)
    return check_examples(ManifestSource(path.name).everything(loading), decode=decode, progress=progress)


def _network_problems(
    path: Path, experiment: Experiment, examples: Examples, listed: list[Examples]
) -> Iterator[Finding]:
    """Yield what keeps the task and its network from taking examples such as these."""
    tables = [one.blank for one in listed if one.blank is not None]
    try:
        answers = examples.agreed_answers(experiment.data.answer_patients)
        clients = []
        for number, table in enumerate(tables):
            subset = Subset(with_targets(table, examples.label_names), table.patients)
            clients.append(ClientData(f"source {number}", "", subset, subset, subset))
        for client in clients:
            describe_data(experiment, FederatedDataset((client,), examples.label_names, answers))
    except OmniFMError as problem:
        yield error(path, str(problem))


def _partitioned(experiment: Experiment, examples: Examples) -> tuple[Examples, list[Finding]]:
    """Return the examples with their clients, and what keeps them from being divided."""
    with _quiet():
        try:
            shares = partition_rows(dealable_rows(examples), experiment.partition, experiment.seed)
        except DataError as problem:
            return examples, [error(f"partition.kind = {experiment.partition.kind!r}", str(problem))]
    return dealt(examples, shares), []


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep warnings back that the check gives itself, with their rows."""
    log = logging.getLogger("omnifm")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
