"""Lies about OmniFM's bank and circles: what malicious hospitals send, within what a server checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from statistics import fmean

import torch
import torch.nn.functional as F
from forged_uploads import Forge, Poisoned, a_little_more, forged, gaussian, scaling, sign_flip
from torch import Tensor

from omnifm.algorithms.bank_broadcast import bank_from_state
from omnifm.algorithms.bank_upload import BankUpload, add_bank_upload, take_bank_upload
from omnifm.algorithms.circle_exchange import expected_change
from omnifm.callbacks.callback import Callback
from omnifm.callbacks.events import CheckpointEvent, RoundEvent
from omnifm.core.records import Broadcast, Upload
from omnifm.spectral.bank import BankSettings, KnowledgeBank

ATTACKED = "FLAIR"
MALICIOUS = {"outsiders": ("CT-1", "CT-2"), "members": ("FLAIR-3", "FLAIR-2")}
"""The malicious hospitals: the first, or both."""

Prototyping = Callable[[KnowledgeBank, Tensor, int, int, torch.Generator], Tensor]
"""Makes prototypes of a bank, the rows of it that the lie is about, the most that are permitted, and the round."""


def directions(bank: KnowledgeBank, rows: Tensor, most: int, number: int, chance: torch.Generator) -> Tensor:
    """Return corners of a simplex, others in every round: none is near another, so that none replaces another."""
    width = bank.tokens.shape[1]
    corners = torch.eye(width + 1) - 1 / (width + 1)
    corners = F.normalize(corners @ torch.linalg.qr(corners[:, :width]).Q, dim=1)
    return corners[(number * most + torch.arange(most)) % (width + 1)]


def copies(bank: KnowledgeBank, rows: Tensor, most: int, number: int, chance: torch.Generator) -> Tensor:
    """Return entries of others as they are."""
    return bank.tokens[rows[torch.randperm(len(rows), generator=chance)[:most]]]


def middles(bank: KnowledgeBank, rows: Tensor, most: int, number: int, chance: torch.Generator) -> Tensor:
    """Return the mean of each modality's entries: few prototypes, each of which nearly every image retrieves."""
    of = bank.groups.codes[rows]
    return F.normalize(torch.stack([bank.tokens[rows[of == group]].mean(dim=0) for group in of.unique()]), dim=1)


def none(bank: KnowledgeBank, rows: Tensor, most: int, number: int, chance: torch.Generator) -> Tensor:
    return bank.tokens[:0]


def noise(honest: Sequence[Tensor], own: Tensor, chance: torch.Generator) -> Tensor:
    return 0.3 * gaussian(honest, own, chance)


@dataclass(frozen=True)
class BankAttack:
    """What malicious hospitals do.

    Attributes:
        who: of :data:`MALICIOUS`.
        about: how the names of those begin whom the prototypes and claims are about.
        prototypes: what they offer; their own if it is not given.
        claims: they say that they retrieve the entries of those as often as their own, and no others.
        weights: what they send as the change of their circle's weights.
        accepted: the share that they say they accept.
        last: they send wrong weights in so many last rounds; 0: in all.
    """

    who: str = "outsiders"
    about: str = ""
    prototypes: Prototyping | None = None
    claims: bool = False
    weights: Forge | None = None
    accepted: float | None = None
    last: int = 0


_CAPTURE = BankAttack(about=ATTACKED, prototypes=copies, claims=True)
BANK: dict[str, BankAttack] = {
    "none": BankAttack(),
    "flood: directions of no image": BankAttack(prototypes=directions),
    "flood: copies of all": BankAttack(prototypes=copies),
    "claims alone": BankAttack(about=ATTACKED, claims=True),
    "claims without prototypes": BankAttack(about=ATTACKED, prototypes=none, claims=True),
    "middles of all": BankAttack(prototypes=middles, claims=True),
    "copies of one": BankAttack(about=f"{ATTACKED}-1", prototypes=copies, claims=True),
    "capture": _CAPTURE,
    "capture, -5 x": replace(_CAPTURE, weights=sign_flip),
    "capture, a little": replace(_CAPTURE, weights=a_little_more),
    "none by members": BankAttack("members"),
    "accepts nothing": BankAttack("members", accepted=0.0),
}
CIRCLE: dict[str, BankAttack] = {
    "none": BankAttack("members"),
    "-5 x": BankAttack("members", weights=sign_flip),
    "-30 x": BankAttack("members", weights=scaling),
    "a little": BankAttack("members", weights=a_little_more),
    "noise, last two rounds": BankAttack("members", weights=noise, last=2),  # changes are small by then
}
STUDIES = {"bank": BANK, "circle": CIRCLE}


@dataclass
class Seen(Callback):
    """The bank that clients of the next round retrieve from, and after each round what became of honest hospitals."""

    honest: Sequence[str]
    malicious: frozenset[str]
    bank: KnowledgeBank = field(default_factory=KnowledgeBank.empty)
    circle_of: dict[str, int] = field(default_factory=dict)
    retrieved: list[tuple[int, int]] = field(default_factory=list)
    joined: list[float] = field(default_factory=list)
    right: list[float] = field(default_factory=list)

    def on_round_end(self, event: RoundEvent) -> None:
        """Count retrievals and look at the circles."""
        told = event.report["retrieved"]
        attacked = [name for name in self.honest if name.startswith(ATTACKED)]
        counts = [(owner, count) for name in attacked for owner, count in told.get(name, {}).items()]
        self.retrieved.append(
            (sum(count for owner, count in counts if owner in self.malicious), sum(count for _, count in counts))
        )
        self.circle_of = {name: int(number) for number, names in event.report["circles"].items() for name in names}
        theirs = {number for name, number in self.circle_of.items() if name in self.malicious}
        self.joined.append(fmean(self.circle_of.get(name) in theirs for name in attacked))
        pairs = list(combinations(self.honest, 2))
        right = sum(self.together(*pair) == (group_of(pair[0]) == group_of(pair[1])) for pair in pairs)
        self.right.append(right / len(pairs) if pairs else 1.0)

    def together(self, one: str, other: str) -> bool:
        """Return whether two hospitals are in one circle."""
        return one in self.circle_of and self.circle_of[one] == self.circle_of.get(other)

    def on_checkpoint(self, event: CheckpointEvent) -> None:
        """Keep the bank."""
        server = event.checkpoint.server
        self.bank = bank_from_state(server.memory, server.notes)

    @property
    def bank_share(self) -> float:
        """The malicious hospitals' share of the bank."""
        owners = self.bank.clients.tolist()
        return fmean(name in self.malicious for name in owners) if owners else 0.0


def group_of(name: str) -> str:
    return name.partition("-")[0]


class BankAttacked(Poisoned):
    """An engine in which some hospitals lie about the bank and their circle."""

    attack = BankAttack()
    settings = BankSettings()
    rounds = 0
    seen: Seen

    def lie(
        self, upload: Upload, honest: Sequence[Upload], received: Broadcast, chance: torch.Generator
    ) -> Upload | None:
        """Forge what the attack says; what a server would refuse is no answer."""
        attack, circle = self.attack, expected_change(received)
        upload, own = take_bank_upload(upload)
        told = self._told(own, upload.samples, received.round, chance)
        members = [one.change for one in honest if self.seen.together(one.client, upload.client)]
        if attack.weights and members and received.round > (attack.last and self.rounds - attack.last):
            change = {name: upload.change[name] for name in circle}
            members = members if len(members) > 1 else [*members, change]  # of one alone there is no spread
            upload = replace(upload, change={**upload.change, **forged(attack.weights, change, members, chance)})
        if attack.accepted is not None:
            upload = replace(upload, notes={**upload.notes, "accepted": attack.accepted, "compared": received.round})
        upload = add_bank_upload(upload, told)
        try:
            self.runtime.algorithm.check(upload, received)
        except ValueError:
            return None
        return upload

    def _told(self, own: BankUpload, samples: int, number: int, chance: torch.Generator) -> BankUpload:
        """Return what a hospital says of its prototypes and retrievals."""
        attack, bank, told = self.attack, self.seen.bank, own
        owners = bank.clients.tolist()
        about = [row for row, name in enumerate(owners) if name.startswith(attack.about) and name not in self.malicious]
        if not about:
            return own
        if attack.prototypes:
            most = min(self.settings.prototypes, samples // self.settings.min_cluster)
            tokens = attack.prototypes(bank, torch.tensor(about), most, number, chance)
            sizes = torch.full((len(tokens),), self.settings.min_cluster)
            told = told._replace(prototypes=replace(own.prototypes, tokens=tokens, sizes=sizes))
        if attack.claims:
            rows = torch.tensor([*about, *bank.clients.rows_of(own.prototypes.client).tolist()])
            told = told._replace(rows=rows, counts=torch.full((len(rows),), samples))
        return told
