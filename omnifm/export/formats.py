"""A model of a run in one of the formats that other programs read, with a model card and a README beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from omnifm.export.client_model import ClientModel
from omnifm.export.description import Exported
from omnifm.export.loaded_arm import LoadedArm
from omnifm.export.monai_bundle import write_bundle
from omnifm.export.onnx_file import ONNX_FILE, write_onnx
from omnifm.export.papers import CARD, write_papers
from omnifm.export.program import make_program
from omnifm.export.sample_code import onnx_code, torch_code
from omnifm.export.torch_file import TORCH_FILE, write_torch
from omnifm.export.weights import WEIGHTS_FORMAT, export_arm
from omnifm.utils.errors import ExperimentError, did_you_mean


def export_model(
    loaded: LoadedArm, folder: Path, file_format: str = WEIGHTS_FORMAT, client: str | None = None
) -> list[str]:
    """Write the model of an arm's best round into a folder, and return the names of missing tensors.

    Args:
        loaded: the arm.
        folder: where to; it is made.
        file_format: one of ``EXPORT_FORMATS``.
        client: whose model, with its personal parts; without one, what all share. All formats but ``safetensors`` need
            a complete network.

    Raises:
        ExperimentError: there is no such client or format, the network is not complete or cannot be exported so, a
            package is missing, or the folder holds a model already.
        CheckpointError: the arm has no intact checkpoint of its best round.
    """
    if file_format not in EXPORT_FORMATS:
        raise ExperimentError(f"There is no format {file_format!r}. {did_you_mean(file_format, EXPORT_FORMATS)}")
    if (folder / CARD).exists():
        raise ExperimentError(f"{folder} holds a model already. Give another folder.")
    if file_format == WEIGHTS_FORMAT:
        return export_arm(loaded, client, folder)
    write_client_model(loaded, loaded.model(client), folder, file_format, client)
    return []


def write_client_model(
    loaded: LoadedArm, model: ClientModel, folder: Path, file_format: str, client: str | None = None
) -> None:
    """Write a model that is complete as a program.

    Raises:
        ExperimentError: as :func:`export_model`.
    """
    _WRITERS[file_format](Exported(loaded, client, model), folder)


def _write_onnx(exported: Exported, folder: Path) -> None:
    about, program = exported.description, make_program(exported.model)
    folder.mkdir(parents=True, exist_ok=True)
    write_onnx(program, folder, about)
    write_papers(exported, folder, ONNX_FILE, onnx_code(about, ONNX_FILE), "numpy onnxruntime")


def _write_torch(exported: Exported, folder: Path) -> None:
    about, program = exported.description, make_program(exported.model)
    folder.mkdir(parents=True, exist_ok=True)
    write_torch(program, folder, about)
    write_papers(exported, folder, TORCH_FILE, torch_code(about, TORCH_FILE), "numpy torch")


_WRITERS: dict[str, Callable[[Exported, Path], None]] = {
    "onnx": _write_onnx,
    "torch": _write_torch,
    "monai-bundle": write_bundle,
}
EXPORT_FORMATS = (WEIGHTS_FORMAT, *_WRITERS)
"""The formats of export."""
