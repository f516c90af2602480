"""The server's side of circles: their state, and a round, after which the evidence forms new circles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from omnifm.algorithms.aggregation.aggregator import Mean
from omnifm.algorithms.bank_upload import BankUpload
from omnifm.algorithms.circle_evidence import ALIKE, RetrievalEvidence, Retrievals
from omnifm.algorithms.circle_trust import Trust
from omnifm.algorithms.circle_weights import CircleWeights, addressed, split_mean
from omnifm.algorithms.circles import ALONE, Circles, CircleSource
from omnifm.core.records import ServerState, Upload
from omnifm.core.tensors import Tensors
from omnifm.data.client_stats import ClientStats
from omnifm.spectral.bank import KnowledgeBank

MOST_LISTED = 64
"""In a federation of more clients, the log lists the sizes of the circles instead of their members."""
_RETRIEVED, _EXPECTED = "circle.retrieved", "circle.expected"


@dataclass(frozen=True)
class CircleState:
    """What the server keeps for circles: members, weights, and the evidence for and against them."""

    circles: Circles
    weights: CircleWeights
    evidence: RetrievalEvidence
    trust: Trust = field(default_factory=Trust)

    @classmethod
    def first(cls, initial: Tensors, clients: Sequence[ClientStats], source: CircleSource) -> CircleState:
        """Return the state before the first round: the declared groups, or every client alone."""
        circles = Circles.of_groups(clients) if source == "group" else Circles()
        return cls(circles, CircleWeights(initial, {}), RetrievalEvidence.none([client.name for client in clients]))

    @classmethod
    def of(cls, state: ServerState) -> CircleState:
        """Read it from a server's state."""
        notes, memory = state.notes["circles"], state.memory
        circles = Circles(notes["of"], notes["next"])
        return cls(
            circles,
            CircleWeights.from_memory(memory, circles.numbers),
            RetrievalEvidence(tuple(notes["clients"]), tuple(notes["owners"]), memory[_RETRIEVED], memory[_EXPECTED]),
            Trust({name: (total, weight) for name, (total, weight) in notes["accepted"].items()}, notes["sharp"]),
        )

    def put_into(self, state: ServerState) -> ServerState:
        """Return the server's state with its circles replaced by these."""
        evidence, circles = self.evidence, self.circles
        notes = {
            "of": dict(circles.of),
            "next": circles.next,
            "clients": list(evidence.clients),
            "owners": list(evidence.owners),
            "accepted": {name: list(value) for name, value in self.trust.accepted.items()},
            "sharp": dict(self.trust.sharp),
        }
        others = {name: value for name, value in state.memory.items() if not name.startswith("circle.")}
        memory = {**others, **self.weights.to_memory(), _RETRIEVED: evidence.retrieved, _EXPECTED: evidence.expected}
        report = {**state.notes.get("report", {}), "circles": self._report()}
        return replace(state, memory=memory, notes={**state.notes, "circles": notes, "report": report})

    def addressed(self, upload: Upload) -> Upload:
        """Return a client's upload with its circle's number in the names of the circle's weights."""
        return addressed(upload, self.circles.circle(upload.client), self.weights.initial.keys())

    def moved(self, mean: Tensors) -> CircleState:
        """Return the state after a round with this mean change, under the names of :meth:`addressed`."""
        return replace(self, weights=self.weights.moved(mean))

    def _report(self) -> dict[str, list[str]] | list[int]:
        members = self.circles.members
        if len(self.evidence.clients) > MOST_LISTED:
            return [len(names) for names in members.values()]
        return {str(number): names for number, names in members.items()}


def circle_message(state: ServerState, client: str) -> Tensors:
    """Return the message that a client receives from its circle; nothing if it is alone."""
    circle = state.notes["circles"]["of"].get(client, ALONE)
    return {} if circle == ALONE else CircleWeights.from_memory(state.memory, [circle]).message(circle)


class CircleRound:
    """Collects what a round's uploads say about circles.

    Args:
        before: the circles at the time of the broadcast.
        bank: the bank that the clients retrieved from.
        number: of the round.
    """

    def __init__(self, before: CircleState, bank: KnowledgeBank, number: int) -> None:
        self._before, self._bank, self._number = before, bank, number
        self._retrievals: list[Retrievals] = []
        self._accepted: dict[str, float] = {}
        self._mean: Tensors = {}

    def take(self, upload: Upload, bank_upload: BankUpload) -> Upload:
        """Record what a client retrieved and accepted; return its upload as :meth:`CircleState.addressed` does."""
        self._retrievals.append(Retrievals(upload.client, bank_upload.rows.clone(), bank_upload.counts.clone()))
        compared = upload.notes.get("compared") == self._number
        if compared and self._before.circles.circle(upload.client) in self._before.weights.of:
            self._accepted[upload.client] = upload.notes["accepted"]
        return self._before.addressed(upload)

    def split(self, mean: Mean) -> Mean:
        """Keep the part of the mean that belongs to circles, and return the rest."""
        mean, self._mean = split_mean(mean)
        return mean

    def result(self, source: CircleSource) -> CircleState:
        """Return the circles after the round."""
        after = self._before.moved(self._mean)
        if source != "bank":
            return after
        evidence = after.evidence.with_round(self._bank, self._retrievals)
        trust = after.trust.with_reports(self._accepted)
        for members in after.circles.members.values():
            trust = trust.judged(members, partial(evidence.mean_affinity, members), ALIKE)
        circles, shares = after.circles.regrouped(evidence.groups(trust.sharp))
        stayed = [name for name, number in circles.of.items() if after.circles.circle(name) == number]
        return CircleState(circles, after.weights.regrouped(shares), evidence, trust.of_those(stayed))
