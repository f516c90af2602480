"""The checks of a hospital's policy; each returns the reason for refusal, or ""."""

from __future__ import annotations

import dataclasses
import typing
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from typing import Any, get_args

from torch import Tensor

from omnifm.algorithms.algorithm import Algorithm
from omnifm.algorithms.composition import BuildContext
from omnifm.algorithms.kinds import Kind
from omnifm.algorithms.registry import make_algorithm
from omnifm.config.experiment import Experiment
from omnifm.core.records import Upload
from omnifm.engines.flower.client_policy import ANY, ClientPolicy, UploadKind
from omnifm.privacy.client_round import PrivacyPlan
from omnifm.privacy.settings import PrivacySettings
from omnifm.runs.arm_algorithm import adapter_settings, adapter_wanted
from omnifm.runs.privacy_plan import privacy_plan
from omnifm.training.model import PART_WORDS, FederatedModel, always_personal, is_part

LEAVES_AS: dict[Kind, UploadKind] = {
    Kind.PARAMETER: "weights",
    Kind.BUFFER: "weights",
    Kind.COUNTER: "weights",
    Kind.PROTOTYPE: "prototypes",
    Kind.COUNT: "prototypes",
    Kind.AUXILIARY: "auxiliary",
}
"""What a policy calls each kind of tensors."""

BOUNDS = {
    "data.size": "image_size",
    "training.batch_size": "batch_size",
    "adapter.rho": "rho",
    "adapter.grid": "grid",
    "adapter.token_dim": "token_dim",
    "bank.prototypes": "prototypes",
}
"""The settings of an experiment that may not exceed a key of the policy."""
FLOORS = {"bank.min_cluster": "min_cluster", "data.answer_patients": "answer_patients"}
"""Those that may not be less."""


def reject_experiment(policy: ClientPolicy, experiment: Experiment) -> str:
    """Return why an experiment is refused, or "" if it is permitted."""
    return next(reasons_against_experiment(policy, experiment), "")


def reasons_against_experiment(policy: ClientPolicy, experiment: Experiment) -> Iterator[str]:
    """Yield every reason for which an experiment is refused."""
    for what, allowed, names in (
        ("task", policy.tasks, [experiment.task]),
        ("algorithm", policy.algorithms, algorithm_names(experiment)),
        ("model", policy.models, outside_names(experiment)),
    ):
        for name in names:
            if ANY not in allowed and name not in allowed:
                yield f"The {what} {name!r} is not permitted here (policy.{what}s: {', '.join(allowed) or 'none'})."
    for setting, key in (*BOUNDS.items(), *FLOORS.items()):
        asked, bound = setting_of(experiment, setting), getattr(policy, key)
        if asked < bound if setting in FLOORS else asked > bound:
            yield f"{setting} = {asked} is {'less' if asked < bound else 'more'} than policy.{key} = {bound}."
    if exact_prototypes(experiment) and not policy.exact_prototypes:
        yield (
            "Prototypes leave rounded, or not at all (policy.exact_prototypes = false): the experiment asks for exact "
            "ones, by bank.rounded = false or by learned keys (adapter.keys, omnifm.variant)."
        )
    yield from _against_privacy(policy, experiment.privacy)
    if 0 < policy.epochs < (epochs := local_epochs(experiment)):
        yield f"{epochs} passes over the training data a round are more than policy.epochs = {policy.epochs}."
    privacy, least = experiment.privacy, policy.secure_threshold
    if not privacy.secure_aggregation and policy.secure_aggregation == "required":
        yield "privacy.secure_aggregation = false: no upload leaves here by itself (policy.secure_aggregation)."
    if privacy.secure_aggregation and privacy.secure_threshold < least:
        yield f"privacy.secure_threshold = {privacy.secure_threshold} is less than policy.secure_threshold = {least}."


def _against_privacy(policy: ClientPolicy, privacy: PrivacySettings) -> Iterator[str]:
    if not policy.max_epsilon:
        return
    if not privacy.private:
        yield f"The run promises no differential privacy; policy.max_epsilon = {policy.max_epsilon:g} asks for it."
    elif privacy.delta > policy.max_delta:
        yield f"privacy.delta = {privacy.delta:g} is more than policy.max_delta = {policy.max_delta:g}."


def exact_prototypes(experiment: Experiment) -> bool:
    """Tell whether an experiment has prototypes leave that are neither rounded nor noised."""
    algorithm = algorithm_asked_for(experiment)
    leave = algorithm.offers_prototypes and "everything" not in algorithm.personal
    if not leave or not adapter_wanted(experiment, algorithm) or experiment.privacy.private:
        return False
    return not experiment.bank.rounded or adapter_settings(experiment, algorithm).keys == "learned"


def algorithm_asked_for(experiment: Experiment) -> Algorithm:
    """Return the algorithm of an experiment."""
    return make_algorithm(experiment.algorithm, BuildContext(experiment.sections, experiment.bank))


def privacy_asked_for(experiment: Experiment) -> PrivacyPlan | None:
    """Return the privacy plan of an experiment; None if it promises none."""
    return privacy_plan(experiment, algorithm_asked_for(experiment))


def algorithm_names(experiment: Experiment) -> list[str]:
    """Return the algorithm and the one that it builds upon, if any."""
    base = getattr(experiment.sections.get(experiment.algorithm), "base", None)
    return [experiment.algorithm, *([base] if base else [])]


def local_epochs(experiment: Experiment) -> int:
    """Return how often an experiment passes over a client's training data in a round."""
    return algorithm_asked_for(experiment).epochs(experiment.training)


def setting_of(experiment: Experiment, key: str) -> Any:
    """Return the setting that a dotted key names."""
    section, name = key.split(".")
    return getattr(getattr(experiment, section), name)


def outside_names(experiment: Experiment) -> list[str]:
    """Return the texts in the settings of task and algorithm that can name a file or a model on a hub.

    That is every text which is not one of a list, so that a new setting is not forgotten; but the base of an algorithm,
    which is checked as one, and lists of texts, which are parts of the network. What ``init`` names is looked for by
    its digest among the files that somebody has brought to the hospital, and nowhere else.
    """
    sections = [experiment.sections[experiment.task]]
    sections += [experiment.sections[name] for name in algorithm_names(experiment) if name in experiment.sections]
    return [text for section in sections for text in _texts(section)]


def _texts(settings: Any) -> Iterator[str]:
    hints = _type_hints(type(settings))  # type: ignore[arg-type]
    for one in dataclasses.fields(settings):
        value = getattr(settings, one.name)
        if dataclasses.is_dataclass(value):
            yield from _texts(value)
        elif value and isinstance(value, str) and hints.get(one.name, str) is str and one.name != "base":
            yield value


@cache
def _type_hints(settings: type) -> dict[str, Any]:
    with suppress(NameError):  # of a class that was made inside a function: each text counts
        return typing.get_type_hints(settings)
    return {}


def reject_patients(policy: ClientPolicy, patients: Collection[str]) -> str:
    """Return why a hospital with these patients in its training data takes no part, or ""."""
    count = len(set(patients))
    if count < policy.minimum_patients:
        return f"{count} patients in training are fewer than policy.minimum_patients = {policy.minimum_patients}."
    return ""


def kept_here(policy: ClientPolicy, model: FederatedModel, names: Collection[str]) -> set[str]:
    """Return those of the learned tensors' names that never leave by the policy.

    A part that the network lacks names none.
    """
    return always_personal(names).union(*(model.names_in(part, names) for part in policy.personal))


def reject_names(policy: ClientPolicy, names: Iterable[str], kept: Collection[str]) -> str:
    """Return why tensors of these names may not leave, or ""; ``kept`` are the names of those that never do."""
    parts = [part for part in policy.personal if part not in PART_WORDS]  # these are in `kept`
    for name in names:
        dotted = name.replace("/", ".")
        if _ends_in(dotted, kept) or any(is_part(dotted, part) for part in parts):
            return f"{name} never leaves: it is personal, by policy.personal or by the experiment."
    return ""


def _ends_in(dotted: str, kept: Collection[str]) -> bool:
    """Return whether one of ``kept`` is a dotted name, or all of it from one of its components on."""
    place = 0
    while dotted[place:] not in kept:
        place = dotted.find(".", place) + 1
        if not place:
            return False
    return True


def bytes_by_kind(upload: Upload, kinds: Mapping[str, Kind]) -> Counter[Kind]:
    """Return how many bytes of each kind an upload holds."""
    found = Counter[Kind]()
    for name, kind in kinds.items():
        part, _, own = name.partition("/")
        found[kind] += getattr(upload, part)[own].nbytes
    return found


def sizes_by_kind(upload: Upload, kinds: Mapping[str, Kind]) -> dict[UploadKind, int]:
    """Return how many bytes of each of the policy's kinds an upload holds."""
    found = Counter[UploadKind]()
    for kind, size in bytes_by_kind(upload, kinds).items():
        found[LEAVES_AS[kind]] += size
    return {kind: found[kind] for kind in get_args(UploadKind) if kind in found}


def reject_upload(policy: ClientPolicy, upload: Upload, kinds: Mapping[str, Kind], kept: Collection[str]) -> str:
    """Return why a finished upload may not leave, or "" if it may, whatever the request has asked for."""
    return next(reasons_against_upload(policy, upload, kinds, kept), "")


def reasons_against_upload(
    policy: ClientPolicy, upload: Upload, kinds: Mapping[str, Kind], kept: Collection[str]
) -> Iterator[str]:
    """Yield every reason for which a finished upload may not leave."""
    refused = [kind for kind in sizes_by_kind(upload, kinds) if kind not in policy.upload]
    if refused:
        allowed = ", ".join(policy.upload) or "nothing"
        yield f"The upload holds {' and '.join(refused)}; policy.upload allows {allowed}."
    if reason := reject_names(policy, (*upload.change, *upload.extra), kept):
        yield reason
    sets = prototype_sets(upload, kinds)
    for tokens, sizes in sets:
        if sizes is None or len(sizes) != len(tokens) or any(size < policy.min_cluster for size in sizes.tolist()):
            yield f"A prototype of fewer than policy.min_cluster = {policy.min_cluster} patients does not leave."
        if tokens.shape[-1] > policy.token_dim:
            yield f"Prototypes of {tokens.shape[-1]} numbers are wider than policy.token_dim = {policy.token_dim}."
    if (count := sum(len(tokens) for tokens, _ in sets)) > policy.prototypes:
        yield f"{count} prototypes are more than policy.prototypes = {policy.prototypes}."


def prototype_sets(upload: Upload, kinds: Mapping[str, Kind]) -> list[tuple[Tensor, Tensor | None]]:
    """Return the prototypes of an upload, each set with how many patients are behind each, if that is there.

    The numbers are beside the prototypes under the name ``sizes``; the clustering has counted the patients.
    """
    names = [name.removeprefix("extra/") for name, kind in kinds.items() if kind is Kind.PROTOTYPE]
    return [(upload.extra[name], upload.extra.get(f"{name.rpartition('/')[0]}/sizes")) for name in names]


def reject_size(policy: ClientPolicy, size: int) -> str:
    """Return why a message of this size is refused, or "" if it is not."""
    if size <= policy.max_bytes:
        return ""
    return f"A message of {size / 1e6:.1f} MB is larger than policy.megabytes = {policy.megabytes:g}."
