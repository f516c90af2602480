"""Export of a run's model: one file of weights, and the network's own format."""

from __future__ import annotations

from pathlib import Path

from omnifm.checkpoint.file import write_checkpoint
from omnifm.checkpoint.kept_weights import MODEL_FILE
from omnifm.checkpoint.weight_file import write_weights
from omnifm.data.federated_dataset import POOLED
from omnifm.export.client_model import ClientModel
from omnifm.export.description import Exported
from omnifm.export.loaded_arm import LoadedArm
from omnifm.export.papers import write_papers
from omnifm.export.sample_code import weights_code
from omnifm.runs.initial_weights import travels
from omnifm.utils.errors import ExperimentError

WEIGHTS_FORMAT, BANK_FILE = "safetensors", "bank.safetensors"


def export_arm(loaded: LoadedArm, client: str | None, folder: Path) -> list[str]:
    """Write the model of an arm's best round into a folder, and return the names of missing tensors.

    It is the model of ``client`` before local training, with its personal tensors, or without a client the shared
    tensors only, which are all that the server of a deployment has. The network's own format is written too, if it has
    one and no tensor of the network is missing, and so is the bank. A model card and a README say what it is.

    Raises:
        ExperimentError: there is no such client, the arm shares nothing, or the folder holds a model already.
        CheckpointError: the arm has no intact checkpoint of its best round.
    """
    if (folder / MODEL_FILE).exists():
        raise ExperimentError(f"{folder} holds a model already. Give another folder.")
    tensors, arm = loaded.tensors(client), loaded.arm
    lacking = [own for own in arm.runtime.initial if travels(own) and own not in tensors]
    if not any(map(travels, tensors)):
        raise ExperimentError(f"Arm {loaded.name!r} shares no weights: name the client whose model to write.")
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(folder / MODEL_FILE, tensors, arm.origin)
    if (bank := loaded.bank) is not None:
        write_checkpoint(folder / BANK_FILE, {"tokens": bank}, {"format": "omnifm bank 1"})
    if not any(own.startswith("network.") for own in lacking):
        arm.runtime.model.network.export(folder)
    exported = Exported(loaded, client, ClientModel(arm.runtime.model, arm.task, arm.data_spec), len(lacking))
    write_papers(exported, folder, MODEL_FILE, weights_code(MODEL_FILE), "safetensors torch")
    return lacking


def write_start(loaded: LoadedArm, file: Path) -> None:
    """Write the initial weights for other runs, from the best round of an arm that pools all data, to one file."""
    everything = loaded.tensors(POOLED)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_weights(file, {own: value for own, value in everything.items() if travels(own)}, loaded.arm.origin)
