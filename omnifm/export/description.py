"""What an exported model is, as plain values: for the files beside it, and in the metadata of its own file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from omnifm.config.experiment import to_document
from omnifm.data.preparation import preparation_of
from omnifm.export.client_model import ClientModel
from omnifm.export.loaded_arm import LoadedArm
from omnifm.results.frame import read_results
from omnifm.runs.run import versions

NOT_CLINICAL = "For research only. Not a medical device; not for diagnosis, treatment or any other clinical use."


@dataclass(frozen=True)
class Exported:
    """A model that is exported: whose it is, and how many of its tensors are missing."""

    loaded: LoadedArm
    client: str | None
    model: ClientModel
    lacking: int = 0

    @cached_property
    def description(self) -> dict[str, Any]:
        """What a program needs to use the model, and where it comes from."""
        loaded, task, spec = self.loaded, self.model.task, self.model.spec
        signature, experiment = task.signature, loaded.experiment
        return {
            "format": "omnifm model 1",
            "use": NOT_CLINICAL,
            "name": experiment.name,
            "task": experiment.task,
            "algorithm": experiment.algorithm,
            "arm": loaded.name,
            "client": self.client or "",
            "round": self.round,
            "gives": signature.gives,
            "inputs": signature.inputs,
            "outputs": signature.outputs,
            **signature.facts,
            "possible_labels": list(self.model.allowed),
            "exclusive": self.model.exclusive,
            "image": {
                "channels": spec.channels,
                "size": list(task.image_size(spec.shape.size)),
                "prepared": preparation_of(experiment.data, spec.axes, spec.channels, self.group).described(),
            },
            "code": signature.code,
            "versions": {key: value for key, value in versions().items() if key not in ("started", "platform")},
        }

    @property
    def group(self) -> str:
        """The modality of the client, or of all."""
        stats = self.model.spec.client_stats
        groups = [one.group for one in stats if self.client in (None, one.name)]
        return "+".join(dict.fromkeys(part for group in groups for part in group.split("+")))

    @cached_property
    def round(self) -> int:
        """The round that validation chose."""
        return self.loaded.best_round

    @property
    def parameters(self) -> int:
        """How many numbers the network and its adapter have learned."""
        return sum(value.numel() for value in self.loaded.arm.runtime.weights.trainable.values())

    @property
    def document(self) -> dict[str, Any]:
        """The arm's experiment as plain tables."""
        return to_document(self.loaded.experiment)

    @cached_property
    def _results(self) -> pd.DataFrame:
        return read_results(self.loaded.run)

    @cached_property
    def scores(self) -> pd.DataFrame:
        """A row for each split and metric of the chosen round as received, with its spread over the clients."""
        found = self._results
        point = self.loaded.experiment.federation.evaluate[0]
        chosen = found[(found["arm"] == self.loaded.name) & (found["point"] == point) & (found["round"] == self.round)]
        groups = chosen.groupby(["split", "metric"], sort=False)["value"]
        table = groups.agg(["mean", "std", "min", "max", "count"]).reset_index()
        return table.sort_values(["split", "metric"], ascending=[False, True], kind="stable")  # validation, then test

    @property
    def own_scores(self) -> Mapping[str, float]:
        """The client's own test scores, if it is one client's model."""
        found = self._results
        own = found[
            (found["arm"] == self.loaded.name)
            & (found["point"] == self.loaded.experiment.federation.evaluate[0])
            & (found["split"] == "test")
            & (found["client"] == (self.client or ""))
        ]
        return dict(zip(own["metric"], own["value"], strict=True))
