"""Are the certificates and keys in a folder what they should be?"""

from __future__ import annotations

import datetime
import ipaddress
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from omnifm.deploy.check_result import CheckResult, bad, good, warning
from omnifm.engines.flower.certificates import LOOPBACK, read_identity
from omnifm.engines.flower.secure_aggregation.credentials import read_credentials
from omnifm.utils.errors import DeploymentError

SOON = datetime.timedelta(days=30)
_RENEW = "Run `omnifm deploy renew FOLDER` where the authority's key is, and bring the new folder here."
_AGAIN = "Copy this machine's folder again from the one that `omnifm deploy init` made."


def check_certificate(folder: Path, who: str, names: Sequence[str] = ()) -> Iterator[CheckResult]:
    """Look at ``ca.crt``, ``WHO.crt`` and ``WHO.key``: dates, authority, names, and that the two belong together."""
    try:
        authority = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    except (OSError, ValueError) as error:
        yield bad("authority", f"{folder / 'ca.crt'} cannot be read: {error}.", _AGAIN)
        return
    yield from _dates("authority", authority, "Make a new deployment: `omnifm deploy init`.")
    yield from _key_mode(folder / f"{who}.key")
    try:
        key, pem = (folder / f"{who}.key").read_bytes(), (folder / f"{who}.crt").read_bytes()
        identity = read_identity(key, pem)
    except PermissionError as error:
        yield bad("certificate", f"You may not read {error.filename}.", _as_owner(Path(error.filename)))
        return
    except (OSError, ValueError) as error:
        yield bad("certificate", f"{folder / who}.crt and .key cannot be read: {error}.", _AGAIN)
        return
    certificate = identity.certificate
    yield from _dates("certificate", certificate, _RENEW)
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        text = f"{who}.crt is not signed by the authority in ca.crt: the two are of different deployments."
        yield bad("certificate", text, _AGAIN)
    if certificate.public_key() != identity.key.public_key():
        yield bad("certificate", f"{who}.key is not the key of {who}.crt.", _AGAIN)
    if names:
        yield from _names(certificate, names)


def check_authority(folder: Path) -> Iterator[CheckResult]:
    """Look at a hospital's ``ca.crt``."""
    try:
        authority = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    except (OSError, ValueError) as error:
        yield bad("authority", f"{folder / 'ca.crt'} cannot be read: {error}.", _AGAIN)
    else:
        yield from _dates("authority", authority, "The operator must make a new deployment: `omnifm deploy init`.")


def check_client_key(path: Path) -> Iterator[CheckResult]:
    """Look at the key by which a hospital is known."""
    yield from _key_mode(path)
    try:
        key = load_ssh_private_key(path.read_bytes(), None)
    except PermissionError:
        yield bad("key", f"You may not read {path}.", _as_owner(path))
    except (OSError, ValueError, TypeError) as error:
        yield bad("key", f"{path} cannot be read: {error}.", _AGAIN)
    else:
        if isinstance(key, ec.EllipticCurvePrivateKey):
            yield good("key", f"{path.name} is a key on the curve {key.curve.name}.")
        else:
            again = "Make one with `ssh-keygen -t ecdsa -b 384` and send the operator the public half."
            yield bad("key", f"{path} is no elliptic-curve key, and Flower takes no other.", again)


def check_member(folder: Path, name: str) -> Iterator[CheckResult]:
    """Look at the certificate by which other hospitals know this one; without it there is no secure aggregation."""
    try:
        credentials = read_credentials(folder, name)
    except DeploymentError as error:
        remedy = "Without it the hospital takes no part in runs with privacy.secure_aggregation = true."
        yield warning("certificate", str(error), remedy)
    else:
        yield good("certificate", f"Good until {credentials.certificate.not_valid_after_utc:%Y-%m-%d}.")


def _dates(subject: str, certificate: x509.Certificate, remedy: str) -> Iterator[CheckResult]:
    now = datetime.datetime.now(datetime.UTC)
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begin:
        text = f"It is good only from {begin:%Y-%m-%d %H:%M} UTC on, and here it is {now:%Y-%m-%d %H:%M}."
        yield bad(subject, text, "Set this machine's clock.")
    elif now > end:
        yield bad(subject, f"It expired on {end:%Y-%m-%d}.", remedy)
    elif now > end - SOON:
        yield warning(subject, f"It expires on {end:%Y-%m-%d}, in {(end - now).days} days.", remedy)
    else:
        yield good(subject, f"Good until {end:%Y-%m-%d}.")


def _names(certificate: x509.Certificate, names: Sequence[str]) -> Iterator[CheckResult]:
    try:
        known = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        known = x509.SubjectAlternativeName([])
    addresses = {str(address) for address in known.get_values_for_type(x509.IPAddress)}
    hosts = {host.lower() for host in known.get_values_for_type(x509.DNSName)}
    missing = [name for name in (*names, *LOOPBACK) if name.lower() not in hosts and _plain(name) not in addresses]
    if missing:
        text = f"It does not hold the name {', '.join(missing)} (but {', '.join(sorted(hosts | addresses)) or 'none'})."
        remedy = "Run `omnifm deploy renew FOLDER --server NAME` with all names, and bring the new folder here."
        yield bad("names", text, remedy)
    else:
        yield good("names", f"The certificate holds {', '.join(names)} and this machine itself.")


def _plain(name: str) -> str:
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return ""


def _key_mode(path: Path) -> Iterator[CheckResult]:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return  # reading it will report that it is missing
    if mode & 0o077:
        text = f"{path} can be read by others than its owner (mode {mode:o})."
        yield bad("key", text, f"Run `chmod 600 {path}`; if strangers have been on this machine, make a new key.")


def _as_owner(path: Path) -> str:
    try:
        return f"Run the check as its owner: `sudo -u {path.owner()} omnifm deploy check ...`."
    except (OSError, KeyError):
        return "Run the check as the user whom the service runs as."
