"""Clipping: an upper bound on how far one client can move the shared weights in a round."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from omnifm.algorithms.kinds import Kind
from omnifm.core.records import Upload
from omnifm.privacy.secret import ClientSecret
from omnifm.privacy.step import UploadStep
from omnifm.utils.settings import Positive


@dataclass(frozen=True)
class ClipNorm(UploadStep):
    """Scales an upload's change of all parameters down to the L2 norm ``threshold``, if it is longer.

    The first half of DP-FedAvg (McMahan et al., Learning Differentially Private Recurrent Language Models, ICLR 2018),
    and without noise no privacy by itself. Buffers, counters and an algorithm's extra are not parameters and stay.
    """

    threshold: Positive

    def on_client(self, upload: Upload, kinds: Mapping[str, Kind], secret: ClientSecret) -> Upload:
        """Clip."""
        parameters = {n: v for n, v in upload.change.items() if kinds[f"change/{n}"] is Kind.PARAMETER}
        norm = math.sqrt(sum(float(value.double().square().sum()) for value in parameters.values()))
        if norm <= self.threshold:
            return upload
        shorter = {name: value * (self.threshold / norm) for name, value in parameters.items()}
        return replace(upload, change={**upload.change, **shorter})
