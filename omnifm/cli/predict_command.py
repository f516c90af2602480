"""Predict new images with a trained model."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Annotated

import typer

from omnifm.cli.console import err, say, working


def predict(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    images: Annotated[
        list[str] | None,
        typer.Argument(help="Images, folders of images or of a DICOM series; 'A;B' for the files of one example."),
    ] = None,
    table: Annotated[
        Path | None, typer.Option(help="A table of images: columns image and, where needed, pair or question.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder of the predictions.")] = Path("predictions"),
    arm: Annotated[str | None, typer.Option(help="Which arm; not needed if there is one.")] = None,
    client: Annotated[
        str | None, typer.Option(help="Whose model; without it, that for a hospital that took no part.")
    ] = None,
    question: Annotated[str, typer.Option(help="What is asked of each image.")] = "",
    modality: Annotated[str, typer.Option(help="Of the images, where the run prepared several differently.")] = "",
) -> None:
    """Predict images with a trained model: labels, masks, larger or fused images, answers."""
    with working("Loading the model") as tell:
        from omnifm.export.loaded_arm import LoadedArm
        from omnifm.prediction.predict import PREDICTIONS
        from omnifm.prediction.predict import predict as predicted
        from omnifm.prediction.requests import requests_of
        from omnifm.results.result_folder import refuse_comparison
        from omnifm.runs import run as runs

        refuse_comparison(run, ", which keeps no weights. Predict with a run")
        loaded, numbers = LoadedArm.of(run, runs.plan_of(run), arm), count(1)
        requests = requests_of(images or [], table, question)
        found = predicted(
            loaded,
            requests,
            client=client,
            modality=modality,
            out=out,
            each=lambda name: tell(f"Predicting {next(numbers)} of {len(requests)}: {name}"),
        )
    say(found.chosen)
    for name, reason in found.failed.items():
        err.print(f"Not predicted: {reason if name in reason else f'{name}: {reason}'}", markup=False, soft_wrap=True)
    say(f"Predictions: {out / PREDICTIONS} ({len(found.table)} of {len(found.table) + len(found.failed)} images)")
    if found.failed:
        raise typer.Exit(1)
