"""Your own algorithm in one file; running the file is the `omnifm` command with one more algorithm.

    python examples/own_algorithm.py compare examples/compare-small.toml --algorithms fedavg,fair

`[fair]` in an experiment file holds its parameters. It overrides `weight`, a client's weight in the mean;
docs/algorithms.md lists everything else that an algorithm may override.
"""

from dataclasses import dataclass

from omnifm import Algorithm, Upload, register_algorithm
from omnifm.cli import main


@register_algorithm("fair")
@dataclass(frozen=True)
class Fair(Algorithm):
    """Clients with a high loss count more: the weight is ``n_i loss_i^q``, after q-FFL (Li et al., ICLR 2020)."""

    q: float = 1.0

    def weight(self, upload: Upload) -> float:
        """Return a client's weight in the mean; q = 0 is FedAvg."""
        return upload.samples * upload.loss**self.q


if __name__ == "__main__":
    main()
