"""What an experiment promises its patients, and what it cannot promise together with it."""

from __future__ import annotations

from omnifm.algorithms.algorithm import Algorithm
from omnifm.config.experiment import Experiment
from omnifm.networks.normalisation import layers_with_statistics
from omnifm.privacy.budget import Planned, make_budget
from omnifm.privacy.client_round import PrivacyPlan
from omnifm.runs.arm_algorithm import adapter_wanted
from omnifm.tasks.task import Task
from omnifm.training.model import FederatedModel
from omnifm.training.private_trainer import steps_per_epoch
from omnifm.utils.errors import IncompatibleError


def privacy_plan(experiment: Experiment, algorithm: Algorithm) -> PrivacyPlan | None:
    """Return the plan of a private run, whose noise is enough for all that can leave; None for any other run.

    Each evaluation after local training trains too: after the last round there is one training more.

    Raises:
        ExperimentError: the budget cannot be met, or dp-accounting is not installed.
    """
    settings, federation = experiment.privacy, experiment.federation
    if not settings.private:
        return None
    trainings = federation.rounds + ("after_local_training" in federation.evaluate)
    adapted = adapter_wanted(experiment, algorithm)
    prototypes = -(-trainings // settings.prototypes_every) if adapted and algorithm.offers_prototypes else 0
    points = len(federation.evaluate)
    planned = Planned(
        trainings=trainings,
        steps=algorithm.epochs(experiment.training) * steps_per_epoch(settings.sampling),
        prototypes=prototypes,
        validations=points * federation.rounds_evaluated,
        tests=points,
    )
    return PrivacyPlan(settings, make_budget(settings, planned))


def checked_plan(experiment: Experiment, algorithm: Algorithm, task: Task, model: FederatedModel) -> PrivacyPlan | None:
    """Return the plan of a private run, of which nothing would leave without noise; None for any other run.

    Raises:
        IncompatibleError: something would; says what, and how to change it.
        ExperimentError: as :func:`privacy_plan`.
    """
    if not experiment.privacy.private:
        return None
    reason = ""
    if algorithm.private_reason:
        reason = f"algorithm {experiment.algorithm!r}: {algorithm.private_reason}"
    elif task.private_reason:
        reason = f"task {experiment.task!r}: {task.private_reason}"
    elif layers_with_statistics(model):
        reason = (
            "batch normalisation mixes the patients of a batch, and its statistics have no noise: set norm = 'group' "
            f"in [{experiment.task}]"
        )
    elif experiment.federation.acceptance == "on":
        reason = "federation.acceptance = 'on' tells what validation patients prefer: set it to 'auto' or 'off'"
    if reason:
        raise IncompatibleError(f"A run with [privacy] epsilon or noise_multiplier cannot keep its promise: {reason}.")
    return privacy_plan(experiment, algorithm)
