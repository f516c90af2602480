"""Run the studies behind ``docs/results/`` and write its pages.

    python benchmarks/results.py [--small] [NAME ...] [--data DIR] [--out results] [--workers N]
    python benchmarks/results.py --pages-only
    python benchmarks/results.py --list

Each study of ``examples/results/studies.toml`` is one ``omnifm compare`` into ``results/NAME``. A finished
study is not run again, and an interrupted one continues where it stopped: give the same command, night after night.
Then the index and the page of each finished study are written; of studies that were run elsewhere the index keeps what
``outcomes.json`` beside it says, unless they are planned otherwise now. A study of real images is skipped if there is
no folder of data. The exit status is 1 if a study failed.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from evidence.figures import Figures
from evidence.joining import GLANCE, draw_gains
from evidence.outcomes import Outcome, outcomes_text, read_outcomes
from evidence.pages import index_page, study_page
from evidence.studies import Study, read_studies

from omnifm.utils.atomic_write import write_atomically
from omnifm.utils.errors import OmniFMError

ROOT = Path(__file__).resolve().parents[1]
HEADINGS = {"Studies": False, "In a quarter of an hour": True}


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the running comparison is stopped too
    options = _options()
    lists = {heading: read_studies(options.studies, small=small) for heading, small in HEADINGS.items()}
    every = {study.name: study for studies in lists.values() for study in studies}
    small = next(heading for heading, is_small in HEADINGS.items() if is_small == options.small)
    chosen = [every[name] for name in options.names if name in every] or lists[small]
    if unknown := [name for name in options.names if name not in every]:
        print(f"There is no study {unknown[0]!r}. There are: {', '.join(every)}.", file=sys.stderr)
        return 1
    if options.list:
        print(*(study.name for study in chosen), sep="\n")
        return 0
    failed = [] if options.pages_only else [study.name for study in chosen if not _run(study, options)]
    try:
        _write_pages(lists, options)
    except OmniFMError as error:
        print(f"The pages are not written: {error}", file=sys.stderr)
        return 1
    if failed:
        print(f"Not finished: {', '.join(failed)}.", file=sys.stderr)
    return 1 if failed else 0


def _run(study: Study, options: argparse.Namespace) -> bool:
    """Run or continue a study; False if it failed."""
    folder = options.out / study.name
    if study.needs_data and not options.data.is_dir():
        print(f"{study.name}: skipped, because there is no folder {options.data} (--data DIR).", flush=True)
        return True
    if study.is_finished(folder):
        return _is_same(study, folder)
    begun = (folder / "experiment.toml").exists()
    print(f"{study.name}: {'continues' if begun else 'starts'} in {folder}", flush=True)
    where = ["--resume" if begun else "--out", str(folder), "--workers", options.workers]
    command = [sys.executable, "-m", "omnifm", "compare", *study.arguments(options.data), *where]
    return subprocess.run(command, check=False).returncode == 0


def _is_same(study: Study, folder: Path) -> bool:
    """Whether a finished comparison is the study of its name; prints why if not."""
    try:
        study.check_same(folder)
    except OmniFMError as error:
        print(f"{study.name}: {error} Move the folder away to run the study again.", file=sys.stderr, flush=True)
        return False
    return True


def _write_pages(lists: dict[str, list[Study]], options: argparse.Namespace) -> None:
    options.pages.mkdir(parents=True, exist_ok=True)
    kept, found = read_outcomes(options.pages / "outcomes.json"), dict[str, Figures]()
    every = [study for studies in lists.values() for study in studies]
    for study in every:
        folder = options.out / study.name
        if study.is_finished(folder) and _is_same(study, folder):
            found[study.name] = Figures.read(folder)
            _write(options.pages / f"{study.name}.md", study_page(study, found[study.name], ROOT))
            kept[study.name] = Outcome.of(study, found[study.name], ROOT)
    outcomes = {
        one.name: kept[one.name] for one in every if one.name in kept and kept[one.name].command == one.command(ROOT)
    }
    if found.keys() >= {*GLANCE.values()}:
        draw_gains({scenario: found[name] for scenario, name in GLANCE.items()}, options.pages / "joining.svg")
    glance = {scenario: outcomes[name] for scenario, name in GLANCE.items() if name in outcomes}
    _write(options.pages / "outcomes.json", outcomes_text(outcomes))
    _write(options.pages / "index.md", index_page(lists, outcomes, glance))


def _write(path: Path, text: str) -> None:
    write_atomically(path, text.encode())
    print(f"wrote {path}")


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="these studies only")
    parser.add_argument("--small", action="store_true", help="those that take a quarter of an hour")
    parser.add_argument("--list", action="store_true", help="list the studies and stop")
    parser.add_argument("--pages-only", action="store_true", help="run nothing")
    parser.add_argument("--data", type=Path, default=Path("data"), help="the folder of real images")
    parser.add_argument("--out", type=Path, default=Path("results"), help="the comparisons' folders")
    parser.add_argument("--pages", type=Path, default=ROOT / "docs/results")
    parser.add_argument("--studies", type=Path, default=ROOT / "examples/results/studies.toml")
    parser.add_argument("--workers", default="auto")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
