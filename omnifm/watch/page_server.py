"""The server of the live page: read-only, for a browser on this machine, and with nothing from outside.

No path of a file comes from a request: an address is looked up in a fixed list, an arm by its number and a picture by
its digest. On an address that other machines reach, each request needs the token that was printed at the start.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import socket
from dataclasses import dataclass
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from omnifm.utils.errors import ExperimentError, OmniFMError
from omnifm.watch.live_folder import LiveFolder, as_json

DEFAULT_PORT = 8787

_PAGE = Path(__file__).with_name("page")
_STYLE = Path(__file__).parents[1] / "results/templates/style.css"
_STATIC = {
    "/": (_PAGE / "index.html", "text/html; charset=utf-8"),
    "/style.css": (_STYLE, "text/css; charset=utf-8"),  # that of the report
    "/watch.css": (_PAGE / "watch.css", "text/css; charset=utf-8"),
    "/watch.js": (_PAGE / "watch.js", "text/javascript; charset=utf-8"),
    "/parts.js": (_PAGE / "parts.js", "text/javascript; charset=utf-8"),
    "/chart.js": (_PAGE / "chart.js", "text/javascript; charset=utf-8"),
    "/icon.svg": (_PAGE / "icon.svg", "image/svg+xml"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True)
class _Answer:
    """What a request gets."""

    status: HTTPStatus
    body: bytes
    kind: str = "text/plain; charset=utf-8"
    more: tuple[tuple[str, str], ...] = ()


class PageServer(ThreadingHTTPServer):
    """Serves the page of one folder.

    Args:
        source: what is shown.
        host: the address to listen on.
        port: its port; 0 for a free one.
        token: what a browser must show; None: nothing.

    Raises:
        OSError: the address cannot be listened on.
    """

    daemon_threads = True

    def __init__(self, source: LiveFolder, host: str, port: int, token: str | None = None) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)
        self.source, self.host, self.token = source, host, token

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        """Where a browser finds the page, the token included."""
        host = socket.gethostname() if _is_every_address(self.host) else self.host
        place = f"[{host}]" if ":" in host else host
        return f"http://{place}:{self.port}/" + (f"?token={self.token}" if self.token else "")

    def server_bind(self) -> None:
        """Bind without asking a name server for the host's name, which can take long."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a browser that goes away in the midst of an answer is no error."""


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_every_address(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return not host


def open_server(source: LiveFolder, host: str, port: int | None, with_token: bool) -> PageServer:
    """Return a server at a port, by default :data:`DEFAULT_PORT` or, where that is taken, a free one.

    Raises:
        ExperimentError: the address cannot be listened on.
    """
    token = secrets.token_urlsafe(24) if with_token or not is_loopback(host) else None
    for tried in (DEFAULT_PORT, 0) if port is None else (port,):
        try:
            return PageServer(source, host, tried, token)
        except OSError as error:
            failure = error.strerror or str(error)
    raise ExperimentError(f"The page cannot be served at {host}:{tried}: {failure}. Give another --host or --port.")


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    server_version, sys_version = "omnifm", ""
    timeout = 30

    def do_GET(self) -> None:
        """Answer a request."""
        self._send(self._answer())

    def do_HEAD(self) -> None:
        """Answer without the content."""
        self._send(self._answer(), content=False)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the library
        """Write nothing: the terminal stays as it is."""

    def _answer(self) -> _Answer:
        if not self._host_is_ours():
            return _Answer(HTTPStatus.MISDIRECTED_REQUEST, b"This page is not known by that name.")
        address = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(address.query).items()}
        if self.server.token and address.path == "/" and self._is_token(query.get("token")):
            cookie = f"{self._cookie}={self.server.token}; HttpOnly; SameSite=Strict; Path=/"
            return _Answer(HTTPStatus.SEE_OTHER, b"", more=(("Location", "/"), ("Set-Cookie", cookie)))
        if self.server.token and not self._is_token(self._shown_token()):
            return _Answer(
                HTTPStatus.FORBIDDEN, b"Open the whole address that omnifm watch has printed, with its token."
            )
        if address.path in _STATIC:
            path, kind = _STATIC[address.path]
            return _Answer(HTTPStatus.OK, path.read_bytes(), kind)
        return self._live(address.path, query)

    def _live(self, path: str, query: dict[str, str]) -> _Answer:
        missing = _Answer(HTTPStatus.NOT_FOUND, b"There is nothing at this address.")
        try:
            if path == "/state.json":
                return self._json(self.server.source.overview())
            if (
                path == "/arm.json"
                and len(number := query.get("number", "")) < 6
                and number.isascii()
                and number.isdigit()
            ):
                found = self.server.source.arm(int(number), query.get("metric"))
                return missing if found is None else self._json(found)
        except (OmniFMError, OSError) as error:
            return self._json({"error": str(error)}, HTTPStatus.SERVICE_UNAVAILABLE)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            text = f"A file in {self.server.source.path} holds what it should not: {error!r}."
            return self._json({"error": text}, HTTPStatus.SERVICE_UNAVAILABLE)
        if path.startswith("/picture/") and (data := self.server.source.picture(path.removeprefix("/picture/"))):
            return _Answer(HTTPStatus.OK, data, "image/png")
        return missing

    def _json(self, values: Any, status: HTTPStatus = HTTPStatus.OK) -> _Answer:
        body = as_json(values)
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        if status is HTTPStatus.OK and self.headers.get("If-None-Match") == tag:
            return _Answer(HTTPStatus.NOT_MODIFIED, b"", more=(("ETag", tag),))
        return _Answer(status, body, "application/json", more=(("ETag", tag),))

    def _host_is_ours(self) -> bool:
        """Whether the browser means this machine: else a page from outside could read this one by a name of its own."""
        host = self.headers.get("Host", "")
        if not is_loopback(self.server.host):
            return True  # under whatever name it is reached, the token is needed
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and not host.endswith("]") else host
        return is_loopback(name.strip("[]"))

    @property
    def _cookie(self) -> str:
        return f"omnifm-{self.server.port}"

    def _shown_token(self) -> str | None:
        try:
            morsel = SimpleCookie(self.headers.get("Cookie", "")).get(self._cookie)
        except CookieError:
            return None
        return None if morsel is None else morsel.value

    def _is_token(self, given: str | None) -> bool:
        return given is not None and hmac.compare_digest(given.encode(), (self.server.token or "").encode())

    def _send(self, answer: _Answer, content: bool = True) -> None:
        self.send_response(answer.status)
        for name, value in (*_HEADERS.items(), *answer.more):
            self.send_header(name, value)
        if answer.status is not HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if content:
            self.wfile.write(answer.body)
