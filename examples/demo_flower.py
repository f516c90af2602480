"""Run a federation on this machine with real Flower processes: one SuperLink and three SuperNodes, TLS and node keys.

It trains FedAvg, SCAFFOLD, Ditto and OmniFM on the phantom, once in this process and once over the network, and
compares the SHA-256 of the trained weights. ``make demo-flower`` runs it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import tomli_w

import omnifm
from omnifm.engines.flower.local_deployment import LocalDeployment, wait_until

ARMS = ("fedavg", "scaffold", "ditto", "omnifm")
PHANTOM = {"kind": "phantom", "patients": 30, "classes": ["healthy", "glioma"]}


def experiment(hospitals: list[str], arms: list[str], rounds: int) -> str:
    """Return the experiment file. Only the run in this process uses its data section."""
    return tomli_w.dumps(
        {
            "name": "demo-flower",
            "data": {"size": 24, "sources": [{**PHANTOM, "modalities": hospitals}]},
            "federation": {"rounds": rounds, "evaluate_every": 1},
            "training": {"batch_size": 8},
            "adapter": {"grid": 7, "token_dim": 16},
            "bank": {"prototypes": 4, "min_cluster": 3},
            "arms": {arm: {"algorithm": arm} for arm in arms},
            "deploy": {"hospitals": hospitals, "deadline": 300.0, "poll": 0.3},
        }
    )


def write_client_configs(folder: Path, names: list[str]) -> dict[str, Path]:
    """Write a client.toml for each hospital, each in its own folder."""
    files = {}
    for name in names:
        place = folder / name
        place.mkdir(parents=True)
        data = {"sources": [{**PHANTOM, "modalities": [name]}]}
        policy = {"tasks": ["*"], "algorithms": ["*"], "minimum_patients": 5, "min_cluster": 3}
        files[name] = place / "client.toml"
        content = {"name": name, "state": "state", "data": data, "policy": policy}
        files[name].write_text(tomli_w.dumps(content), encoding="utf-8")
    return files


def hashes(run: Path) -> dict[str, str]:
    """Return the SHA-256 of the trained weights of each finished arm."""
    found = {path.parent.name: json.loads(path.read_text())["weights_sha256"] for path in run.glob("*/result.json")}
    return dict(sorted(found.items()))


def follow(town: LocalDeployment, out: Path, seconds: float) -> None:
    """Print the server's log until the run has ended."""
    shown = 0

    def ended() -> bool:
        nonlocal shown
        path = out / "deploy.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        for line in lines[shown:]:
            text = ": ".join(filter(None, (line.get("client"), line["event"], line.get("text"))))
            print(f"  {line['time'][11:19]}  {text}", flush=True)
        shown = len(lines)
        if town.processes["server"].poll() is not None:
            raise SystemExit(f"The SuperLink has ended:\n{town.log('server')[-3000:]}")
        return (bool(lines) and lines[-1]["event"] == "finished") or town.processes["run"].poll() not in (None, 0)

    wait_until(ended, "the run has not ended", seconds)


def main() -> None:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hospitals", default="T1,CT,PET")
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--port", type=int, default=19000)
    parser.add_argument("--out", type=Path, default=Path("runs") / time.strftime("demo-flower-%Y%m%d-%H%M%S"))
    chosen = parser.parse_args()
    names, arms, out = chosen.hospitals.split(","), chosen.arms.split(","), chosen.out.absolute()
    text = experiment(names, arms, chosen.rounds)
    out.mkdir(parents=True)
    (out / "experiment.toml").write_text(text, encoding="utf-8")

    with LocalDeployment(out / "network", write_client_configs(out / "hospitals", names), chosen.port) as town:
        print("Starting a SuperLink, with TLS, and registering the hospitals' keys.", flush=True)
        town.start_server()
        for name in names:
            town.start_client(name)
        print(f"Running {', '.join(arms)} over the network.", flush=True)
        started = time.monotonic()
        town.submit(text, out / "deployed")
        follow(town, out / "deployed", 1800)
        print(f"Over the network: {time.monotonic() - started:.0f} s. Shutting down.", flush=True)
        trouble = town.log("run")
    deployed = hashes(out / "deployed")
    if sorted(deployed) != sorted(arms):
        raise SystemExit(f"The run has not finished:\n{trouble[-3000:]}")

    print("Running the same experiment in this process.", flush=True)
    omnifm.run(out / "experiment.toml", out=out / "local", workers=1)
    local = hashes(out / "local")
    for arm in arms:
        print(f"{arm:10}  {local[arm]}  {'the same' if deployed[arm] == local[arm] else 'DIFFERENT: ' + deployed[arm]}")
    print(f"Report: {out / 'deployed' / 'report.html'}")
    sys.exit(0 if deployed == local else 1)


if __name__ == "__main__":
    main()
