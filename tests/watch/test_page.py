"""The page in a real browser: it follows a run, works without a mouse, and fits a phone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, browser, needs_browser
from live_run import CLIENTS, add_round, write_live_run
from run_folder import write_run
from test_page_server import served

from omnifm.watch import live_folder

pytestmark = [needs_browser, pytest.mark.process]

DRAWN = "document.querySelectorAll('#charts svg path.line').length >= 4"
"""Whether all hospitals and their mean are drawn."""


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser") / "profile") as found:
        yield found


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_folder, "is_held", lambda folder: True)


def text(tab: Browser, selector: str) -> str:
    return str(tab.value(f"document.querySelector('{selector}').innerText"))


def test_it_follows_a_run(tab: Browser, tmp_path: Path, held: None) -> None:
    out = write_live_run(tmp_path / "run")
    with served(out) as server:
        tab.asked.clear()
        tab.open(server.url)
        tab.wait(DRAWN)
        assert text(tab, "#name") == "trial <1>", "names are text and never markup"
        assert text(tab, "#where") == "round 12 of 24 in 3 arms"
        assert text(tab, "#state") == "Running"
        assert text(tab, "#left").startswith("nearly done · last heard of"), "its last round was long ago"
        assert text(tab, "#learning-title") == "Learning: omnifm", "the arm at work is shown by itself"
        assert "<CT> is slow" in text(tab, "#speed-sentence")
        assert "does not count" in text(tab, "#log-lines")
        assert tab.value("document.querySelectorAll('#circles-chart rect').length") == 2
        add_round(out, 5)
        tab.wait("document.getElementById('where').innerText.startsWith('round 13')")
        tab.wait("document.querySelector('#charts tbody th').textContent === '5'")
        assert "0.750" in tab.value("document.querySelector('#charts tbody').textContent")
        assert tab.logged == []
        assert [url for url in tab.asked if not url.startswith(server.url)] == [], "nothing from outside"


def test_it_works_without_a_mouse(tab: Browser, tmp_path: Path, held: None) -> None:
    with served(write_live_run(tmp_path / "run")) as server:
        tab.open(server.url)
        tab.wait(DRAWN)
        tab.value("document.activeElement.blur()")
        order = []
        for _ in range(40):
            tab.press("Tab", 9)
            order.append(tab.value("(e => e.id || e.innerText || e.tagName)(document.activeElement)"))
            if order[-1] == "T1":
                break
        assert order[0] == "Skip to the curves"
        wanted = ["fedavg", "omnifm", "metric", "round", *CLIENTS[:1]]
        assert [name for name in order if name in wanted] == wanted
        tab.press("Enter", 13)
        assert tab.value("document.querySelector('#legend button').getAttribute('aria-pressed')") == "true"
        assert tab.value("document.querySelectorAll('#charts .strong').length") >= 1
        tab.value("document.getElementById('round').focus()")
        tab.press("ArrowLeft", 37)
        assert text(tab, "#round-now") == "3"
        assert text(tab, "#hospitals-hint") == "After round 3."
        time.sleep(2.5)  # the page asks again: what was chosen and where the focus is stay
        assert text(tab, "#round-now") == "3"
        assert tab.value("document.activeElement.id") == "round"


def test_everything_has_a_name(tab: Browser, tmp_path: Path, held: None) -> None:
    with served(write_live_run(tmp_path / "run")) as server:
        tab.open(server.url)
        tab.wait(DRAWN)
        names = tab.names()
        for role in ("button", "slider", "combobox", "checkbox", "image", "progressbar", "region", "table"):
            found = [name for kind, name in names if kind == role]
            assert found, role
            if role != "table":
                assert all(found), (role, found)
        assert any(
            name.startswith("Validation accuracy before local training by round; after round 4") for _, name in names
        )
        assert tab.value("[...document.querySelectorAll('h1, h2')].every(e => e.innerText || !e.checkVisibility())")


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone_in_the_dark_and_by_day(tab: Browser, tmp_path: Path, dark: bool) -> None:
    with served(write_run(tmp_path / "run", {"fedavg": "fedavg"}, clients=("T1", "x" * 60))) as server:
        tab.open(server.url, width=390, height=844, dark=dark)
        tab.wait("document.querySelectorAll('#charts svg path.line').length >= 3")
        assert tab.value("document.documentElement.scrollWidth") == 390
        background = tab.value("getComputedStyle(document.body).backgroundColor")
        assert background == ("rgb(20, 23, 27)" if dark else "rgb(255, 255, 255)")
        tab.wait("document.querySelectorAll('#examples img').length === 2")
        tab.wait("[...document.querySelectorAll('#examples img')].every(e => e.complete && e.naturalWidth === 6)")
        tab.picture(tmp_path / "phone.png")
        assert (tmp_path / "phone.png").stat().st_size > 20_000


def test_it_says_when_the_server_has_gone(tab: Browser, tmp_path: Path, held: None) -> None:
    with served(write_live_run(tmp_path / "run")) as server:
        tab.open(server.url)
        tab.wait(DRAWN)
    tab.wait("document.getElementById('trouble').innerText.includes('has ended, or cannot be reached')")
    tab.logged.clear()
