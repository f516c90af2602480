"""A program as an ONNX file, checked against the original in onnxruntime where that is installed."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from omnifm.export.program import Program, check_agreement, exporters_silenced
from omnifm.utils.atomic_write import replacing
from omnifm.utils.errors import ExperimentError

ONNX_FILE = "model.onnx"


def write_onnx(program: Program, folder: Path, description: dict[str, Any]) -> Path:
    """Write a program as ``model.onnx``, its description as JSON in the metadata under ``omnifm``.

    Raises:
        ExperimentError: the packages for it are not installed, or onnxruntime computes something else.
    """
    for package in ("onnx", "onnxscript"):
        if importlib.util.find_spec(package) is None:
            raise ExperimentError(
                f"ONNX files are made by {package}, which is not installed: pip install omnifm[export]."
            )
    from onnx_ir.passes.common import DeduplicateInitializersPass

    with exporters_silenced():
        made = torch.onnx.export(
            program.exported,
            dynamo=True,
            verbose=False,
            input_names=list(program.example),
            output_names=list(program.expected),
        )
    assert made is not None
    DeduplicateInitializersPass(size_limit=2**31)(made.model)  # loops are unrolled, and each turn has its weights
    _tidy(made.model, _axis_names(program.exported, list(program.example)))
    made.model.metadata_props["omnifm"] = json.dumps(description)
    path = folder / ONNX_FILE
    with replacing(path) as temporary:
        made.save(temporary)
        _check(temporary, program)
    return path


def _tidy(model: Any, names: dict[str, str]) -> None:
    """Take the places in this machine's source files out of an ONNX model, and give its free axes names."""
    import onnx_ir

    for node in model.graph:
        node.metadata_props.clear()
        node.doc_string = None
    values = [*model.graph.inputs, *model.graph.outputs, *(out for node in model.graph for out in node.outputs)]
    for value in values:
        value.metadata_props.clear()
        if value.shape is not None:
            value.shape = onnx_ir.Shape([names.get(str(axis), axis) for axis in value.shape])


def _axis_names(exported: ExportedProgram, inputs: list[str]) -> dict[str, str]:
    """Return names for the symbols of free axes: the rows are ``batch``, the others are called as their input."""
    names: dict[str, str] = {}
    symbols = [
        node.meta["val"].shape for node in exported.graph.nodes if node.name in exported.graph_signature.user_inputs
    ]
    for name, shape in zip(inputs, symbols, strict=True):
        names |= {str(axis): name for axis in shape[1:] if not isinstance(axis, int)}
        names[str(shape[0])] = "batch"
    return names


def _check(path: Path, program: Program) -> None:
    """Compare with the original, for a batch of several and of one."""
    if importlib.util.find_spec("onnxruntime") is None:
        return
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    for rows in (1, len(program.example["image"])):
        inputs = {name: value[:rows].numpy() for name, value in program.example.items()}
        found = session.run(list(program.expected), inputs)
        check_agreement(
            {name: torch.from_numpy(v) for name, v in zip(program.expected, found, strict=True)}, program.expected
        )
