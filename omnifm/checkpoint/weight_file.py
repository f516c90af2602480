"""A model's weights in a file that others can start from: safetensors, with the origin of the model in the metadata."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open

from omnifm.checkpoint.file import read_checkpoint, write_checkpoint
from omnifm.core.tensors import Tensors
from omnifm.utils.errors import CheckpointError

WEIGHT_FORMAT = "omnifm weights 1"
WEIGHT_SUFFIX = ".safetensors"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a model was made for, and by what.

    ``settings`` are the tables that its shape depends on, the task's and the adapter's; ``channels``, ``size``,
    ``label_names`` and ``vocabulary`` those of the data; ``experiment`` is the SHA-256 of the experiment as TOML.
    ``privacy`` holds the epsilon and the delta that each patient was promised; it is empty where none were.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")  # of a file that is read
    task: str
    settings: dict[str, Any]
    channels: int
    size: tuple[int, ...]
    label_names: tuple[str, ...]
    vocabulary: tuple[str, ...]
    experiment: str
    privacy: dict[str, float] = field(default_factory=dict)


_ORIGIN = TypeAdapter(Origin)


def write_weights(path: Path, tensors: Tensors, origin: Origin) -> None:
    """Write a file of weights atomically.

    Raises:
        CheckpointError: the disk is full or not writable.
    """
    write_checkpoint(path, tensors, {"format": WEIGHT_FORMAT, **dataclasses.asdict(origin)})


def read_weights(path: Path) -> tuple[Tensors, Origin]:
    """Read a file of weights.

    Raises:
        CheckpointError: it is missing or damaged, or ``omnifm pretrain`` and ``omnifm export`` did not write it.
    """
    plain: Any = None
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("plain", "{}")
        with contextlib.suppress(ValueError, RecursionError):  # the metadata of another program
            plain = json.loads(text)
    except FileNotFoundError:
        raise CheckpointError(f"There is no file {path}.") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is no safetensors file, or damaged: {error}.") from None
    if not isinstance(plain, dict) or plain.pop("format", None) != WEIGHT_FORMAT:
        raise CheckpointError(
            f"{path} holds no weights in the format {WEIGHT_FORMAT!r}: make it by 'omnifm pretrain' or 'omnifm export'."
        )
    tensors, _ = read_checkpoint(path)
    try:
        return tensors, _ORIGIN.validate_python(plain)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise CheckpointError(
            f"{path} does not say what its weights are for ({place}: {first['msg']}): make it again by "
            "'omnifm pretrain' or 'omnifm export'."
        ) from None
