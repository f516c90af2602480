"""The server gives what is on its list to a browser that may see it, and nothing else to anybody."""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from live_run import write_live_run
from run_folder import png, write_run

from omnifm.utils.errors import ExperimentError
from omnifm.watch.live_folder import LiveFolder
from omnifm.watch.page_server import PageServer, is_loopback, open_server

Answer = tuple[http.client.HTTPResponse, bytes]


@contextmanager
def served(folder: Path, token: bool = False) -> Iterator[PageServer]:
    with open_server(LiveFolder(folder), "127.0.0.1", 0, token) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    with served(write_live_run(tmp_path_factory.mktemp("live") / "run")) as found:
        yield found


def ask(server: PageServer, path: str, method: str = "GET", **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    found = answer, answer.read()
    connection.close()
    return found


def test_the_page_and_its_parts(server: PageServer) -> None:
    answer, body = ask(server, "/")
    assert (answer.status, answer.getheader("Content-Type")) == (200, "text/html; charset=utf-8")
    parts = re.findall(rb'(?:href|src)="([^"#]+)"', body)
    parts += [
        part for script in (b"watch.js",) for part in re.findall(rb'from "\./([^"]+)"', ask(server, "/watch.js")[1])
    ]
    assert {b"watch.css", b"style.css", b"chart.js", b"parts.js"} <= set(parts)
    for part in parts:
        assert ask(server, f"/{part.decode()}")[0].status == 200, part


def test_every_answer_forbids_what_is_not_needed(server: PageServer) -> None:
    for path in ("/", "/watch.js", "/state.json", "/none"):
        answer, body = ask(server, path)
        policy = answer.getheader("Content-Security-Policy") or ""
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.getheader("X-Content-Type-Options") == "nosniff"
        assert answer.getheader("Access-Control-Allow-Origin") is None
        assert b"http://" not in body.replace(b"http://www.w3.org/2000/svg", b""), "nothing from outside"
        assert b"https://" not in body


def test_the_state_is_sent_again_only_when_it_has_changed(server: PageServer) -> None:
    answer, body = ask(server, "/state.json")
    assert json.loads(body)["name"] == "trial <1>"
    tag = answer.getheader("ETag") or ""
    again, nothing = ask(server, "/state.json", **{"If-None-Match": tag})
    assert (again.status, nothing) == (304, b"")
    answer, body = ask(server, "/arm.json?number=1&metric=loss")
    assert json.loads(body)["metric"] == "loss"


@pytest.mark.parametrize(
    "path",
    [
        "/none", "/../experiment.toml", "/experiment.toml", "/omnifm/metrics.jsonl", "/picture/omnifm/metrics.jsonl",
        "/picture/..%2f..%2fexperiment.toml", "/picture/", "//etc/passwd", "/arm.json", "/arm.json?number=9",
        "/arm.json?number=-1", "/arm.json?number=1e3", "/arm.json?number=999999999999", "/arm.json?number=%D9%A1",
        "/watch.js/", "/page/watch.js", "/%00",
    ],
)  # fmt: skip
def test_nothing_else_is_there(server: PageServer, path: str) -> None:
    answer, body = ask(server, path)
    assert (answer.status, body) == (404, b"There is nothing at this address.")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT"])
def test_it_only_reads(server: PageServer, method: str) -> None:
    assert ask(server, "/state.json", method)[0].status == 501


def test_head_sends_no_content(server: PageServer) -> None:
    answer, body = ask(server, "/", "HEAD")
    assert (answer.status, body) == (200, b"")
    assert int(answer.getheader("Content-Length") or 0) > 1000


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200), ("localhost:8787", 200), ("[::1]:80", 200), ("[::1]", 200), ("127.0.0.1:1", 200),
        ("evil.example", 421), ("evil.example:8787", 421), ("127.0.0.1.evil.example", 421), ("", 421),
        ("10.0.0.1", 421),
    ],
)  # fmt: skip
def test_a_name_of_others_that_leads_here_is_refused(server: PageServer, host: str, status: int) -> None:
    answer, body = ask(server, "/state.json", Host=host)
    assert answer.status == status
    assert (status == 200) == (b"trial" in body)


def test_a_picture(tmp_path: Path) -> None:
    with served(write_run(tmp_path / "run", {"fedavg": "fedavg"})) as server:
        view = json.loads(ask(server, "/arm.json?number=0")[1])
        digest = view["examples"][0]["examples"][0]["given"][0]["digest"]
        answer, body = ask(server, f"/picture/{digest}")
        assert (answer.status, answer.getheader("Content-Type"), body) == (200, "image/png", png(0))


def test_a_token_is_asked_for_where_others_can_reach_it(tmp_path: Path) -> None:
    with served(write_live_run(tmp_path / "run"), token=True) as server:
        assert server.token is not None
        for path in ("/", "/state.json", "/watch.js", "/?token=wrong", f"/state.json?token={server.token}"):
            answer, body = ask(server, path)
            assert (answer.status, b"trial" in body) == (403, False), path
        entered, _ = ask(server, f"/?token={server.token}")
        cookie = entered.getheader("Set-Cookie") or ""
        assert (entered.status, entered.getheader("Location")) == (303, "/")
        assert cookie.endswith("; HttpOnly; SameSite=Strict; Path=/")
        assert ask(server, "/state.json", Cookie=cookie.partition(";")[0])[0].status == 200
        assert ask(server, "/state.json", Cookie=f"omnifm-{server.port}=wrong")[0].status == 403
        assert ask(server, "/state.json", Cookie="=;=\x01;")[0].status == 403


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    out = write_live_run(tmp_path / "run")
    with served(out) as server:
        (out / "omnifm/metrics.jsonl").write_text("rubbish\n")
        answer, body = ask(server, "/state.json")
        assert answer.status == 503
        assert "cannot be read" in json.loads(body)["error"]


@pytest.mark.parametrize(
    "line", ['{"event": "evaluation", "round": 9}', "[]", '{"event": "round", "round": null}', "3"]
)
def test_a_log_of_other_things_is_said_too(tmp_path: Path, line: str) -> None:
    out = write_live_run(tmp_path / "run")
    with served(out) as server:
        with (out / "omnifm/metrics.jsonl").open("a") as file:
            file.write(line + "\n")
        for path in ("/state.json", "/arm.json?number=1"):
            answer, body = ask(server, path)
            assert answer.status in (200, 503), path
            assert (answer.status == 200) or "error" in json.loads(body)
        assert answer.status == 503


def test_an_address_that_is_taken(tmp_path: Path) -> None:
    source = LiveFolder(write_live_run(tmp_path / "run"))
    with served(tmp_path / "run") as server:
        with pytest.raises(ExperimentError, match=rf"cannot be served at 127.0.0.1:{server.port}: .*another --host or"):
            open_server(source, "127.0.0.1", server.port, False)
        with pytest.raises(ExperimentError, match="cannot be served at nowhere"):
            open_server(source, "nowhere", 0, False)


def test_other_addresses_get_a_token(tmp_path: Path) -> None:
    source = LiveFolder(write_live_run(tmp_path / "run"))
    with open_server(source, "0.0.0.0", 0, False) as server:
        assert server.token is not None
        assert server.url.endswith(f":{server.port}/?token={server.token}")
    with open_server(source, "::1", 0, False) as server:
        assert server.url == f"http://[::1]:{server.port}/"
    assert [is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost", "0.0.0.0", "a.b")] == [
        *[True] * 4,
        False,
        False,
    ]
