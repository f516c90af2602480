"""Run two rounds of every algorithm; print the bytes down and up, per client and round, as one line of JSON."""

from __future__ import annotations

import argparse
import json
from typing import Any

import torch
from hospitals import add_arguments, dataset_of, experiment_of

from omnifm.algorithms.registry import REFERENCES
from omnifm.core.records import ClientState
from omnifm.data.federated_dataset import FederatedDataset
from omnifm.runs.arm import Arm, make_arm

CLIENTS, TRAINED = 10, 2
PAPER: dict[str, str] = {"variant": "paper"}


def traffic(arm: Arm) -> dict[str, int]:
    """Return the bytes of the second round: some messages are empty in the first."""
    server, states = arm.start().server, dict[str, ClientState]()
    for _ in range(2):
        broadcast, uploads = arm.algorithm.broadcast(server), []
        for name in arm.participants[:TRAINED]:
            upload, states[name] = arm.runtime.update(broadcast, name, states.get(name, ClientState()))
            uploads.append(upload)
        server = arm.algorithm.server_update(server, uploads)
    return {"down": broadcast.size, "up": max(upload.size for upload in uploads)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    given = parser.parse_args()
    torch.set_num_threads(1)
    dataset: FederatedDataset = dataset_of(experiment_of(CLIENTS, given))
    arms: dict[str, dict[str, Any]] = {name: {"algorithm": name} for name in REFERENCES}
    arms |= {
        "omnifm, in no circle": {"algorithm": "omnifm"},
        "omnifm, all shared": {"algorithm": "omnifm", "omnifm": PAPER},
    }
    print(json.dumps({n: traffic(make_arm(experiment_of(CLIENTS, given, **c), dataset)) for n, c in arms.items()}))


if __name__ == "__main__":
    main()
