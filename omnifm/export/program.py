"""A client's whole model, adapter and bank in it, as a program of plain tensors that runs without this library."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from omnifm.data.subset import Batch
from omnifm.export.client_model import ClientModel
from omnifm.spectral.real_spectrum import RealSpectrum
from omnifm.utils.errors import ExperimentError

TOLERANCE = 1e-4
"""How far a number of an exported model may be from the original's."""

_ROWS = 3  # of the example that a program is made from: any number would do but 1, which torch takes for a constant
_NOISY = ("torch.onnx", "onnxscript", "onnx_ir")


@dataclass(frozen=True)
class Program:
    """A model as a program: ``exported`` takes the ``example``'s inputs and gives what ``expected`` holds of them.

    It is called as ``program(image)``, or ``program(image, {"words": words})`` where the task has further inputs, and
    returns a dictionary of the task's results, or its main result alone. The first axis may have any length.
    """

    exported: ExportedProgram
    example: Batch
    expected: dict[str, Tensor]


def arguments(inputs: Batch) -> tuple[Tensor] | tuple[Tensor, Batch]:
    """Return inputs as a program takes them: the image, then the others, if there are any, by name."""
    image, others = inputs["image"], {name: value for name, value in inputs.items() if name != "image"}
    return (image, others) if others else (image,)


def make_program(client: ClientModel, main_only: bool = False) -> Program:
    """Turn a client's model into a program, whose possible labels are those of the client.

    Args:
        client: the model.
        main_only: the program returns the task's main result in place of a dictionary of all.

    Raises:
        ExperimentError: networks of this task cannot be exported, or the program computes something else.
    """
    if client.task.no_program:
        raise ExperimentError(
            f"This network cannot be exported as a program: {client.task.no_program}. "
            "Use --format safetensors, whose files its own library reads."
        )
    example = example_inputs(client)
    module = _Whole(client, main_only)
    expected = _named(client, _outputs(client, example), main_only)
    with torch.no_grad(), exporters_silenced():
        module(*arguments(example))  # fills caches with real tensors: tracing would leave symbols in them
        exported = torch.export.export(module, arguments(example), dynamic_shapes=_axes(example), strict=False)
        program = Program(exported, example, expected)
        for rows in (_ROWS, 1):
            inputs = {name: value[:rows] for name, value in example.items()}
            found = exported.module()(*arguments(inputs))
            check_agreement(found if isinstance(found, dict) else {next(iter(expected)): found}, expected)
    return program


def check_agreement(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """Compare what an exported model gives, perhaps for the first rows only, with what the original gives.

    Returns:
        The largest difference.

    Raises:
        ExperimentError: a number differs by more than ``TOLERANCE``.
    """
    largest = 0.0
    for name, value in found.items():
        difference = float((value.float() - expected[name][: len(value)].float()).abs().max())
        if not difference <= TOLERANCE:
            raise ExperimentError(
                f"The exported model gives another {name!r} than the original (they differ by up to {difference:.1e}, "
                f"more than {TOLERANCE:.0e}): it was not written. Please report this."
            )
        largest = max(largest, difference)
    return largest


def example_inputs(client: ClientModel) -> Batch:
    """Return inputs of the form that a program takes, of noise; the image is the first."""
    signature, spec = client.task.signature, client.spec
    draw = torch.Generator().manual_seed(0)
    images = torch.rand(_ROWS, spec.channels, *client.task.image_size(spec.shape.size), generator=draw)
    asked = {"question": ["is there one?", "what is it?", "where?"]} if signature.gives == "text" else {}
    batch = client.batch(images, **asked)
    return {name: batch[name] for name in signature.inputs}


@contextmanager
def exporters_silenced() -> Iterator[None]:
    """Keep torch's exporters from telling the user of their own parts."""
    loggers = [logging.getLogger(name) for name in _NOISY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning)
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            warnings.filterwarnings("ignore", message=r"(?s).*were assigned during export")  # weights of a GRU
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class _Whole(nn.Module):
    """From tensors of a user to the task's results."""

    allowed: Tensor
    exclusive: Tensor

    def __init__(self, client: ClientModel, main_only: bool) -> None:
        super().__init__()
        self.model = deepcopy(client.model).to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
        if (adapter := self.model.adapter) is not None:
            size = client.task.image_size(client.spec.shape.size)
            adapter.spectrum = RealSpectrum(size, adapter.settings.rho, adapter.settings.grid)
        self.register_buffer("allowed", torch.tensor([name in client.allowed for name in client.label_names]))
        self.register_buffer("exclusive", torch.tensor(client.exclusive))
        self._task, self._main_only = client.task, main_only

    def forward(self, image: Tensor, more: Batch | None = None) -> dict[str, Tensor] | Tensor:
        rows = image.shape[0]
        known = {"allowed": self.allowed.expand(rows, -1), "exclusive": self.exclusive.expand(rows)}
        batch = {**known, **(more or {}), "image": image}
        found = self._task.result(self.model(batch).prediction, batch)
        return next(iter(found.values())) if self._main_only else found


def _outputs(client: ClientModel, example: Batch) -> dict[str, Tensor]:
    """Return what the original model gives, in float32 whatever it was trained in."""
    rows = len(example["image"])
    allowed = torch.tensor([name in client.allowed for name in client.label_names], dtype=torch.bool)
    batch = {**example, "allowed": allowed.expand(rows, -1), "exclusive": torch.full((rows,), client.exclusive)}
    with torch.no_grad():
        return client.task.result(client.model(batch).prediction, batch)


def _named(client: ClientModel, found: dict[str, Tensor], main_only: bool) -> dict[str, Tensor]:
    main = next(iter(client.task.signature.outputs))
    return {main: found[main]} if main_only else found


def _axes(example: Batch) -> tuple[object, ...]:
    """Say which axes may have any length: the rows, and of what is not an image the last."""

    def of(name: str, value: Tensor) -> dict[int, object]:
        last = {} if name == "image" else {value.dim() - 1: Dim.DYNAMIC}
        return {0: Dim.DYNAMIC, **last}

    axes = {name: of(name, value) for name, value in example.items()}
    image = axes.pop("image")
    return (image, axes) if axes else (image,)
