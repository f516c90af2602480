"""To call a server step by step, so that what fails can be named: name, port, TLS, answer."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from omnifm.deploy.deployment_plan import host_and_port

PATIENCE = 10.0


class Unreached(Exception):  # noqa: N818 - one of the findings
    """The call failed at this step; says why and what to do."""

    def __init__(self, step: str, text: str, remedy: str) -> None:
        super().__init__(text)
        self.step, self.text, self.remedy = step, text, remedy


@dataclass(frozen=True)
class ServerResponse:
    """The server's answer. ``ahead``: how many seconds this machine's clock is ahead of the server's, if known."""

    status: int
    text: str
    ahead: float | None


def call(
    host: str, port: int, context: ssl.SSLContext, path: str, method: str = "POST", name: str = ""
) -> ServerResponse:
    """Send an empty request over TLS; ``name`` is the server's, if not the host called.

    Raises:
        Unreached: at some step.
    """
    plain = connect(host, port)
    where = host_and_port(host, port)
    with plain, _handshake(plain, name or host, context, where) as secure:
        head = f"{method} {path} HTTP/1.1\r\nHost: {name or host}\r\nConnection: close\r\nContent-Length: 0\r\n"
        sent_at = time.time()
        try:
            secure.sendall(f"{head}Content-Type: application/protobuf\r\n\r\n".encode())
            response = http.client.HTTPResponse(secure, method=method)
            response.begin()
            text = response.read(1 << 16).decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise Unreached("answer", f"{where} breaks off: {error}.", "Look at the log of nginx there.") from None
        now = (sent_at + time.time()) / 2
        date = response.getheader("Date")
        # The date has whole seconds, cut off: half a second is added.
        ahead = now - (parsedate_to_datetime(date).timestamp() + 0.5) if date else None
        return ServerResponse(response.status, text, ahead)


def connect(host: str, port: int) -> socket.socket:
    """Open a connection.

    Raises:
        Unreached: it cannot be opened.
    """
    where = host_and_port(host, port)
    try:
        return socket.create_connection((host, port), timeout=PATIENCE)
    except socket.gaierror:
        remedy = "Is it spelt right in deploy.toml? If so, have it entered in the DNS or in /etc/hosts."
        raise Unreached("name", f"The name {host} is not known on this machine.", remedy) from None
    except ConnectionRefusedError:
        remedy = "Start it there (`systemctl status nginx omnifm-server`), or correct the port."
        raise Unreached("port", f"At {where} nobody listens.", remedy) from None
    except TimeoutError:
        remedy = f"Let the firewalls on the way pass TCP to port {port}."
        raise Unreached("port", f"{where} does not answer within {PATIENCE:.0f} seconds.", remedy) from None
    except OSError as error:
        remedy = "Look at this machine's network."
        raise Unreached("port", f"{where} cannot be reached: {error.strerror or error}.", remedy) from None


def _handshake(plain: socket.socket, name: str, context: ssl.SSLContext, where: str) -> ssl.SSLSocket:
    try:
        return context.wrap_socket(plain, server_hostname=name)
    except ssl.SSLCertVerificationError as error:
        text, remedy = _UNTRUSTED.get(error.verify_code, (f"is not accepted: {error.verify_message}", _ANEW))
        raise Unreached("TLS", f"The certificate of {where} {text}.", remedy) from None
    except ssl.SSLError as error:
        if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"):
            text = f"What listens at {where} does not speak TLS."
            raise Unreached("TLS", text, "Is it the right port? Include our nginx.conf there.") from None
        text = f"{where} breaks off the TLS handshake: {error.reason or error}."
        raise Unreached("TLS", text, "Look at the log of nginx there.") from None
    except OSError as error:
        text = f"{where} breaks off the TLS handshake: {error}."
        raise Unreached("TLS", text, "Is it the right port? A firewall may also cut TLS off.") from None


_ANEW = "The operator must see to the server's certificate: `omnifm deploy check` there."
_OTHER = (
    "is of another authority than ca.crt here",
    "Is it the right server? If a firewall opens TLS on the way, have it leave this port alone; if the deployment was "
    "made anew, get this machine's folder from it.",
)
_NAME = (
    "does not hold the name by which it was called",
    "Have the operator renew it with that name: `omnifm deploy renew`.",
)
_UNTRUSTED = {
    9: ("is not good yet", "Set this machine's clock."),
    10: ("has expired", "Have the operator renew it: `omnifm deploy renew`. Or is this machine's clock wrong?"),
    18: _OTHER,
    19: _OTHER,
    20: _OTHER,
    21: _OTHER,
    62: _NAME,
    64: _NAME,
}
"""By OpenSSL's number: what is wrong with a certificate, and what to do."""
