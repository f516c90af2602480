"""The examples at the end of each command's ``--help``."""

from __future__ import annotations

from collections.abc import Iterator

import typer
from rich.markup import escape
from typer.models import CommandInfo

EXAMPLES: dict[str, tuple[str, ...]] = {
    "init": ("omnifm init TASK", "omnifm init TASK --algorithm fedavg --out first.toml"),
    "run": (
        "omnifm run experiment.toml",
        "omnifm run experiment.toml --out runs/b --set federation.rounds=40 --set seed=1",
        "omnifm run --resume runs/b --time-limit 55m",
        "omnifm run experiment.toml --overwrite",
    ),
    "pretrain": ("omnifm pretrain experiment.toml --out weights.safetensors",),
    "export": (
        "omnifm export runs/b FOLDER --arm omnifm --client CT-1",
        "omnifm export runs/b FOLDER --arm omnifm --client CT-1 --format onnx",
    ),
    "compare": (
        "omnifm compare experiment.toml --algorithms all",
        "omnifm compare experiment.toml --algorithms fedavg,omnifm --seeds 5 --out runs/c",
        "omnifm compare experiment.toml --sweep training.learning_rate=0.01,0.1",
        "omnifm compare --resume runs/c",
    ),
    "watch": ("omnifm watch runs/b --open", "omnifm watch runs/b --port 9000 --token"),
    "report": ("omnifm report runs/b",),
    "schema": ("omnifm schema --out experiment.schema.json",),
    "list": ("omnifm list algorithms", "omnifm list data --json"),
    "predict": (
        "omnifm predict runs/b IMAGES --arm omnifm --out FOLDER",
        "omnifm predict runs/b --table images.csv --client CT-1",
    ),
    "data init": ("omnifm data init FOLDER", "omnifm data init FOLDER --out here --label diagnosis --modality CT"),
    "data check": ("omnifm data check experiment.toml", "omnifm data check manifest.csv --no-decode"),
    "data show": ("omnifm data show experiment.toml --out data.png",),
    "privacy show": (
        "omnifm privacy show experiment.toml",
        "omnifm privacy show experiment.toml --policy client.toml --data",
    ),
    "deploy init": ("omnifm deploy init FOLDER --server fl.example.org --hospital A --hospital B",),
    "deploy add": ("omnifm deploy add FOLDER --hospital C",),
    "deploy renew": ("omnifm deploy renew FOLDER",),
    "deploy rekey": ("omnifm deploy rekey FOLDER --hospital A",),
    "deploy register": ("omnifm deploy register OPERATOR",),
    "deploy unregister": ("omnifm deploy unregister OPERATOR --hospital A",),
    "deploy check": ("omnifm deploy check /etc/omnifm",),
    "deploy run": (
        "omnifm deploy run OPERATOR experiment.toml",
        "omnifm deploy run OPERATOR --resume NAME --readmit A",
    ),
    "deploy status": ("omnifm deploy status /etc/omnifm --events 20",),
    "deploy model": ("omnifm deploy model /etc/omnifm/hospital/client.toml RUN --arm omnifm",),
    "deploy audit": ("omnifm deploy audit /var/lib/omnifm/audit.jsonl",),
    "deploy flwr": ("omnifm deploy flwr OPERATOR list",),
}
"""By command, as it is written after ``omnifm``. A test holds them to the options that there are."""


def show_examples(app: typer.Typer) -> None:
    """Let the help of every command of an application end with its examples."""
    for name, command in commands_of(app):
        if lines := EXAMPLES.get(name):
            command.epilog = "\n\n".join(["[bold]Examples[/]", *(f"  {escape(line)}" for line in lines)])


def commands_of(app: typer.Typer, before: str = "") -> Iterator[tuple[str, CommandInfo]]:
    """Yield the commands of an application and of its groups, each with its whole name."""
    for command in app.registered_commands:
        own = command.name or getattr(command.callback, "__name__", "").replace("_", "-")
        yield f"{before}{own}", command
    for group in app.registered_groups:
        if group.typer_instance is not None:
            yield from commands_of(group.typer_instance, f"{before}{group.name} ")
