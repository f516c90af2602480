"""The checks of a hospital's policy; each returns the reason for refusal, or ""."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import get_args

from omnifm.algorithms.kinds import Kind
from omnifm.config.experiment import Experiment
from omnifm.engines.flower.client_config import ANY, ClientPolicy, UploadKind

_LEAVES_AS: dict[Kind, UploadKind] = {
    Kind.PARAMETER: "weights",
    Kind.BUFFER: "weights",
    Kind.COUNTER: "weights",
    Kind.PROTOTYPE: "prototypes",
    Kind.COUNT: "prototypes",
    Kind.AUXILIARY: "auxiliary",
}


def reject_reason(policy: ClientPolicy, experiment: Experiment) -> str:
    """Return why an experiment is refused, or "" if it is permitted."""
    base = getattr(experiment.sections.get(experiment.algorithm), "base", None)
    for what, allowed, names in (
        ("task", policy.tasks, [experiment.task]),
        ("algorithm", policy.algorithms, [experiment.algorithm, *([base] if base else [])]),
    ):
        for name in names:
            if ANY not in allowed and name not in allowed:
                return f"The {what} {name!r} is not permitted here (policy.{what}s: {', '.join(allowed)})."
    if 0 < policy.epochs < experiment.training.epochs:
        return f"{experiment.training.epochs} local epochs are more than policy.epochs = {policy.epochs}."
    return ""


def reject_answers(policy: ClientPolicy, experiment: Experiment) -> str:
    """Return why the introduction, which names frequent answers, is refused, or "" if it is not."""
    if experiment.data.answer_patients < policy.answer_patients:
        return (
            f"Answers of {experiment.data.answer_patients} patients (data.answer_patients) are not shared here: "
            f"policy.answer_patients = {policy.answer_patients}."
        )
    return ""


def reject_training(policy: ClientPolicy, samples: int, rounds_today: int) -> str:
    """Return why training is refused, or "" if it is permitted."""
    if samples < policy.minimum_samples:
        return f"{samples} training samples are fewer than policy.minimum_samples = {policy.minimum_samples}."
    if 0 < policy.rounds_a_day <= rounds_today:
        return f"{rounds_today} rounds were trained within 24 hours: policy.rounds_a_day = {policy.rounds_a_day}."
    return ""


def leaving(kinds: Mapping[str, Kind]) -> list[UploadKind]:
    """Return the policy's names for the kinds of an upload's tensors."""
    found = {_LEAVES_AS[kind] for kind in kinds.values()}
    return [kind for kind in get_args(UploadKind) if kind in found]


def reject_upload(policy: ClientPolicy, kinds: Collection[str]) -> str:
    """Return why an upload is refused, or "" if it is permitted."""
    refused = [kind for kind in kinds if kind not in policy.upload]
    if not refused:
        return ""
    return f"The upload holds {' and '.join(refused)}; policy.upload allows {', '.join(policy.upload) or 'nothing'}."


def reject_size(policy: ClientPolicy, size: int) -> str:
    """Return why a message of this size is refused, or "" if it is not."""
    if size <= policy.max_bytes:
        return ""
    return f"A message of {size / 1e6:.1f} MB is larger than policy.megabytes = {policy.megabytes:g}."
