"""Whether the Hugging Face Hub can be reached, told at once: its own library tries for half a minute."""

from __future__ import annotations

import os
import socket
import threading
from urllib.parse import urlsplit
from urllib.request import getproxies

HUB_SECONDS = 5.0
"""For how many seconds a connection is tried, its look-up included, which by itself knows no limit."""


def hub_fault() -> str:
    """Return why the hub cannot be reached, within :data:`HUB_SECONDS` seconds; an empty string if it can.

    Where a proxy is set, as by ``HTTPS_PROXY``, it is the proxy that must be reached.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return "HF_HUB_OFFLINE is set"
    proxies = getproxies()
    address = proxies.get("https") or proxies.get("all") or os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    return _fault(address if "//" in address else f"//{address}")


def _fault(address: str) -> str:
    parts = urlsplit(address)
    host, port = parts.hostname or "", parts.port or {"http": 80}.get(parts.scheme, 443)
    found: list[str] = []

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=HUB_SECONDS).close()
            found.append("")
        except OSError as error:
            found.append(f"{host} cannot be reached: {error.strerror or error}")

    thread = threading.Thread(target=connect, daemon=True)  # a look-up of a name cannot be interrupted
    thread.start()
    thread.join(HUB_SECONDS)
    return found[0] if found else f"{host} did not answer within {HUB_SECONDS:g} s"
