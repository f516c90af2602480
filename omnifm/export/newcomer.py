"""A model for a client that took no part in training, from its images alone, without labels or training."""

from __future__ import annotations

from collections.abc import Collection
from copy import deepcopy

import torch

from omnifm.algorithms.placement import Placement
from omnifm.core.records import OWN_WEIGHTS, ServerState
from omnifm.core.tensors import strip_prefix
from omnifm.data.subset import Batch
from omnifm.networks.normalisation import can_normalise, layers_with_statistics, measured_statistics
from omnifm.runs.arm import Arm
from omnifm.training.model import ALWAYS_PERSONAL, FederatedModel
from omnifm.training.weight_cache import WeightCache
from omnifm.utils.device import deterministic
from omnifm.utils.errors import ExperimentError

_SHARE_MORE = "Train with the statistics of normalisation alone personal: omnifm.personal = ['statistics']."
_NO_CIRCLE = (
    "No circle takes it: no two clients were found alike, or circles are not the bank's. Train for more rounds, on "
    "more patients, with omnifm.circles = 'bank', or without circles (omnifm.circle = [])."
)
_NEW_CIRCLE = "The circle that it is nearest to was formed after this round, and has no weights yet. Train on."


def newcomer_model(arm: Arm, server: ServerState, batch: Batch) -> tuple[FederatedModel, Placement]:
    """Return a model for a newcomer's images, in evaluation mode, and the circle whose weights it got.

    It has the weights that all clients share, those of its circle, and statistics of batch normalisation measured on
    the images.

    Args:
        arm: the arm whose clients have trained.
        server: the arm's state after the chosen round.
        batch: the images ``(n, channels, *size)`` as ``image``, and the task's other inputs.

    Raises:
        ExperimentError: other parts stay at the clients, or there are no circles to take them from.
    """
    model, broadcast = deepcopy(arm.runtime.model), arm.algorithm.broadcast(server)
    weights = WeightCache(model)
    weights.load({**arm.runtime.initial, **broadcast.shared})
    placement = arm.algorithm.place(server, model, batch["image"])
    own = strip_prefix(OWN_WEIGHTS, placement.message)
    remedy = _SHARE_MORE
    if arm.algorithm.in_circles and not own:
        remedy = _NEW_CIRCLE if placement.members else _NO_CIRCLE
    _check(model, {*broadcast.shared, *own}, weights.tensors, remedy)
    weights.load(own)
    if model.adapter is not None:
        model.adapter.use_bank(broadcast.extra.get("bank"))
    if layers_with_statistics(model):
        count = -(-len(batch["image"]) // arm.experiment.training.batch_size)  # of one length: all images weigh alike
        parts = {name: torch.tensor_split(value, count) for name, value in batch.items()}
        with measured_statistics(model), deterministic(batch["image"].device), can_normalise("The new hospital"):
            for place in range(count):
                model.measured({name: value[place] for name, value in parts.items()})
    return model.eval().requires_grad_(False), placement


def _check(model: FederatedModel, received: Collection[str], needed: Collection[str], remedy: str) -> None:
    measured = model.personal_names(["statistics"])
    lacking = sorted(
        name for name in {*needed} - {*received} - measured if name.rsplit(".", 1)[-1] not in ALWAYS_PERSONAL
    )
    if lacking:
        raise ExperimentError(
            f"{lacking[0]} ({len(lacking)} tensors in all) stays with the clients that trained it, so that there is no "
            f"model for a newcomer. {remedy}"
        )
