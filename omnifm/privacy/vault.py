"""What a client keeps for the privacy of its patients: its secret, and the account of what has left."""

from __future__ import annotations

from dataclasses import dataclass, field

from omnifm.privacy.account import PrivacyAccount
from omnifm.privacy.secret import ClientSecret


@dataclass(frozen=True)
class ClientVault:
    """The secret and the account of one client; by default new ones, which last as long as the object.

    ``arm`` names the arm of the run in the account; ``context`` is a digest of whatever else decides what is computed
    there, such as the experiment, where a server could change it from request to request.
    """

    secret: ClientSecret = field(default_factory=ClientSecret)
    account: PrivacyAccount = field(default_factory=PrivacyAccount)
    arm: str = ""
    context: str = ""
