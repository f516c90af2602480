"""Show what leaves a hospital in an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omnifm.cli.console import say
from omnifm.cli.options import Set
from omnifm.utils.errors import ExperimentError


def show_privacy(
    experiment: Annotated[Path, typer.Argument(help="The experiment file (TOML).")],
    overrides: Set = None,
    policy: Annotated[
        Path | None, typer.Option(metavar="CLIENT.TOML", help="A hospital's file: what its policy refuses and bounds.")
    ] = None,
    data: Annotated[
        bool, typer.Option("--data", help="Load the data (with --policy: the hospital's own) and assume nothing.")
    ] = False,
    classes: Annotated[int | None, typer.Option(min=1, help="How many classes there are in all hospitals.")] = None,
    answers: Annotated[int | None, typer.Option(min=1, help="How many answers to questions they share.")] = None,
    hospitals: Annotated[int | None, typer.Option(min=1, help="How many hospitals take part.")] = None,
) -> None:
    """Say in plain words what leaves a hospital, how often, how large, and with which guarantee."""
    from omnifm.config.experiment import read_plan
    from omnifm.deploy.privacy_page import privacy_page
    from omnifm.engines.flower.client_config import read_client_config
    from omnifm.engines.flower.deploy_settings import deploy_settings
    from omnifm.engines.flower.expected_upload import ImaginedData

    if data and (classes or answers or hospitals):
        raise ExperimentError("--data counts classes, answers and hospitals itself: leave out their options.")
    plan = read_plan(experiment, overrides or ())
    config = None if policy is None else read_client_config(policy)
    known = deploy_settings(plan.document)
    given = {
        "classes": classes or len(known.labels),
        "answers": answers,
        "hospitals": hospitals or len(known.hospitals),
    }
    imagined = ImaginedData(**{key: value for key, value in given.items() if value})
    for line in list(privacy_page(plan, imagined, config, data)):  # all of it, or one error
        say(line)
