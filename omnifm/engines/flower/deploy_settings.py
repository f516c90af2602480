"""``[deploy]`` of an experiment file: the hospitals, and how long the server waits for them."""

from __future__ import annotations

from omnifm.config.checking import checked
from omnifm.config.toml import Document
from omnifm.utils.settings import Count, CountOrZero, Distinct, NotNegative, Positive, settings


@settings
class DeploySettings:
    """Settings of a run over the network.

    ``hospitals`` names all that can ever take part, in order; others are refused. Without names, those connected at the
    beginning take part. The run begins when ``wait_for`` of them are connected (0: all that are named; or else all that
    are connected, at least 2).
    A round waits ``deadline`` seconds for an answer; for a hospital that is gone, ``grace`` seconds from when it left;
    and indefinitely for ``min_answers`` answers (of fewer hospitals: all). ``labels`` are classes of hospitals that
    join later. ``megabytes`` is the largest size of an answer. ``poll`` is the interval in seconds at which the server
    looks for answers.
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
