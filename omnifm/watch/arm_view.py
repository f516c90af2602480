"""One arm as the page shows it: the curves of its clients, who is slow, circles, examples and its log."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, TypeVar

from omnifm.data.client_stats import ClientStats
from omnifm.results.circle_history import circle_history, circle_table
from omnifm.results.formatting import decimal_places, metric_title
from omnifm.results.pictures import Example, PictureFile, read_examples
from omnifm.results.result_folder import POINTS, CellRecord, finite, mean
from omnifm.runs.arm_folder import ArmFolder
from omnifm.utils.errors import CheckpointError
from omnifm.utils.words import joined
from omnifm.watch.pace import Track
from omnifm.watch.story import story

_Value = TypeVar("_Value")

DRAWN_CLIENTS = 64
"""Of more clients, those with the lowest scores are drawn; the mean is that of all."""

MOST_ROUNDS = 300
"""Of more rounds, so many are drawn, evenly spread."""

MOST_LINES = 300
"""So many of the last lines of the log are shown."""

JUDGED_ROUNDS = 5
"""Over so many of a client's last rounds it is judged how fast it is."""

_NOTABLE = 1.3
"""A client that takes so many times as long as the median one is named."""


@dataclass
class ArmView:
    """What the page shows of an arm, as JSON, and the pictures in it by their digests."""

    values: dict[str, Any]
    pictures: dict[str, bytes] = field(default_factory=dict)


def arm_view(track: Track, main_metric: str | None, metric: str | None = None) -> ArmView:
    """Return the view of an arm; ``metric`` is the one whose curves are asked for, by default the main one."""
    cell = track.cell
    metrics = list(dict.fromkeys([*([main_metric] if main_metric else []), *_metrics(cell)]))
    chosen = metric if metric in metrics else next(iter(metrics), "score")
    scores = {point: by_round for point in POINTS if (by_round := _evaluations(cell, point, chosen))}
    stats = _stats(track)
    known = dict.fromkeys([*stats, *cell.result.get("clients", {})])
    known |= dict.fromkeys(name for line in cell.rounds for name in line.get("clients", {}))
    shown = _shown(list(known), scores)
    rounds = _thinned(cell.rounds)
    view = ArmView(
        {
            "label": track.label,
            "algorithm": track.arm.algorithm,
            "about": track.arm.about,
            "metric": chosen,
            "metrics": [{"name": name, "title": metric_title(name)} for name in metrics],
            "decimals": decimal_places(v for r in scores.values() for one in r.values() for v in one.values()),
            "rounds": [line["round"] for line in rounds],
            "clients": [_client(name, rounds, stats.get(name), cell) for name in shown],
            "left_out": len(known) - len(shown),
            "loss": [mean(finite(one.get("loss")) for one in line.get("clients", {}).values()) for line in rounds],
            "scores": [_curves(point, by_round, shown) for point, by_round in scores.items()],
            "test": _tested(cell, chosen, shown),
            "speed": speed(cell),
            "circles": _circles(track),
            "log": [line._asdict() for line in story(cell, chosen)[-MOST_LINES:]],
        }
    )
    view.values["examples"] = _examples(track, view.pictures)
    return view


def speed(cell: CellRecord) -> dict[str, Any]:
    """Return how long each client takes, the slowest first, and a sentence about it."""
    took: dict[str, list[float]] = {}
    for line in cell.rounds[-20 * JUDGED_ROUNDS :]:
        for name, one in line.get("clients", {}).items():
            if (seconds := finite(one.get("seconds"))) is not None:
                took.setdefault(name, []).append(seconds)
    usual = {name: median(values[-JUDGED_ROUNDS:]) for name, values in took.items()}
    order = sorted(usual, key=lambda name: -usual[name])
    return {
        "sentence": _speed_sentence(usual, order),
        "clients": [{"name": name, "seconds": usual[name]} for name in order[:DRAWN_CLIENTS]],
    }


def _speed_sentence(usual: Mapping[str, float], order: Sequence[str]) -> str:
    if len(order) < 2:
        return ""
    middle = median(usual.values())
    slow = [name for name in order if usual[name] > _NOTABLE * middle]
    if not slow or middle <= 0:
        return "All hospitals take about as long as each other."
    times = usual[slow[0]] / middle
    if len(slow) == 1:
        return f"{slow[0]} is slow: it takes {times:.1f} times as long as the median hospital."
    return f"{joined(slow, 5)} are slow: up to {times:.1f} times as long as the median hospital."


def _metrics(cell: CellRecord) -> list[str]:
    lines = [line for line in cell.log if line.get("event") == "evaluation"][-2:]
    return list(dict.fromkeys(name for line in lines for numbers in line["clients"].values() for name in numbers))


def _evaluations(cell: CellRecord, point: str, metric: str) -> dict[int, dict[str, float | None]]:
    """Return the validation scores at an evaluation point, by round and client."""
    found = {
        line["round"]: {name: finite(numbers.get(metric)) for name, numbers in line["clients"].items()}
        for line in cell.log
        if line.get("event") == "evaluation" and line.get("split") == "validation" and line.get("point") == point
    }
    return {number: found[number] for number in sorted(found)}


def _stats(track: Track) -> dict[str, ClientStats]:
    try:
        spec, _ = ArmFolder(track.cell.folder).read_data()
    except CheckpointError:
        return {}  # the arm has not begun, or is of an earlier version
    return {stats.name: stats for stats in spec.client_stats}


def _shown(clients: list[str], scores: Mapping[str, Mapping[int, Mapping[str, float | None]]]) -> list[str]:
    if len(clients) <= DRAWN_CLIENTS:
        return clients
    last: Mapping[str, float | None] = {}
    for by_round in list(scores.values())[:1]:
        last = by_round[max(by_round)]
    worst = sorted(clients, key=lambda name: (last.get(name) is None, last.get(name) or 0.0))[:DRAWN_CLIENTS]
    return [name for name in clients if name in set(worst)]


def _thinned(values: list[_Value]) -> list[_Value]:
    step = -(-len(values) // MOST_ROUNDS) or 1
    return values[::-step][::-1]  # the last one is among them


def _client(name: str, rounds: list[dict[str, Any]], stats: ClientStats | None, cell: CellRecord) -> dict[str, Any]:
    """Return what is known of a client, and its values round by round."""
    held = cell.result.get("clients", {}).get(name, {})
    lines = [line.get("clients", {}).get(name, {}) for line in rounds]
    series = {key: [finite(line.get(key)) for line in lines] for key in ("loss", "seconds", "accepted")}
    return {
        "name": name,
        "group": stats.group if stats else held.get("group", ""),
        "train": stats.train if stats else held.get("train"),
        **{key: values if any(value is not None for value in values) else None for key, values in series.items()},
    }


def _curves(point: str, by_round: Mapping[int, Mapping[str, float | None]], shown: Sequence[str]) -> dict[str, Any]:
    rounds = _thinned(list(by_round))
    return {
        "point": point,
        "title": POINTS[point],
        "rounds": rounds,
        "mean": [mean(by_round[number].values()) for number in rounds],
        "clients": [[by_round[number].get(name) for number in rounds] for name in shown],
    }


def _tested(cell: CellRecord, metric: str, shown: Sequence[str]) -> list[dict[str, Any]]:
    """Return the test scores at each evaluation point, and their mean."""
    found = []
    for point, clients in cell.result.get("test", {}).items():
        scores = {name: finite(entry.get("numbers", {}).get(metric)) for name, entry in clients.items()}
        title = POINTS.get(point, point)
        found.append({"title": title, "mean": mean(scores.values()), "clients": [scores.get(name) for name in shown]})
    return found


def _circles(track: Track) -> dict[str, Any] | None:
    history = circle_history(replace(track.arm, name=track.label, cells=[track.cell]))
    if history is None:
        return None
    table = circle_table(history)
    rows = [
        [name, group, *cells] for (group, name), cells in zip(table.cells.index, table.cells.to_numpy(), strict=True)
    ]
    numbers = history.numbers.iloc[:, -MOST_ROUNDS:]
    return {
        "sentence": history.sentence,
        "rounds": [int(number) for number in numbers.columns],
        "clients": [
            {"name": name, "circles": [None if value != value else int(value) for value in row]}
            for name, row in zip(numbers.index, numbers.to_numpy(), strict=True)
        ],
        "sizes": [{"round": number, "sizes": sizes} for number, sizes in list(history.sizes.items())[-MOST_ROUNDS:]],
        "head": ["hospital", "circle", *(f"{group} {head}".strip() for group, head in table.cells.columns)],
        "rows": rows,
    }


def _examples(track: Track, pictures: dict[str, bytes]) -> list[dict[str, Any]]:
    examples, _ = read_examples([replace(track.arm, cells=[track.cell])])
    return [
        {"client": client, "examples": [_example(example, pictures) for example in some]}
        for client, some in examples.items()
    ]


def _example(example: Example, pictures: dict[str, bytes]) -> dict[str, Any]:
    def shown(picture: PictureFile) -> dict[str, Any]:
        digest = hashlib.sha256(picture.data).hexdigest()
        pictures[digest] = picture.data
        width, height = picture.size
        return {"title": picture.title, "digest": digest, "width": width, "height": height, "crisp": picture.crisp}

    said = [{"caption": caption, "right": right} for caption, right in example.said]
    return {
        "question": example.question,
        "given": [shown(picture) for picture in example.given],
        "made": [{**shown(made.picture), "caption": made.caption, "right": made.right} for made in example.made],
        "said": said,
    }
