"""The algorithm of an arm with its aggregation, and what of the settings follows from the two."""

from __future__ import annotations

from dataclasses import replace

from omnifm.algorithms.aggregation.aggregator import Aggregator
from omnifm.algorithms.aggregation.registry import make_aggregator
from omnifm.algorithms.aggregation.summed_mean import SummedMean
from omnifm.algorithms.algorithm import Algorithm
from omnifm.algorithms.composition import BuildContext
from omnifm.algorithms.registry import make_algorithm
from omnifm.config.experiment import Experiment
from omnifm.federation.acceptance import Acceptance
from omnifm.federation.loop import sampled
from omnifm.federation.secure_sum import SecureSum, reason_against_size, reason_against_sums
from omnifm.spectral.adapter import AdapterSettings
from omnifm.training.settings import TrainingSettings
from omnifm.utils.errors import IncompatibleError


def adapter_wanted(experiment: Experiment, algorithm: Algorithm) -> bool:
    """Return whether the network has a spectral adapter."""
    return algorithm.adapter if experiment.adapter.use == "auto" else experiment.adapter.use == "on"


def adapter_settings(experiment: Experiment, algorithm: Algorithm) -> AdapterSettings:
    """Return the settings of the adapter, in which its keys are learned or fixed."""
    settings = experiment.adapter
    if settings.keys != "auto":
        return settings
    return replace(settings, keys="learned" if algorithm.learned_keys else "fixed")


def acceptance_of(experiment: Experiment, algorithm: Algorithm) -> Acceptance | None:
    """Return how clients compare what they receive with their own weights; None if they do not."""
    settings = experiment.federation
    wanted = algorithm.compares if settings.acceptance == "auto" else settings.acceptance == "on"
    possible = not (algorithm.pools_data or algorithm.fixed_start or experiment.privacy.private)
    return Acceptance(settings.acceptance_every) if wanted and possible else None


def secure_sum_of(experiment: Experiment, algorithm: Algorithm) -> SecureSum | None:
    """Return the secure aggregation of an arm; None if it has none."""
    wanted = experiment.privacy.secure_aggregation and not algorithm.pools_data
    return SecureSum(experiment.privacy, experiment.checks) if wanted else None


def algorithm_of(experiment: Experiment, clients: int | None) -> Algorithm:
    """Make the algorithm; ``clients`` is the number of all clients, if it is known.

    Raises:
        IncompatibleError: its aggregation does not go with it, or with so many clients; says why.
    """
    aggregator = make_aggregator(experiment.aggregation)
    context = BuildContext(experiment.sections, experiment.bank, aggregator, experiment.adapter.token_dim)
    algorithm = make_algorithm(experiment.algorithm, context)
    if algorithm.pools_data:
        return algorithm
    chosen = None if clients is None else sampled(experiment.federation.participation, clients)
    if experiment.privacy.secure_aggregation:
        return _summed(experiment, algorithm, aggregator, chosen)
    reason = "" if chosen is None else aggregator.reject_reason(chosen)
    if algorithm.needs_mean and not aggregator.estimates_mean:
        reason = f"{experiment.algorithm!r} needs the mean over the clients, which one client's upload does not replace"
    if reason:
        raise IncompatibleError(
            f"aggregation.rule = {experiment.aggregation['rule']!r}: {reason}. Choose another rule."
        )
    return algorithm


def _summed(experiment: Experiment, algorithm: Algorithm, aggregator: Aggregator, clients: int | None) -> Algorithm:
    """Return the algorithm for secure sums over so many clients, if it can do with sums."""
    reason = reason_against_sums(algorithm, aggregator, experiment.checks)
    if not reason and clients is not None:
        reason = reason_against_size(clients, experiment.privacy.secure_threshold)
    if reason:
        raise IncompatibleError(
            f"privacy.secure_aggregation = true is not possible with {experiment.algorithm!r} here: {reason}."
        )
    return algorithm.with_aggregator(SummedMean())


def training_of(experiment: Experiment, algorithm: Algorithm) -> TrainingSettings:
    """Return the training settings, without momentum if the algorithm requires plain SGD."""
    if not algorithm.plain_sgd:
        return experiment.training
    if experiment.training.optimizer != "sgd":
        raise IncompatibleError(
            f"training.optimizer = {experiment.training.optimizer!r}: the rule of {experiment.algorithm!r} holds for "
            f"plain SGD only. Set training.optimizer = 'sgd', or choose another algorithm."
        )
    return replace(experiment.training, momentum=0.0)
