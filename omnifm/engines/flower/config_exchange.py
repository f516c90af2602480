"""The part of an experiment that the hospitals receive: all but the data, of which each has its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from omnifm.checkpoint.kept_weights import KeptWeights
from omnifm.config.checking import checked
from omnifm.config.experiment import Experiment, make_experiment, to_document
from omnifm.config.toml import Document
from omnifm.data.data_record import DataRecord
from omnifm.data.federated_dataset import DataSettings, FederatedDataset, load_dataset
from omnifm.data.reading.intensity import IntensityRule
from omnifm.data.recorded_dataset import load_hospital
from omnifm.data.vocabulary import agreed_answers
from omnifm.engines.flower.client_config import ClientConfig
from omnifm.utils.errors import DeploymentError

_TOLD_OF_DATA = ("size", "channels", "answer_patients", "intensity")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def public_config(experiment: Experiment) -> Document:
    """Return the experiment as a document for the hospitals: how images and answers come out, and no more of data."""
    document = to_document(experiment)
    data = {key: value for key, value in document.pop("data").items() if key in _TOLD_OF_DATA}
    return {**{key: value for key, value in document.items() if key != "partition"}, "data": data}


def localise(document: Mapping[str, Any], config: ClientConfig) -> Experiment:
    """Return the experiment as it is done at a hospital, on its own data and device.

    Raises:
        ExperimentError: a key or value is not valid; names the key.
        DeploymentError: it speaks of data that are not the server's to choose.
    """
    data = document.get("data", {})
    if "partition" in document or not isinstance(data, dict) or not set(data) <= set(_TOLD_OF_DATA):
        raise DeploymentError("The request names data or a partition; those of a hospital are its own.")
    own = config.data
    if "intensity" in data:
        data = data | {"intensity": checked(IntensityRule, data["intensity"], ("data", "intensity"))}
    cache = str(config.cache_folder)
    settings = DataSettings(root=own.root, cache=cache, cache_limit=own.cache_limit, sources=own.sources, **data)
    device = config.device or document.get("device", "cpu")
    experiment = make_experiment({**{k: v for k, v in document.items() if k != "data"}, "device": device})
    return replace(experiment, data=settings, partition=config.partition)


def load_client_data(
    experiment: Experiment, config: ClientConfig, labels: tuple[str, ...] = (), *, write: bool = False
) -> FederatedDataset:
    """Load a client's own data, as a dataset of one client; ``labels`` are the classes of the federation.

    Which patient is in which split is written down on the client's machine, if ``write``, and kept from then on.

    Raises:
        DataError: they cannot be read or do not fit.
    """
    data, partition, seed = experiment.data, experiment.partition, config.data.seed
    if not config.data.client:
        record = DataRecord(config.state_folder)
        return load_hospital(record, data, partition, seed, config.name, labels, write=write)
    dataset = load_dataset(data, partition, seed, labels=labels)
    one = replace(dataset.client(config.data.client), name=config.name)
    own = agreed_answers([one.train], data.answer_patients) if dataset.vocabulary else ()
    return replace(dataset, clients=(one,), vocabulary=own)


@dataclass(frozen=True)
class BroughtWeights(KeptWeights):
    """The files that someone has brought to a hospital; one of them, by its ``digest``, is what ``init`` names."""

    init: str
    digest: str

    def index(self) -> dict[str, str]:
        """Return the digest of the file that the server names."""
        return {self.init: self.digest}


def find_brought(experiment: Experiment, config: ClientConfig, digest: str) -> BroughtWeights:
    """Return the files to start from; only files in the hospital's own folder are read, found by digest.

    Raises:
        DeploymentError: the file is not there; says which to bring.
        CheckpointError: it is damaged.
    """
    if not _SHA256.fullmatch(digest):
        raise DeploymentError(f"init = {experiment.init!r}: the server has not said which file that is.")
    if not (config.weights_folder / f"{digest}.safetensors").is_file():
        raise DeploymentError(
            f"The run starts from init = {experiment.init!r}, which is not here: bring init/{digest}.safetensors of "
            "the run's folder into the hospital's folder for weights."
        )
    return BroughtWeights(config.weights_folder, experiment.init, digest)
