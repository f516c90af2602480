"""Look at a folder of images, check data, show data."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from omnifm.cli.console import err, out, say
from omnifm.cli.inspect import show_data
from omnifm.cli.options import Set

if TYPE_CHECKING:
    from omnifm.data.check.finding import Finding

data_app = typer.Typer(help="Bring your own images, check them, look at them.", no_args_is_help=True)
data_app.command("show")(show_data)


@data_app.command("init")
def init_data(
    folder: Annotated[Path, typer.Argument(help="The folder that holds the images.")],
    task: Annotated[
        str, typer.Option(help="What is to be learned; if not given, what the folder is likeliest for.")
    ] = "",
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where manifest.csv and experiment.toml go.")] = Path(),
    label: Annotated[str, typer.Option(metavar="COLUMN", help="The column of a table that holds the labels.")] = "",
    table: Annotated[str, typer.Option(metavar="FILE", help="Which of several tables counts, below the folder.")] = "",
    modality: Annotated[str, typer.Option(help="The modality of all images, if nothing says it.")] = "",
) -> None:
    """Look at a folder of images, and write a manifest and an experiment that runs."""
    from omnifm.data.recognise.written import write_starter

    written = write_starter(folder, out, task=task, label=label, table=table, modality=modality)
    for heading, sentences in written.said.items():
        if sentences:
            say(f"{heading}:")
            for sentence in sentences:
                say(f"  - {sentence}")
    for path in written.files:
        say(f"Written: {path}")
    say(f"Next: omnifm data check {written.files[-1]}, then omnifm run {written.files[-1]}")


@data_app.command("check")
def check_data(
    file: Annotated[Path, typer.Argument(metavar="EXPERIMENT.toml|MANIFEST.csv", help="What is to be checked.")],
    overrides: Set = None,
    no_decode: Annotated[bool, typer.Option("--no-decode", help="Do not read images: quick, and sees less.")] = False,
) -> None:
    """List every problem of the data, with its file and row and what to do; exit status 1 if one is an error."""
    from rich.progress import track

    from omnifm.runs.data_check import check_file

    def shown(rows: range) -> Iterable[int]:
        return track(rows, "Reading images", console=err, transient=True, disable=not err.is_terminal)

    findings = check_file(file, overrides or (), decode=not no_decode, progress=shown)
    for severity, style in (("error", "bold red"), ("warning", "yellow")):
        for finding in (one for one in findings if one.severity == severity):
            out.print(f"[{style}]{severity.capitalize()}:[/] ", end="")
            say(str(finding))
    _conclude(findings)


def _conclude(findings: list[Finding]) -> None:
    counts = {severity: sum(one.severity == severity for one in findings) for severity in ("error", "warning")}
    said = [f"{count} {severity}{'' if count == 1 else 's'}" for severity, count in counts.items() if count]
    say(" and ".join(said) + "." if said else "No problem found.")
    if counts["error"]:
        raise typer.Exit(1)
