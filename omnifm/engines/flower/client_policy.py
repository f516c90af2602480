"""``[policy]`` of ``client.toml``: what the server may ask for, and what may leave."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from omnifm.algorithms import registry as algorithms
from omnifm.privacy.settings import LEAST_IN_SUM
from omnifm.tasks import registry as tasks
from omnifm.utils.settings import Between, Count, CountOrZero, NotNegative, OneOf, Positive, Some, Text, settings

UploadKind = Literal["weights", "prototypes", "auxiliary"]
"""The kinds of tensors in an upload: changes of shared weights, spectral prototypes, and what else an algorithm
adds (such as SCAFFOLD's control variates)."""

ANY = "*"


@settings
class ClientPolicy:
    """``[policy]``: the requests that are permitted; all others are refused, with the reason.

    What is asked for: ``tasks`` and ``algorithms`` by name, ``["*"]`` for any; ``models`` the files and hub ids that a
    request may name; ``image_size``, ``batch_size`` and ``parameters`` (numbers in the network) bound memory,
    ``minutes`` the time of a request; ``epochs`` how often one passes over the training data, for all phases and models
    of the algorithm together (0: any number); ``rounds_a_day`` how many rounds are answered within 24 hours, by
    training or by scores (0: any number), and ``models_a_round`` for how many models each of them; ``rho``, ``grid``
    and ``token_dim`` bound the settings of the adapter, so that a token is no copy of a spectrum.

    What leaves: ``upload`` names the kinds, ``personal`` the parts of the network that never do; ``prototypes`` is the
    most of them in a round, ``min_cluster`` how many patients at least each stands for; ``exact_prototypes`` permits
    those that are not rounded, such as those of learned keys; ``minimum_patients`` is how many must be in the training
    data, so that an upload does not reveal a few; ``answer_patients`` how many training patients must have an answer to
    a question before its text is shared; ``megabytes`` the largest size of a message, either way. With
    ``secure_aggregation = "required"`` no upload leaves by itself, but in sums; over how many hospitals a secure sum
    must be at least says ``secure_threshold``. With ``max_epsilon`` above 0, only private runs are answered, with a
    delta of at most ``max_delta``, and all of them together may cost a patient ``max_epsilon`` at ``max_delta``, for
    good.
    """

    tasks: Some[Annotated[str, OneOf(tasks.TASKS, ANY)]]
    algorithms: Some[Annotated[str, OneOf(algorithms.ALGORITHM_SETTINGS, ANY)]]
    models: tuple[Text, ...] = ()
    image_size: Count = 512
    batch_size: Count = 256
    parameters: Count = 100_000_000
    minutes: Positive = 60.0
    epochs: CountOrZero = 0
    rounds_a_day: CountOrZero = 0
    models_a_round: Count = 1
    rho: Annotated[float, Field(gt=0, le=1)] = 0.25
    grid: Count = 15
    token_dim: Count = 64
    upload: tuple[UploadKind, ...] = ("weights", "prototypes", "auxiliary")
    personal: tuple[Text, ...] = ()
    prototypes: Count = 16
    min_cluster: Count = 5
    exact_prototypes: bool = False
    minimum_patients: Count = 10
    answer_patients: Count = 5
    megabytes: Positive = 1000.0
    secure_aggregation: Literal["allowed", "required"] = "allowed"
    secure_threshold: Annotated[int, Field(ge=LEAST_IN_SUM)] = LEAST_IN_SUM
    max_epsilon: NotNegative = 0.0
    max_delta: Between = 1e-5

    @property
    def max_bytes(self) -> int:
        """The largest message, in bytes."""
        return int(self.megabytes * 1e6)
