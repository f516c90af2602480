"""The federation that ``scale.py`` measures: many phantom hospitals with few images, so that training is short."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from omnifm.config.experiment import Experiment, make_experiment
from omnifm.data.federated_dataset import FederatedDataset, load_dataset

MODALITIES = ("T1", "T2", "FLAIR", "CT", "PET")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the hospitals and their network."""
    parser.add_argument("--cache", default="", help="folder of the phantom's cache (the user's, if not given)")
    parser.add_argument("--images", type=int, default=10, help="images a hospital: 6 to train, 2 and 2 held out")
    parser.add_argument("--size", type=int, default=28, help="side of an image in pixels")
    parser.add_argument("--width", type=int, default=24, help="first channels of the compact network")


def experiment_of(clients: int, given: argparse.Namespace, **changes: Any) -> Experiment:
    """Return the experiment of so many hospitals, a multiple of five."""
    source = {"kind": "phantom", "modalities": MODALITIES, "hospitals": clients // 5, "patients": given.images}
    return make_experiment(
        {
            "data": {"size": given.size, "cache": given.cache, "sources": [source]},
            "partition": {"kind": "institution"},
            "classification": {"width": given.width},
            "bank": {"min_cluster": 5},  # of six training images, so that there are prototypes
            **changes,
        }
    )


def dataset_of(experiment: Experiment) -> FederatedDataset:
    """Make the hospitals, or read them from the cache."""
    return load_dataset(experiment.data, experiment.partition, experiment.seed)


def main() -> None:
    """Fill the cache; print the seconds it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clients", type=int)
    add_arguments(parser)
    given = parser.parse_args()
    before = time.perf_counter()
    dataset_of(experiment_of(given.clients, given))
    print(json.dumps({"seconds": time.perf_counter() - before}))


if __name__ == "__main__":
    main()
