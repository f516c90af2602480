"""An algorithm of your own in one file, which is the `omnifm` command with one algorithm more.

    python examples/own_algorithm.py compare examples/compare-small.toml --algorithms fedavg,fair

`[fair]` in an experiment file holds its parameters. The seams: `recipe` changes local training, `server_step` what
the server does with the mean change, `personal` what stays at the client, and `weight`, used here, a client's say.
"""

from dataclasses import dataclass

from omnifm import register
from omnifm.algorithms.algorithm import Algorithm
from omnifm.cli import main
from omnifm.core.records import Upload


@register("fair")
@dataclass(frozen=True)
class Fair(Algorithm):
    """Hospitals whose loss is high have more say: the weight of a client is ``n_i loss_i^q``, after q-FFL (Li 2020)."""

    q: float = 1.0

    def weight(self, upload: Upload) -> float:
        """Return a client's weight in the mean; q = 0 is FedAvg."""
        return upload.samples * upload.loss**self.q


if __name__ == "__main__":
    main()
