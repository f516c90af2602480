"""What is known of a client's data outside the client."""

from __future__ import annotations

from dataclasses import dataclass

from omnifm.data.subset import ClientData


@dataclass(frozen=True)
class ClientStats:
    """The public properties of a hospital's data: its modality (or modalities) and its numbers of examples."""

    name: str
    group: str
    train: int
    validation: int
    test: int

    @classmethod
    def of(cls, client: ClientData) -> ClientStats:
        """Return the properties of these data."""
        return cls(client.name, client.group, len(client.train), len(client.validation), len(client.test))
