from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from page import Page
from PIL import Image
from run_folder import change_result, write_run

from omnifm.results import pictures as module
from omnifm.results.findings import read_findings
from omnifm.results.pictures import Example, read_examples
from omnifm.results.report import best_first, report_html

ARMS = {"local": "local", "fedavg": "fedavg", "omnifm": "omnifm"}
CLIENTS = ("T1", "CT")
Make = Callable[[int, int], dict[str, Any]]


def shade(value: int, size: int = 6) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (size, size), value).save(buffer, "PNG")
    return buffer.getvalue()


def written(out: Path, make: Make, count: int = 2) -> Path:
    """Write a run whose arms make of each example what ``make(arm, example)`` says, pictures as bytes."""
    write_run(out, ARMS, CLIENTS)
    for number, arm in enumerate(ARMS):
        folder = out / arm

        def save(name: str, title: str, data: bytes, *, folder: Path = folder) -> dict[str, str]:
            (folder / "pictures" / name).write_bytes(data)
            return {"title": title, "file": f"pictures/{name}"}

        panels: dict[str, list[dict[str, Any]]] = {client: [] for client in CLIENTS}
        for client in CLIENTS:
            for example in range(count):
                made = make(number, example)
                given = [save(f"{client}-{example}-{at}.png", *p) for at, p in enumerate(made.get("given", ()))]
                found = save(f"{client}-{example}-found.png", *made["found"]) if "found" in made else None
                panels[client].append({"caption": "", "right": None, "question": "", **made, "given": given})
                panels[client][-1]["found"] = found
        change_result(folder, panels=panels)
    return out


def shown(out: Path) -> dict[str, list[Example]]:
    return read_examples(best_first(read_findings(out)))[0]


def html(out: Path) -> str:
    text = report_html(read_findings(out))
    Page(text)
    return text[text.index('<section id="pictures">') : text.index('<section id="bank">')]


def test_words_stand_beside_one_image(tmp_path: Path) -> None:
    def make(arm: int, example: int) -> dict[str, Any]:
        words = "healthy" if arm else "glioma, is healthy"
        return {"given": [("", shade(example))], "caption": words, "right": bool(arm)}

    out = written(tmp_path / "r", make)
    first, second = shown(out)["T1"]
    assert (first.form, first.made) == ("card", [])
    assert first.said == {("healthy", True): ["omnifm", "fedavg"], ("glioma, is healthy", False): ["local"]}
    assert first.given[0].source != second.given[0].source
    text = html(out)
    assert text.count('<span class="plus">✓</span> healthy <i>omnifm, fedavg</i>') == 4
    assert text.count('<span class="minus">✗</span> glioma, is healthy <i>local</i>') == 4
    assert "✓ right, ✗ wrong." in text


def test_a_question_stands_above_its_answers(tmp_path: Path) -> None:
    def make(arm: int, example: int) -> dict[str, Any]:
        asked = ("Which side?", "How many?")[example]
        return {"given": [("", shade(7))], "question": asked, "caption": ("left", "two")[example], "right": True}

    out = written(tmp_path / "r", make)
    found = shown(out)["CT"]
    assert [(e.form, e.question, list(e.said)) for e in found] == [
        ("asked", "Which side?", [("left", True)]),
        ("asked", "How many?", [("two", True)]),
    ]
    text = html(out)
    assert text.index("Which side?") < text.index("left <i>") < text.index("How many?")


def test_every_arm_shows_the_picture_that_it_made(tmp_path: Path) -> None:
    def make(arm: int, example: int) -> dict[str, Any]:
        given = [("low", shade(example, 4)), ("true", shade(example + 50, 200))]
        return {"given": given, "found": ("made", shade(100 + 10 * arm + example, 200)), "caption": f"{28 + arm} dB"}

    out = written(tmp_path / "r", make)
    example = shown(out)["T1"][0]
    assert example.form == "strip"
    assert [(p.title, p.size, p.crisp) for p in example.given] == [("low", (4, 4), True), ("true", (200, 200), False)]
    assert [(m.arm, m.caption, m.right) for m in example.made] == [
        ("omnifm", "30 dB", None),
        ("local", "28 dB", None),
        ("fedavg", "29 dB", None),
    ]
    assert len({m.picture.source for m in example.made}) == 3
    text = html(out)
    assert text.count("<img") == 2 * 2 * 5
    assert text.count('class="crisp"') == 2 * 2
    assert 'alt="made by omnifm, T1"' in text
    assert "✓" not in text  # nothing here is right or wrong


def test_what_was_made_may_be_right_or_wrong(tmp_path: Path) -> None:
    def make(arm: int, example: int) -> dict[str, Any]:
        return {"given": [("", shade(1))], "found": ("map", shade(arm)), "caption": "lesion", "right": arm == 2}

    text = html(written(tmp_path / "r", make, 1))
    assert len(re.findall(r"<b>omnifm</b>.*✓</span> lesion", text)) == 2
    assert len(re.findall(r"<b>(?:local|fedavg)</b>.*✗</span> lesion", text)) == 4


def test_rows_beyond_the_third_are_folded(tmp_path: Path) -> None:
    def make(arm: int, example: int) -> dict[str, Any]:
        return {"given": [("a", shade(example)), ("b", shade(example + 9))], "found": ("", shade(arm))}

    out = written(tmp_path / "r", make, 5)
    assert html(out).count("2 more examples") == 2
    assert html(written(tmp_path / "s", make, 4)).count("1 more example<") == 2


def test_a_lost_picture_leaves_its_words(tmp_path: Path) -> None:
    def make(arm: int, example: int) -> dict[str, Any]:
        return {"given": [("", shade(1))], "found": ("", shade(arm)), "caption": "seen", "right": True}

    out = written(tmp_path / "r", make, 1)
    (out / "fedavg/pictures/T1-0-found.png").unlink()
    (out / "local/pictures/T1-0-found.png").write_bytes(b"no picture")
    (out / "omnifm/pictures/CT-0-0.png").unlink()
    found = shown(out)
    assert [made.arm for made in found["T1"][0].made] == ["omnifm"]
    assert found["T1"][0].said == {("seen", True): ["local", "fedavg"]}
    assert [made.arm for made in found["CT"][0].made] == ["local", "fedavg"]


def test_without_room_every_hospital_keeps_its_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(arm: int, example: int) -> dict[str, Any]:
        return {"given": [("", shade(example))], "found": ("", shade(9 + arm))}

    out = written(tmp_path / "r", make, 4)
    monkeypatch.setattr(module, "PICTURE_BYTES", 3 * 4 * max(len(shade(value)) for value in range(12)))
    assert {client: len(examples) for client, examples in shown(out).items()} == {"T1": 2, "CT": 1}
    assert "5 left out to keep this file small" in html(out)


def test_hostile_words_are_escaped(tmp_path: Path) -> None:
    bad = '"><script>alert(1)</script>'

    def make(arm: int, example: int) -> dict[str, Any]:
        return {"given": [(bad, shade(1)), ("", shade(2))], "found": (bad, shade(arm)), "caption": bad, "question": bad}

    assert "<script" not in html(written(tmp_path / "r", make))
