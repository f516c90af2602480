from __future__ import annotations

import socket
import time
from typing import Any

import pytest

from omnifm.utils import hub
from omnifm.utils.hub import hub_fault


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_OFFLINE", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(hub, "getproxies", dict)


def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []

    def connect(address: tuple[str, int], timeout: float) -> None:
        found.append(address)
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", connect)
    return found


def test_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found = asked(monkeypatch)
    assert hub_fault() == "huggingface.co cannot be reached: Network is unreachable"
    assert found == [("huggingface.co", 443)]


@pytest.mark.parametrize(
    ("proxies", "endpoint", "address"),
    [
        ({}, "https://mirror.example:8443/hf", ("mirror.example", 8443)),
        ({}, "http://mirror.example", ("mirror.example", 80)),
        ({"https": "http://proxy.example:3128"}, "", ("proxy.example", 3128)),
        ({"all": "proxy.example:1080"}, "", ("proxy.example", 1080)),
    ],
)
def test_a_mirror_or_a_proxy_is_asked_instead(
    monkeypatch: pytest.MonkeyPatch, proxies: dict[str, str], endpoint: str, address: tuple[str, int]
) -> None:
    found = asked(monkeypatch)
    monkeypatch.setattr(hub, "getproxies", lambda: proxies)
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    assert address[0] in hub_fault()
    assert found == [address]


def test_a_server_that_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        assert hub_fault() == ""


def test_a_look_up_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: Any, **__: Any) -> None:
        time.sleep(3)
        raise OSError

    monkeypatch.setattr(socket, "create_connection", hang)
    monkeypatch.setattr(hub, "HUB_SECONDS", 0.05)
    begun = time.monotonic()
    assert hub_fault() == "huggingface.co did not answer within 0.05 s"
    assert time.monotonic() - begun < 2


def test_whoever_is_offline_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    found = asked(monkeypatch)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert hub_fault() == "HF_HUB_OFFLINE is set"
    assert not found
