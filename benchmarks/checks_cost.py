"""What checks and policy cost in a round of a deployment: ``python benchmarks/checks_cost.py``.

    python benchmarks/checks_cost.py [--algorithm NAME ...] [--rounds 30] [--hospitals 3] [--images 80] [--size 48]

Two deployments of one experiment stand side by side in one process. Each has the real engine of the server, and
hospitals that answer by the handler that Flower calls, from folders of PNG images; only the network is left out. One
makes all checks, the other none. They take each round in turn, and must end with the same weights.

A round is the work of one hospital (validation and training, one request) and that of the server. Told are the
medians over rounds, and by how much a round with checks exceeds the one beside it without, in the median, since a
machine's speed changes from minute to minute; in processor time and on the clock, where waiting for the disk counts
too. The interval is that of the middle 95 % of 2,000 bootstrap samples of rounds. Then what each check takes by
itself, measured in further rounds: a hospital's at one hospital, the server's for the answers of all. Of them all
together, the share in a round is known best.

The checks are a hospital's on requests and finished uploads, its bounds on time, size and rounds, its audit log, the
digests of requests and states, and the server's on replies, uploads and its new weights. Reading messages is none of
them: without it nothing could be answered. With ``--log 10`` the audit log is 10 MB long already.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from deployed.deployment import Deployment, Round, Spent, plan_of, written

from omnifm.checkpoint.client_store import ClientStateStore
from omnifm.core.tensors import digest
from omnifm.engines.flower import client_handler, client_manager
from omnifm.engines.flower.answered_rounds import AnsweredRounds
from omnifm.engines.flower.audit_log import AuditLog
from omnifm.engines.flower.client_config import read_client_config
from omnifm.engines.flower.engine import FlowerEngine
from omnifm.engines.flower.kept_runs import KeptRuns
from omnifm.engines.flower.messages import Reply
from omnifm.federation import loop
from omnifm.federation.upload_checks import UploadChecks
from omnifm.runs import arm

_WARM_UP = 2


class Check(NamedTuple):
    """A check: where its function is, and what stands there without it."""

    owner: Any
    name: str
    without: Callable[..., Any]


def _granted(*given: Any, **named: Any) -> str:
    return ""


def _nothing(*given: Any, **named: Any) -> None:
    return None


def _begin(runs: KeptRuns, run: str, issued: int) -> str:
    (runs.folder / run).mkdir(parents=True, exist_ok=True)
    return ""


HOSPITAL = (
    *(Check(client_handler, name, _granted) for name in ("reject_size", "reject_form", "reject_experiment")),
    *(Check(client_handler, name, _granted) for name in ("reject_patients", "reject_names", "reject_upload")),
    Check(client_handler, "kept_here", lambda *given: frozenset()),
    Check(arm, "check_size", _nothing),
    Check(client_handler, "digest_of", _granted),
    Check(client_handler, "about_upload", lambda *given: {}),
    Check(client_handler, "quick_digest", _granted),
    Check(KeptRuns, "reject_old", _granted),
    Check(KeptRuns, "begin", _begin),
    Check(AnsweredRounds, "claim", _granted),
    Check(ClientStateStore, "_compare", _nothing),
    Check(AuditLog, "write", _nothing),
    Check(AuditLog, "rounds_in_circle", lambda *given: 1),
)
UNTIMED = (  # contexts and streams, whose time is that of the work in them, and reading
    Check(client_handler, "limited", lambda *given: nullcontext()),
    Check(client_handler, "make_arm", lambda *given, most, **named: arm.make_arm(*given, **named)),
    Check(client_manager, "read_reply", Reply.from_bytes),
    Check(UploadChecks, "passing", lambda checks, uploads, *given: uploads),
)
SERVER = (
    Check(FlowerEngine, "_check", _nothing),
    Check(loop, "refusal", _granted),
)


@contextmanager
def replaced(checks: Sequence[Check], by: Callable[[Check], Callable[..., Any]]) -> Iterator[None]:
    """Let something else stand in the place of checks."""
    with ExitStack() as stack:
        for check in checks:
            stack.enter_context(patch.object(check.owner, check.name, by(check)))
        yield


def lengthen(logs: Sequence[Path], megabytes: float) -> None:
    """Write audit logs of other runs, so long."""
    entry = {
        "run": "f" * 32,
        "arm": "omnifm",
        "trained": True,
        "circle": 0,
        "sent": {"weights": 10**6},
        "reason": "x" * 200,
    }
    for path in logs if megabytes else ():
        path.parent.mkdir(parents=True)
        lines = [
            json.dumps({"time": "2026-01-01T00:00:00+00:00", **entry, "round": n}) for n in range(2500 * int(megabytes))
        ]
        half = len(lines) // 2
        path.with_stem("audit-000001").write_text("\n".join(lines[:half]) + "\n", encoding="utf-8")
        path.write_text("\n".join(lines[half:]) + "\n", encoding="utf-8")


def compared(algorithm: str, given: argparse.Namespace, folder: Path) -> None:
    """Print what the checks cost in rounds of an algorithm."""
    plan, sides = plan_of(algorithm, given), dict[str, Deployment]()
    everything = (*HOSPITAL, *UNTIMED, *SERVER)
    absent: dict[str, Callable[[], Any]] = {
        "with": nullcontext,
        "without": lambda: replaced(everything, lambda check: check.without),
    }
    for side, context in absent.items():
        (folder / side).mkdir(parents=True)
        with context():
            files = written(plan, folder / side)
            lengthen([read_client_config(path).state_folder / "audit.jsonl" for path in files.values()], given.log)
            sides[side] = Deployment(plan, files, folder / side)
            for _ in range(_WARM_UP):
                sides[side].round()
    rounds: dict[str, list[Round]] = {side: [] for side in sides}
    for number in range(given.rounds):
        for side in sorted(sides, reverse=bool(number % 2)):
            with absent[side]():
                rounds[side].append(sides[side].round())
    if len({digest(deployment.checkpoint.server.shared) for deployment in sides.values()}) > 1:
        raise SystemExit("The two deployments do not hold the same weights: the checks change what they check.")
    for clock in Spent._fields:
        for part in ("hospital", "server", "whole"):
            told = {side: [getattr(getattr(one, part), clock) for one in rounds[side]] for side in rounds}
            print(f"{algorithm}, {clock}, {part}: {_excess(told['with'], told['without'])}", flush=True)
    taken, of_server = defaultdict[str, list[Spent]](list), {check.name for check in SERVER}
    with replaced((*HOSPITAL, *SERVER), lambda check: _timed(check, taken)):
        for _ in range(given.rounds):
            sides["with"].round()
    for clock in Spent._fields:
        each = {
            name: 1000
            * sum(getattr(one, clock) for one in spent)
            / given.rounds
            / (1 if name in of_server else given.hospitals)
            for name, spent in taken.items()
        }
        whole = 1000 * statistics.median(getattr(one.whole, clock) for one in rounds["without"])
        listed = ", ".join(f"{name} {each[name]:.2f}" for name in sorted(each, key=lambda name: -each[name]))
        print(f"{algorithm}, {clock}, ms a round: {listed}; in all {100 * sum(each.values()) / whole:.2f} %")


def _excess(with_checks: list[float], without: list[float]) -> str:
    chance = random.Random(0)
    ratios = [100 * (one / other - 1) for one, other in zip(with_checks, without, strict=True)]
    drawn = sorted(statistics.median(chance.choices(ratios, k=len(ratios))) for _ in range(2000))
    medians = f"{1000 * statistics.median(with_checks):.1f} and {1000 * statistics.median(without):.1f} ms"
    return f"{medians}, {statistics.median(ratios):+.2f} % ({drawn[50]:+.2f} to {drawn[1949]:+.2f})"


def _timed(check: Check, taken: dict[str, list[Spent]]) -> Callable[..., Any]:
    """Return the check itself, whose time is noted; of one that yields, also that between its results."""
    own = getattr(check.owner, check.name)

    def timed(*given: Any, **named: Any) -> Any:
        start = Spent.now()
        try:
            return own(*given, **named)
        finally:
            taken[check.name].append(Spent.now().since(start))

    return timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algorithm", action="append")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--hospitals", type=int, default=3)
    parser.add_argument("--images", type=int, default=80, help="for training, at each hospital")
    parser.add_argument("--size", type=int, default=48, help="of an image, in pixels a side")
    parser.add_argument("--log", type=float, default=0.0, help="megabytes that are in the audit log before")
    parser.add_argument("--cache", default="", help="folder for the phantom's images")
    given = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    for algorithm in given.algorithm or ("fedavg", "omnifm"):
        with TemporaryDirectory() as folder:
            compared(algorithm, given, Path(folder))


if __name__ == "__main__":
    main()
