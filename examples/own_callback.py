"""Your own callback in one file: it notes each round in a table, and stops an arm whose loss is low enough.

    python examples/own_callback.py run experiment.toml

where experiment.toml has

    [[callbacks]]
    kind = "loss-table"
    below = 0.1

docs/experiment.md lists all events.
"""

import csv
from dataclasses import dataclass

from omnifm import Callback, Stop, register_callback
from omnifm.callbacks.events import RoundEvent
from omnifm.cli import main


@register_callback("loss-table")
@dataclass
class LossTable(Callback):
    """Writes ``losses.csv`` into the run's folder, a line a hospital and round."""

    below: float = 0.0

    def on_round_end(self, event: RoundEvent) -> Stop | None:
        """Write the round's lines; ask to stop when every hospital's loss is low."""
        losses = {name: one["loss"] for name, one in event.clients.items()}
        with (event.arm.run.folder / "losses.csv").open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([event.arm.name, event.round, name, loss] for name, loss in losses.items())
        if losses and max(losses.values()) < self.below:
            return Stop(f"every loss is below {self.below}")
        return None


if __name__ == "__main__":
    main()
