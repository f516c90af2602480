"""By what hospitals know one another: certificates of the deployment's authority, whose key the server has not."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_ssh_private_key

from omnifm.engines.flower.certificates import (
    MEMBER,
    Identity,
    make_client_key,
    member_certificate,
    member_name,
)
from omnifm.utils.atomic_write import write_privately
from omnifm.utils.errors import DeploymentError

KEY_FILE, CERTIFICATE_FILE, AUTHORITY_FILE = "hospital.key", "hospital.crt", "ca.crt"


@dataclass(frozen=True)
class Credentials:
    """A hospital's key with its certificate, and the authority whose word it takes for those of others."""

    name: str
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    authority: x509.Certificate

    @property
    def certificate_der(self) -> bytes:
        """The certificate as it is sent."""
        return self.certificate.public_bytes(Encoding.DER)


def read_credentials(folder: Path, name: str) -> Credentials:
    """Read a hospital's key, its certificate and the authority's.

    Raises:
        DeploymentError: a file is missing or none of this hospital; says what to do.
    """
    remedy = "`omnifm deploy renew` makes certificates for the hospitals of a deployment: bring the hospital's here"
    try:
        key = load_ssh_private_key((folder / KEY_FILE).read_bytes(), None)
        certificate = x509.load_pem_x509_certificate((folder / CERTIFICATE_FILE).read_bytes())
        authority = x509.load_pem_x509_certificate((folder / AUTHORITY_FILE).read_bytes())
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise ValueError(f"{CERTIFICATE_FILE} is not of {KEY_FILE}")
        verified_key(certificate.public_bytes(Encoding.DER), name, authority)
    except (OSError, ValueError, TypeError) as error:
        raise DeploymentError(f"Secure aggregation needs the hospital's certificate: {error}; {remedy}.") from None
    return Credentials(name, key, certificate, authority)


def write_credentials(folder: Path, name: str, authority: Identity) -> bytes:
    """Make a hospital's key and certificate in a folder of its own; return the public half of the key."""
    private, public = make_client_key()
    folder.mkdir(parents=True, exist_ok=True)
    write_privately(folder / KEY_FILE, private)
    (folder / CERTIFICATE_FILE).write_bytes(member_certificate(authority, name, public))
    (folder / AUTHORITY_FILE).write_bytes(authority.certificate_pem)
    return public


def verified_key(der: bytes, name: str, authority: x509.Certificate | None) -> ec.EllipticCurvePublicKey:
    """Return the public key in the certificate of the hospital of this name.

    Without an ``authority`` it is not looked at who has signed it.

    Raises:
        ValueError: it is no certificate of this hospital by this authority, or out of date; says why.
    """
    certificate = x509.load_der_x509_certificate(der)
    key, now = certificate.public_key(), datetime.datetime.now(datetime.UTC)
    if certificate.subject != member_name(name) or not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError(f"the certificate is not that of the hospital {name!r}")
    if authority is None:
        return key
    try:
        certificate.verify_directly_issued_by(authority)
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (InvalidSignature, TypeError, ValueError, x509.ExtensionNotFound):
        raise ValueError(f"the certificate of {name!r} is not by the deployment's authority") from None
    if list(purposes) != [MEMBER]:
        raise ValueError(f"the certificate of {name!r} is for another purpose")
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise ValueError(f"the certificate of {name!r} is out of date, or the clock here is wrong")
    return key
