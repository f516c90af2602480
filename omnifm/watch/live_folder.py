"""The folder of a run or a comparison, read again whenever its files have changed."""

from __future__ import annotations

import json
import shlex
from collections import OrderedDict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

from omnifm.comparison.comparison_folder import ComparisonFolder
from omnifm.deploy.event_lines import last_events
from omnifm.results.formatting import metric_title
from omnifm.results.result_folder import POINTS, CellRecord, ResultFolder, finite, mean, read_folder
from omnifm.utils.errors import OmniFMError
from omnifm.utils.lock import is_held
from omnifm.watch.arm_view import MOST_LINES, ArmView, arm_view
from omnifm.watch.pace import Track, left_of_comparison, left_of_run, time_of_last_line, tracks

_FILES = ("experiment.toml", "comparison.json", "deploy.jsonl", "*/metrics.jsonl", "*/result.json", "*/experiment.toml")
_CELL_FILES = ("metrics.jsonl", "result.json", "experiment.toml")
_KEPT_VIEWS = 8

_Signature = tuple[Any, ...]


class LiveFolder:
    """What the page asks for, as JSON. Any thread may ask; nothing in the folder is changed.

    Raises:
        ExperimentError: (when made) the folder holds neither a run nor a comparison.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        self._signature: _Signature = ()
        self._views: OrderedDict[tuple[int, str | None], ArmView] = OrderedDict()
        self._refresh()

    def overview(self) -> dict[str, Any]:
        """Return the state of the whole: how far it is, the time left, and a line for each arm."""
        with self._lock:
            self._refresh()
            return self._overview

    def arm(self, place: int, metric: str | None) -> dict[str, Any] | None:
        """Return the view of the arm at this place; None, if there is none."""
        with self._lock:
            self._refresh()
            if not 0 <= place < len(self._tracks):
                return None
            if (place, metric) not in self._views:
                self._views[place, metric] = arm_view(self._tracks[place], self._found.metric, metric)
            self._views.move_to_end((place, metric))
            while len(self._views) > _KEPT_VIEWS:
                self._views.popitem(last=False)
            return self._views[place, metric].values

    def picture(self, digest: str) -> bytes | None:
        """Return a picture of an arm that has been asked for; None, if it is no such picture."""
        with self._lock:
            return next((view.pictures[digest] for view in self._views.values() if digest in view.pictures), None)

    def _refresh(self) -> None:
        signature = tuple(self._signed())
        if signature == self._signature:
            return
        found: ResultFolder = read_folder(self.path)
        held = signature[0]
        self._found, self._tracks = found, tracks(found, held)
        self._views.clear()
        self._overview = self._overall(found, self._tracks, held)
        self._signature = signature

    def _signed(self) -> Iterator[Any]:
        """Yield whether the folder is in use, and what changes where one of its files does."""
        yield is_held(self.path)
        patterns = [*_FILES, *(f"cells/*/*/{name}" for name in _CELL_FILES)]
        for path in sorted(path for pattern in patterns for path in self.path.glob(pattern)):
            about = path.stat()
            yield str(path), about.st_mtime_ns, about.st_size

    @cached_property
    def _planned(self) -> int:
        """How many rounds a comparison has in all its cells; 0, if that cannot be told."""
        try:
            design = ComparisonFolder(self.path).design()
            cells = [*design.tuning(), *design.chosen({arm.name: 0 for arm in design.arms})]
            return sum({cell.folder: cell.experiment.federation.rounds for cell in cells}.values())
        except (OmniFMError, OSError, ValueError, KeyError, TypeError):
            return 0

    def _overall(self, found: ResultFolder, lines: list[Track], held: bool) -> dict[str, Any]:
        finished = bool(lines) and all(track.state in ("finished", "failed") for track in lines)
        if found.is_comparison:
            finished = finished and not held
            planned = self._planned or sum(track.rounds for track in lines)
            left = left_of_comparison(lines, planned)
        else:
            most = max((track.rounds for track in lines), default=0)
            planned = sum(track.rounds or most for track in lines)
            left = left_of_run(lines)
        done = sum(track.done for track in lines)
        state = "running" if held else "finished" if finished else "stopped" if done else "waiting"
        command = "compare" if found.is_comparison else "run"
        return {
            "name": found.name,
            "folder": str(self.path),
            "kind": "comparison" if found.is_comparison else "run",
            "state": state,
            "started": found.date.timestamp(),
            "updated": time_of_last_line(lines),
            "left": left if state == "running" else None,
            "done": done,
            "planned": max(planned, done),
            "resume": f"omnifm {command} --resume {shlex.quote(str(self.path))}" if state == "stopped" else "",
            "metric": metric_title(found.metric) if found.metric else "",
            "arms": [self._line(track, found.metric) for track in lines],
            "events": last_events(self.path, MOST_LINES),
        }

    def _line(self, track: Track, metric: str | None) -> dict[str, Any]:
        return {
            "label": track.label,
            "algorithm": track.arm.algorithm,
            "state": track.state,
            "round": track.done,
            "rounds": track.rounds,
            "seconds": track.seconds_per_round,
            "left": track.left,
            "failure": track.cell.failure or track.arm.failure or "",
            **_score(track.cell, metric),
        }


def _score(cell: CellRecord, metric: str | None) -> dict[str, Any]:
    """Return the mean score that an arm has now: of the test, or else of its last validation."""
    for point, name in POINTS.items():
        if clients := cell.result.get("test", {}).get(point):
            values = mean(finite(entry["numbers"].get(metric)) for entry in clients.values())
            return {"score": values, "score_of": f"test, {name}"}
    evaluations = [line for line in cell.log if line.get("event") == "evaluation" and line.get("split") == "validation"]
    for point, name in POINTS.items():
        if of_point := [line for line in evaluations if line["point"] == point]:
            numbers = list(of_point[-1]["clients"].values())
            key = metric or next((key for one in numbers for key in one), None)
            return {"score": mean(finite(one.get(key)) for one in numbers), "score_of": f"validation, {name}"}
    return {"score": None, "score_of": ""}


def as_json(values: Any) -> bytes:
    """Return JSON that browsers read: what is not finite has been left out before."""
    return json.dumps(values, allow_nan=False, separators=(",", ":")).encode()
