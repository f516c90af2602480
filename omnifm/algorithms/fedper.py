"""FedPer: Arivazhagan et al., Federated Learning with Personalization Layers, arXiv 1912.00818, 2019."""

from __future__ import annotations

from dataclasses import dataclass

from omnifm.algorithms.algorithm import Algorithm


@dataclass(frozen=True)
class FedPer(Algorithm):
    """FedAvg on the body; the head is trained with it and never sent.

    The body travels both ways.

    Attributes:
        personal: the parts of the network that stay at the client.
    """

    personal: tuple[str, ...] = ("head",)
