"""Write the schema of the experiment file, for editors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from omnifm.cli.console import say


def schema(
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where it goes; printed if not given.")] = None,
) -> None:
    """Write the JSON schema of the experiment file; "#:schema FILE" in the first line of one lets editors use it."""
    text = json.dumps(whole_schema(), indent=2) + "\n"
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")
        say(f"Schema: {out}")


def whole_schema() -> dict[str, Any]:
    """Return the JSON schema of the experiment file with the sections of all commands."""
    from omnifm.callbacks.registry import CALLBACKS
    from omnifm.comparison.design import CompareSettings
    from omnifm.config.schema import experiment_schema
    from omnifm.engines.flower.deploy_settings import DeploySettings

    return experiment_schema({"compare": CompareSettings, "deploy": DeploySettings}, CALLBACKS)
