"""The hospital's side of a secure sum. It trusts the authority's certificates, and the server in nothing.

Each stage is answered for one request only, and the same request again with the same answer, also by another process:
what a stage depends on is in a file that only the owner may read.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import TypeAdapter

from omnifm.engines.flower.secure_aggregation.credentials import Credentials, verified_key
from omnifm.engines.flower.secure_aggregation.exchange import (
    SUM_STAGES,
    Advertisement,
    MaskedVector,
    SumReply,
    SumRequest,
    binary,
    check_form,
    transcript,
)
from omnifm.engines.flower.secure_aggregation.mask_keys import pair_mask_key, seed_mask_key
from omnifm.engines.flower.secure_aggregation.primitives import (
    SECRET_BYTES,
    add_mask,
    agreed_key,
    commitment,
    decrypt,
    encrypt,
    is_signed,
    public_half,
    sign,
    split_secret,
)
from omnifm.federation.secure_sum import least_in_sum
from omnifm.utils.atomic_write import write_privately
from omnifm.utils.lock import exclusively

Answer = tuple[SumReply, MaskedVector | None]


class SumRefusedError(Exception):
    """A stage is not answered; says why."""


@dataclass(frozen=True)
class HeldUpload(MaskedVector):
    """The vector of a round that was trained, before it is masked.

    ``context`` is a digest of all that the members of a sum must have in common: run, arm, round, experiment and what
    they received. ``threshold`` is over how many hospitals a sum must be at least.
    """

    round: int
    context: str
    threshold: int


@dataclass
class OwnSum:
    """What a hospital knows of one sum: its secrets, in hexadecimal digits, and what it has been told.

    ``answered`` holds the digest of the request of each stage. ``shares`` are what the others have shared with it: each
    a share of a masking key and one of a seed.
    """

    number: str
    round: int
    context: str
    encryption: str
    masking: str
    seed: str
    advertisement: Advertisement
    answered: dict[str, str] = field(default_factory=dict)
    keys: tuple[Advertisement, ...] = ()
    sent: dict[str, str] = field(default_factory=dict)
    shares: dict[str, tuple[str, str]] = field(default_factory=dict)
    survivors: tuple[str, ...] = ()


_OwnSum, _Rounds = TypeAdapter(OwnSum), TypeAdapter(list[int])
Kept = TypeVar("Kept")


class SumMember:
    """A hospital in the sums of one arm of a run.

    Args:
        folder: for what it keeps of them.
        credentials: its own, read when they are needed.
    """

    def __init__(self, folder: Path, credentials: Callable[[], Credentials]) -> None:
        self._folder, self._credentials = folder, credentials

    def hold(self, held: HeldUpload) -> None:
        """Keep the vector of a round, to be summed; that of an earlier round goes."""
        with self._locked():
            write_privately(self._folder / "held", bytes(held.to_bytes()))

    def answer(self, request: SumRequest) -> Answer:
        """Answer one stage.

        Raises:
            SumRefusedError: it is none that may be answered; says why.
        """
        with self._locked():
            try:
                check_form(request)
                held = self._held(request.round)
                return self._answered(request, held)
            except ValueError as error:
                raise SumRefusedError(f"The request of a secure sum is refused: {error}.") from None

    def _answered(self, request: SumRequest, held: HeldUpload) -> Answer:
        own = self._begun(request, held)
        stage = request.stage
        before = SUM_STAGES[: SUM_STAGES.index(stage)]
        if any(one not in own.answered for one in before):
            raise ValueError(f"the stage {stage!r} comes after the others")
        if own.answered.setdefault(stage, request.digest) != request.digest:
            raise ValueError(f"the stage {stage!r} was answered before, for another request")
        answers = {
            "keys": lambda: SumReply(own.advertisement),
            "shares": lambda: self._share(own, request, held),
            "vector": lambda: self._take_shares(own, request, held),
            "confirm": lambda: self._confirm(own, request, held),
            "unmask": lambda: self._unmask(own, request, held),
        }
        reply = answers[stage]()
        masked = self._masked(own, held) if stage == "vector" else None
        write_privately(self._folder / "sum.json", _OwnSum.dump_json(own))
        return reply, masked

    def _begun(self, request: SumRequest, held: HeldUpload) -> OwnSum:
        """Return what is known of a sum; begin one that is new, unless a vector of the round has left for another."""
        own = self._own()
        if own is not None and (own.number, own.round, own.context) == (request.number, held.round, held.context):
            return own
        if request.stage != "keys":
            raise ValueError("it is not the sum that was begun last")
        if held.round in self._sent():
            raise ValueError(f"a masked vector of round {held.round} has left before, for another sum")
        credentials = self._credentials()
        encryption, masking, seed = (os.urandom(SECRET_BYTES) for _ in range(3))
        shown = Advertisement(
            credentials.name,
            credentials.certificate_der.hex(),
            public_half(encryption).hex(),
            public_half(masking).hex(),
            commitment(seed).hex(),
            "",
        )
        signature = sign(credentials.key, *shown.signed(held.context, request.number)).hex()
        advertisement = Advertisement(**{**asdict(shown), "signature": signature})
        secrets = encryption.hex(), masking.hex(), seed.hex()
        return OwnSum(request.number, held.round, held.context, *secrets, advertisement)

    def _share(self, own: OwnSum, request: SumRequest, held: HeldUpload) -> SumReply:
        """Check the keys of all; share the masking key and the seed among them, each share encrypted."""
        if own.sent:
            return SumReply(shares=own.sent)
        self._verified(own, request.keys)
        names = sorted(key.client for key in request.keys)
        least = least_in_sum(held.threshold, len(names))
        if len(names) < least:
            raise ValueError(f"{len(names)} hospitals are fewer than the {least} over which a sum must be")
        me, keys, sent = own.advertisement.client, {key.client: key for key in request.keys}, dict[str, str]()
        masking, seed = (split_secret(binary(secret), least, len(names)) for secret in (own.masking, own.seed))
        for place, name in enumerate(names):
            if name == me:
                own.shares[name] = masking[place].hex(), seed[place].hex()
            else:
                key = self._sealing(own, keys[name], me, name)
                sent[name] = encrypt(key, masking[place] + seed[place]).hex()
        own.keys, own.sent = request.keys, sent
        return SumReply(shares=sent)

    def _verified(self, own: OwnSum, keys: tuple[Advertisement, ...]) -> dict[str, ec.EllipticCurvePublicKey]:
        """Return the signing keys of hospitals whose advertisements are all by themselves and of this sum."""
        found, authority = dict[str, ec.EllipticCurvePublicKey](), self._credentials().authority
        for key in keys:
            signer = verified_key(binary(key.certificate), key.client, authority)
            if not is_signed(signer, binary(key.signature), *key.signed(own.context, own.number)):
                raise ValueError(
                    f"the keys of {key.client!r} are not signed for this sum: it was sent other weights or another "
                    "experiment, or somebody has changed them"
                )
            found[key.client] = signer
        if len(found) < len(keys) or own.advertisement not in keys:
            raise ValueError("a hospital is named twice, or this one is not named")
        return found

    def _take_shares(self, own: OwnSum, request: SumRequest, held: HeldUpload) -> SumReply:
        """Decrypt what the others have shared with this hospital; they are those whose masks go onto the vector."""
        me, keys = own.advertisement.client, {key.client: key for key in own.keys}
        senders = {*request.shares, me}
        least = least_in_sum(held.threshold, len(keys))
        if me in request.shares or not senders <= keys.keys():
            raise ValueError("it holds shares of hospitals that have shown no keys")
        if len(senders) < least:
            raise ValueError(f"{len(senders)} hospitals are fewer than the {least} over which this sum must be")
        for name, sealed in request.shares.items():
            text = decrypt(self._sealing(own, keys[name], name, me), binary(sealed))
            if len(text) != 2 * SECRET_BYTES:
                raise ValueError(f"{name!r} has sent no shares")
            own.shares[name] = text[:SECRET_BYTES].hex(), text[SECRET_BYTES:].hex()
        return SumReply()

    def _masked(self, own: OwnSum, held: HeldUpload) -> MaskedVector:
        """Return the vector under the mask of the hospital's own seed, and those agreed on with each of the others."""
        me, vector = own.advertisement.client, held.vector.copy()
        purpose = (own.context, own.number)
        add_mask(vector, seed_mask_key(binary(own.seed), me, *purpose), +1)
        for key in own.keys:
            if key.client in own.shares and key.client != me:
                pair = pair_mask_key(binary(own.masking), key, me, *purpose)
                add_mask(vector, pair, +1 if me < key.client else -1)
        write_privately(self._folder / "sent.json", _Rounds.dump_json(sorted({*self._sent(), held.round})))
        return MaskedVector.of(vector)

    def _confirm(self, own: OwnSum, request: SumRequest, held: HeldUpload) -> SumReply:
        """Sign who has answered, so that the server can tell no two hospitals different things."""
        names = {*request.survivors}
        least = least_in_sum(held.threshold, len(own.keys))
        if len(names) < len(request.survivors) or not names <= own.shares.keys():
            raise ValueError("it names a hospital twice, or one that has shared nothing")
        if len(names) < least or own.advertisement.client not in names:
            raise ValueError(f"this hospital is not in the sum, or {len(names)} hospitals are fewer than {least}")
        own.survivors = tuple(sorted(names))
        return SumReply(signature=sign(self._credentials().key, *self._confirmed(own)).hex())

    def _confirmed(self, own: OwnSum) -> tuple[str, ...]:
        return "confirm", own.context, own.number, transcript(own.keys, own.shares, own.survivors)

    def _unmask(self, own: OwnSum, request: SumRequest, held: HeldUpload) -> SumReply:
        """Give shares of the seeds of those in the sum, and of the masking keys of the others: never both of one."""
        signers, confirmed = self._verified(own, own.keys), self._confirmed(own)
        least = least_in_sum(held.threshold, len(own.keys))
        for name, signature in request.signatures.items():
            if name not in own.survivors or not is_signed(signers[name], binary(signature), *confirmed):
                raise ValueError(f"{name!r} has not confirmed the same list of hospitals")
        if len(request.signatures) < least:
            raise ValueError(f"{len(request.signatures)} hospitals have confirmed the list, and it takes {least}")
        seeds = {name: share for name, (_, share) in own.shares.items() if name in own.survivors}
        masking = {name: share for name, (share, _) in own.shares.items() if name not in own.survivors}
        return SumReply(seeds=seeds, masking=masking)

    def _sealing(self, own: OwnSum, other: Advertisement, sender: str, receiver: str) -> bytes:
        private, public = binary(own.encryption), binary(other.encryption, SECRET_BYTES)
        return agreed_key(private, public, "shares", own.context, own.number, sender, receiver)

    def _held(self, number: int) -> HeldUpload:
        try:
            held = HeldUpload.from_bytes((self._folder / "held").read_bytes())
        except FileNotFoundError:
            raise ValueError("nothing was trained for it") from None
        if held.round != number:
            raise ValueError(f"round {held.round} was trained last, and not {number}")
        return held

    def _own(self) -> OwnSum | None:
        return self._read("sum.json", _OwnSum)

    def _sent(self) -> list[int]:
        """Return the rounds of which a masked vector has left: there is never a second one."""
        return self._read("sent.json", _Rounds) or []

    def _read(self, name: str, kind: TypeAdapter[Kept]) -> Kept | None:
        path = self._folder / name
        try:
            return kind.validate_json(path.read_bytes()) if path.exists() else None
        except ValueError:  # which quotes what it has read, such as a secret
            raise ValueError("what this hospital has kept of the sum is damaged") from None

    def _locked(self) -> Any:
        return exclusively(self._folder / "lock")
