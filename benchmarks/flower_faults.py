"""Kill a client, then the server, during a run over real Flower processes; restart them; compare the weights.

The run must end with the weights of the undisturbed run in one process. With ``--miss``, the client stays dead long
enough to miss a round, and the reference is a run in one process in which it misses the same rounds.

    python benchmarks/flower_faults.py [--miss] [--algorithm omnifm] [--rounds 4] [--port 19020] [--out FOLDER]
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import demo_flower as demo

from omnifm.checkpoint.manager import CheckpointManager
from omnifm.config.experiment import Plan, make_plan
from omnifm.core.records import Broadcast, Upload
from omnifm.engines.flower.local_deployment import LocalDeployment, wait_until
from omnifm.engines.in_process import InProcess
from omnifm.federation.loop import NO_MESSAGES, Messages
from omnifm.runs.arm import Arm
from omnifm.runs.backend import LocalBackend
from omnifm.runs.run import create, execute

NAMES = ["T1", "CT", "PET"]
STARTED = time.monotonic()


class Missing(InProcess):
    """Trains in each round the clients that took part in it over the network."""

    present: dict[int, set[str]]

    def update(
        self, broadcast: Broadcast, clients: Sequence[str], messages: Messages = NO_MESSAGES
    ) -> Iterator[Upload]:
        """Train the clients that took part."""
        return super().update(broadcast, [name for name in clients if name in self.present[broadcast.round]], messages)


class Here(LocalBackend):
    """This machine, with clients that miss rounds."""

    def __init__(self, present: dict[int, set[str]]) -> None:
        super().__init__()
        self.present = present

    def engine(self, name: str, arm: Arm, checkpoints: CheckpointManager) -> Missing:
        """Return the engine."""
        engine = Missing(arm.runtime, 1, checkpoints.states)  # type: ignore[arg-type]
        engine.present = self.present
        return engine


def say(text: str) -> None:
    """Print with the seconds since the start."""
    print(f"{time.monotonic() - STARTED:6.0f} s  {text}", flush=True)


def lines(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines; none if the file is not there yet."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def happened(out: Path, event: str, **more: Any) -> bool:
    """Whether an event is in the log."""
    wanted = {"event": event, **more}.items()
    return any(wanted <= line.items() for line in lines(out / "deploy.jsonl"))


def revive(town: LocalDeployment, out: Path, name: str) -> None:
    """Restart a client until it is back, as systemd would: it is rejected while the server believes it alive."""

    def back() -> bool:
        if town.processes[name].poll() is not None:
            time.sleep(5)
            town.processes.pop(name)
            town.start_client(name)
        return happened(out, "back", client=name)

    town.start_client(name)
    wait_until(back, f"{name} is not back", 300)
    say(f"{name} is back")


def disturbed(town: LocalDeployment, text: str, out: Path, miss: bool) -> None:
    """Start the run and disturb it."""
    town.start_server()
    for name in NAMES:
        town.start_client(name)
    town.submit(text, out)
    wait_until(lambda: happened(out, "round", round=1), "there is no first round", 300)
    say("round 1 is done: kill CT and all its child processes")
    town.end("CT", signal.SIGKILL)
    if miss:
        wait_until(lambda: happened(out, "missed", client="CT"), "CT is not missed", 400)
        say("CT has missed a round")
    revive(town, out, "CT")
    wait_until(lambda: happened(out, "round", round=2), "there is no second round", 300)
    say("round 2 is done: kill the SuperLink, and with it the server app")
    town.end("server", signal.SIGKILL)
    town.processes.pop("run").kill()
    time.sleep(2)
    town.start_server(register=False)
    say("the SuperLink is up again: resume")
    town.submit("", out, resume=True)
    wait_until(lambda: happened(out, "finished"), "the run has not ended", 600)


def took_part(arm: Path) -> dict[int, set[str]]:
    """Return the clients that took part in each round."""
    return {line["round"]: set(line["clients"]) for line in lines(arm / "metrics.jsonl") if line["event"] == "round"}


def undisturbed(plan: Plan, out: Path, present: dict[int, set[str]]) -> dict[str, str]:
    """Run the same in this process, with the same clients in each round."""
    execute(create(out, plan), out, Here(present))
    return demo.hashes(out)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--miss", action="store_true")
    parser.add_argument("--algorithm", default="omnifm")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--port", type=int, default=19020)
    parser.add_argument("--out", type=Path, default=Path("runs") / time.strftime("flower-faults-%Y%m%d-%H%M%S"))
    chosen = parser.parse_args()
    out, plain = chosen.out.absolute(), tomllib.loads(demo.experiment(NAMES, [chosen.algorithm], chosen.rounds))
    plain["deploy"] |= {"grace": 0.0 if chosen.miss else 400.0, "deadline": 600.0, "poll": 0.5}
    import tomli_w

    out.mkdir(parents=True)
    with LocalDeployment(out / "network", demo.write_client_configs(out / "hospitals", NAMES), chosen.port) as town:
        disturbed(town, tomli_w.dumps(plain), out / "remote", chosen.miss)
    say("all processes have ended")
    present = took_part(out / "remote" / chosen.algorithm)
    for number, names in present.items():
        say(f"round {number}: {', '.join(sorted(names))}")
    if chosen.miss == all(names == set(NAMES) for names in present.values()):
        raise SystemExit("Other clients took part than intended.")
    here, remote = undisturbed(make_plan(plain), out / "here", present), demo.hashes(out / "remote")
    print(f"in one process    {here}\nover the network  {remote}\n{'the same' if here == remote else 'DIFFERENT'}")
    sys.exit(0 if here == remote else 1)


if __name__ == "__main__":
    main()
