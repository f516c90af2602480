"""The certificates of a deployment: an authority of its own, the server's, the operators' and the hospitals'.

The authority is private to the federation. Nobody else's word makes a certificate good, and it vouches for nothing
else. The server's certificate may serve only as a server's, an operator's only as a client's, and a hospital's only to
sign what it says to other hospitals, so that none can be used in place of another.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ORGANISATION = "OmniFM"
MEMBER = x509.ObjectIdentifier("2.25.230376521506617082621145386204465961389")
"""The only purpose of a hospital's certificate, which opens no connection: a UUID of our own (ITU-T X.667)."""
LOOPBACK = ("localhost", "127.0.0.1")
"""Further names in the server's certificate, by which the server app reaches the SuperLink."""
AUTHORITY_DAYS, DAYS = 3650, 730
_EARLIER = datetime.timedelta(days=1)  # good at once on a machine whose clock is behind


@dataclass(frozen=True)
class Identity:
    """A private key and the certificate of its public half."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def key_pem(self) -> bytes:
        """The private key, not encrypted."""
        kind = serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())

    @property
    def certificate_pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def read_identity(key: bytes, certificate: bytes) -> Identity:
    """Read what ``key_pem`` and ``certificate_pem`` gave.

    Raises:
        ValueError: one of them is no such thing.
    """
    private = serialization.load_pem_private_key(key, password=None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise ValueError("it holds no elliptic-curve key")
    return Identity(private, x509.load_pem_x509_certificate(certificate))


def make_authority(name: str) -> Identity:
    """Make a certificate that signs others, and itself."""
    key = ec.generate_private_key(ec.SECP384R1())
    subject = _name(name)
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=AUTHORITY_DAYS)
    builder = _begin(subject, subject, key.public_key(), end)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    return Identity(key, builder.sign(key, hashes.SHA384()))


def server_identity(authority: Identity, names: Sequence[str], days: int = DAYS) -> Identity:
    """Make the server's certificate, good for these host names and addresses and for this machine itself."""
    known = [_alternative(name) for name in dict.fromkeys((*names, *LOOPBACK))]
    return _issue(authority, names[0], ExtendedKeyUsageOID.SERVER_AUTH, days, x509.SubjectAlternativeName(known))


def operator_identity(authority: Identity, name: str, days: int = DAYS) -> Identity:
    """Make a certificate by which an operator is let in."""
    return _issue(authority, name, ExtendedKeyUsageOID.CLIENT_AUTH, days)


def member_certificate(authority: Identity, name: str, public: bytes) -> bytes:
    """Make a hospital's certificate, by which others know it in secure aggregation, for its key in OpenSSH's format.

    It is good as long as the authority's: nobody has to visit the hospital again.

    Raises:
        ValueError: the key is not on an elliptic curve.
    """
    key = serialization.load_ssh_public_key(public)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError("it holds no elliptic-curve key")
    end = authority.certificate.not_valid_after_utc
    certificate = _certify(authority, member_name(name), key, MEMBER, end)
    return certificate.public_bytes(serialization.Encoding.PEM)


def certifies(certificate: bytes, public: bytes) -> bool:
    """Return whether a certificate is of a key in OpenSSH's format.

    Raises:
        ValueError: one of them is no such thing.
    """
    return x509.load_pem_x509_certificate(certificate).public_key() == serialization.load_ssh_public_key(public)


def member_name(name: str) -> x509.Name:
    """Return the subject of a hospital's certificate, which no operator's has."""
    unit = x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "hospital")
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION), unit, _common(name)])


def distinguished(name: str) -> str:
    """Return how nginx writes the subject of a certificate (RFC 2253)."""
    return f"CN={name},O={ORGANISATION}"


def make_client_key() -> tuple[bytes, bytes]:
    """Return a hospital's private and public key as Flower reads them: on the curve P-384, as OpenSSH writes them."""
    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private, public + b"\n"


def _issue(
    authority: Identity, name: str, purpose: x509.ObjectIdentifier, days: int, *extensions: x509.ExtensionType
) -> Identity:
    key = ec.generate_private_key(ec.SECP384R1())
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    return Identity(key, _certify(authority, _name(name), key.public_key(), purpose, end, *extensions))


def _certify(
    authority: Identity,
    subject: x509.Name,
    key: ec.EllipticCurvePublicKey,
    purpose: x509.ObjectIdentifier,
    end: datetime.datetime,
    *extensions: x509.ExtensionType,
) -> x509.Certificate:
    builder = _begin(subject, authority.certificate.subject, key, end)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = builder.add_extension(issuer, critical=False)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(authority.key, hashes.SHA384())


def _begin(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, end: datetime.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime.now(datetime.UTC) - _EARLIER)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common: str) -> x509.Name:
    organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION)
    return x509.Name([organisation, _common(common)])


def _common(name: str) -> x509.NameAttribute[str]:
    return x509.NameAttribute(NameOID.COMMON_NAME, name[:64])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
