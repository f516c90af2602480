"""Of an experiment, what the hospitals are told: all but the data, which each has of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from omnifm.data.cohort import Cohort, DataSettings, load_cohort
from omnifm.engines.flower.hospital import HospitalSettings
from omnifm.errors import DeploymentError
from omnifm.experiment import Document, Experiment, make_experiment, to_document

_TOLD_OF_DATA = ("size", "channels")


def told(experiment: Experiment) -> Document:
    """Return the experiment as a document for the hospitals: how images come out, and no more of any data."""
    document = to_document(experiment)
    data = {key: value for key, value in document.pop("data").items() if key in _TOLD_OF_DATA}
    return {**{key: value for key, value in document.items() if key != "partition"}, "data": data}


def understood(document: Mapping[str, Any], hospital: HospitalSettings) -> Experiment:
    """Return the experiment as it is done at a hospital, on its own data and device.

    Raises:
        ExperimentError: a key or value does not fit; names the key.
        DeploymentError: it speaks of data that are not the server's to choose.
    """
    data = document.get("data", {})
    if "partition" in document or not isinstance(data, dict) or not set(data) <= set(_TOLD_OF_DATA):
        raise DeploymentError("The request names data or a partition; those of a hospital are its own.")
    own = hospital.data
    settings = DataSettings(root=own.root, cache=str(hospital.cache_folder), sources=own.sources, **data)
    device = hospital.device or document.get("device", "cpu")
    experiment = make_experiment({**{k: v for k, v in document.items() if k != "data"}, "device": device})
    return replace(experiment, data=settings, partition=hospital.partition)


def load_hospital(experiment: Experiment, hospital: HospitalSettings, labels: tuple[str, ...] = ()) -> Cohort:
    """Load a hospital's own data, as a cohort of one; ``labels`` are the classes of the federation.

    Raises:
        DataError: they cannot be read or do not fit.
    """
    data, partition, seed = experiment.data, experiment.partition, experiment.seed
    if not hospital.data.client:
        return load_cohort(data, partition, seed, whole_as=hospital.name, labels=labels)
    cohort = load_cohort(data, partition, seed, labels=labels)
    return replace(cohort, clients=(replace(cohort.client(hospital.data.client), name=hospital.name),))
