"""``[deploy]`` of an experiment file: the hospitals, and how long the server waits for them."""

from __future__ import annotations

from omnifm.config.checking import checked
from omnifm.config.toml import Document
from omnifm.utils.settings import Count, CountOrZero, Distinct, NotNegative, Positive, settings


@settings
class DeploySettings:
    """A run over the network: ``[deploy]`` of an experiment.

    Attributes:
        hospitals: all that may ever take part, in order; others are refused. Empty: those connected at the beginning.
        wait_for: the run begins when so many of them are connected; 0: all that are named, or else all that are
            connected, at least 2.
        min_answers: a round waits indefinitely for so many answers (of fewer hospitals: for all).
        deadline: seconds that a round waits for an answer.
        grace: seconds that it waits for a hospital that is gone, from when it left.
        labels: classes of hospitals that join later.
        megabytes: the largest size of an answer.
        poll: seconds between two looks for answers.
    """

    hospitals: Distinct[str] = ()
    wait_for: CountOrZero = 0
    min_answers: Count = 2
    deadline: Positive = 3600.0
    grace: NotNegative = 300.0
    labels: tuple[str, ...] = ()
    megabytes: Positive = 1000.0
    poll: Positive = 1.0

    def __post_init__(self) -> None:
        if self.hospitals and self.wait_for > len(self.hospitals):
            raise ValueError(f"wait_for = {self.wait_for}, but hospitals names {len(self.hospitals)}")

    @property
    def first(self) -> int:
        """How many hospitals must be connected for a run to begin."""
        return self.wait_for or len(self.hospitals) or 2

    @property
    def max_bytes(self) -> int:
        """The largest answer, in bytes."""
        return int(self.megabytes * 1e6)


def deploy_settings(document: Document) -> DeploySettings:
    """Read ``[deploy]`` of an experiment's document.

    Raises:
        ExperimentError: a key or value is not valid; names the key.
    """
    settings: DeploySettings = checked(DeploySettings, document.get("deploy", {}), ("deploy",))
    return settings
