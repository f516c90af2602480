"""What is said of a request in a hospital's audit log and to the server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from omnifm.algorithms.kinds import Kind
from omnifm.core.records import Upload
from omnifm.core.tensors import raw
from omnifm.engines.flower.client_config import ClientConfig
from omnifm.engines.flower.client_policy import ClientPolicy
from omnifm.engines.flower.messages import Request
from omnifm.engines.flower.policy import prototype_sets, sizes_by_kind
from omnifm.privacy.vault import ClientVault
from omnifm.utils.errors import CheckpointError, DataError, OmniFMError
from omnifm.utils.quick_digest import quick_digest

_LONGEST = 500
"""The most characters of a reason: nothing that is written down grows with a request."""
_TAKEN = {1.0: "what it received", 0.5: "half of what it received", 0.0: "its own weights alone"}
_DETAILS = "the hospital's audit log has the details."


def about_upload(upload: Upload, kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """Return what the audit log says of an upload: the bytes of each kind, and the patients behind prototypes."""
    noted: dict[str, Any] = {"sent": sizes_by_kind(upload, kinds)}
    behind = [int(size) for _, sizes in prototype_sets(upload, kinds) if sizes is not None for size in sizes]
    if behind:
        noted |= {"prototypes": len(behind), "fewest_patients": min(behind)}
    if "accepted" in upload.notes:
        noted["accepted"] = upload.notes["accepted"]
    return noted


def about_privacy(vault: ClientVault, policy: ClientPolicy, delta: float) -> dict[str, Any]:
    """Return what the audit log says of a private run: the epsilon that it has spent, and all runs together."""
    spent = vault.account.spent(delta, vault.arm), vault.account.spent(policy.max_delta)
    return {"epsilon": round(spent[0], 4), "epsilon_of_all_runs": round(spent[1], 4)}


def asked_of(request: Request) -> str:
    """Return a digest of what decides an answer beside the broadcast and the state: the experiment and its names."""
    asked = (request.experiment, request.weights, request.labels, request.vocabulary)
    return sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def circle_text(noted: Mapping[str, Any]) -> str:
    """Say with whom a hospital learns, and how much it takes of it, as the audit log has it."""
    rounds, share = noted["circle_rounds"], noted.get("accepted")
    place = "alone, in no circle" if noted["circle"] is None else f"in circle {noted['circle']}"
    text = f"{place}, for {rounds} round{'s' if rounds > 1 else ''} in a row"
    return text if share is None else f"{text}; it started from {_TAKEN.get(share, f'{share:g} of what it received')}"


def digest_of(request: Request) -> str:
    """Return a digest of all that the answer to a request depends on, but for what of it is asked for."""
    packed = [record.pack() for record in (request.broadcast, request.message) if record is not None]
    shapes = [{name: [str(v.dtype), v.shape] for name, v in tensors.items()} for tensors, _ in packed]
    plain = (request.experiment, request.weights, request.labels, request.vocabulary, request.state)
    text = json.dumps([*plain, shapes, [told for _, told in packed]], sort_keys=True)
    return quick_digest(text.encode(), *(raw(tensors[name]) for tensors, _ in packed for name in sorted(tensors)))


def sum_context(request: Request) -> str:
    """Return a digest of all of a request for training that the members of a secure sum must have in common."""
    assert request.broadcast is not None
    scale = None if request.scale is None else [request.scale.most, request.scale.heaviest]
    told = [request.run, request.arm, request.broadcast.round, scale, digest_of(replace(request, state=None))]
    return sha256(json.dumps(told).encode()).hexdigest()


def clean(text: str) -> str:
    """Return the printable characters of the beginning of a text."""
    return "".join(one if one.isprintable() else " " for one in text[:_LONGEST])


def for_the_server(error: Exception, config: ClientConfig) -> str:
    """Return an error without anything of the hospital: names of files can be those of patients, or of its machine."""
    if isinstance(error, CheckpointError):
        return f"A state or a file of weights is missing, damaged or cannot be written; {_DETAILS}"
    if isinstance(error, OSError):
        return f"{error.strerror or type(error).__name__}; {_DETAILS}"
    own = (config.data.root, config.state, config.weights, config.keys, config.data.cache)
    here = (*own, str(Path.home()), str(Path.cwd()))
    if isinstance(error, DataError) or not isinstance(error, OmniFMError) or any(p and p in str(error) for p in here):
        return f"{type(error).__name__}; {_DETAILS}"
    return clean(str(error))
