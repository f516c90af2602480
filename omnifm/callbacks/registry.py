"""The callbacks by the ``kind`` of their ``[[callbacks]]`` in an experiment file. ``register_callback`` adds others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from omnifm.callbacks.callback import Callback
from omnifm.callbacks.mlflow import MLflow
from omnifm.callbacks.tensorboard import TensorBoard
from omnifm.callbacks.wandb import WandB
from omnifm.config.checking import checked
from omnifm.config.toml import Document
from omnifm.utils.errors import ExperimentError, did_you_mean
from omnifm.utils.registration import class_decorator

CALLBACKS: dict[str, type[Callback]] = {"mlflow": MLflow, "tensorboard": TensorBoard, "wandb": WandB}
_CallbackClass = TypeVar("_CallbackClass", bound=type[Callback])


def register_callback(name: str) -> Callable[[_CallbackClass], _CallbackClass]:
    """Return a class decorator that makes a callback known by a name: ``[[callbacks]]`` with ``kind = "name"``.

    The class is a dataclass whose fields are its parameters; what else it keeps it makes in ``__post_init__``.

    Raises:
        ValueError: (from the decorator) the name is taken, or the class is no dataclass.
    """
    return class_decorator(CALLBACKS, name, "Callback")


def make_callbacks(document: Document) -> list[Callback]:
    """Make the callbacks that an experiment's document asks for, in its order.

    Raises:
        ExperimentError: there is no such kind, a parameter does not fit, or a package is not installed; names the key.
    """
    tables = document.get("callbacks", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ExperimentError("callbacks: give a table for each callback, as [[callbacks]].")
    made = []
    for number, table in enumerate(tables):
        place, parameters = f"callbacks.{number}", dict(table)
        kind = parameters.pop("kind", None)
        if kind is None:
            raise ExperimentError(f"{place}.kind: this key is required. Known: {', '.join(sorted(CALLBACKS))}.")
        if (name := str(kind)) not in CALLBACKS:
            raise ExperimentError(f"{place}.kind: there is no {kind!r}. {did_you_mean(name, CALLBACKS)}")
        callback: Callback = checked(CALLBACKS[name], parameters, ("callbacks", str(number)))
        made.append(callback)
    return made
