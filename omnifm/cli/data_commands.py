"""Look at a folder of images, check data, show data."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from omnifm.cli.console import out, say, working
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
    with working(f"Looking at {folder}"):
        from omnifm.data.recognise.written import write_starter

        written = write_starter(folder, out, task=task, label=label, table=table, modality=modality)
    for heading, sentences in written.said.items():
        if sentences:
            say(f"{heading}:")
            for sentence in sentences:
                say(f"  - {sentence}")
    for path in written.files:
        say(f"Written: {path}")
    experiment = shlex.quote(str(written.files[-1]))
    say(f"Next: omnifm data check {experiment}, then omnifm run {experiment}")


@data_app.command("check")
def check_data(
    file: Annotated[Path, typer.Argument(metavar="EXPERIMENT.toml|MANIFEST.csv", help="What is to be checked.")],
    overrides: Set = None,
    no_decode: Annotated[bool, typer.Option("--no-decode", help="Do not read images: quick, and sees less.")] = False,
) -> None:
    """List every problem of the data, with its file and row and what to do; exit status 1 if one is an error."""
    with working(f"Looking at the data of {file}") as tell:
        from omnifm.data.check.finding import lines_of
        from omnifm.runs.data_check import check_file

        def shown(rows: range) -> Iterator[int]:
            for row in rows:
                tell(f"Reading image {row + 1} of {len(rows)}")
                yield row

        findings = check_file(file, overrides or (), decode=not no_decode, progress=shown)
    for severity, style in (("error", "bold red"), ("warning", "yellow")):
        for line in lines_of([one for one in findings if one.severity == severity]):
            out.print(f"[{style}]{severity.capitalize()}:[/] ", end="")
            say(line)
    _conclude(findings)


def _conclude(findings: list[Finding]) -> None:
    counts = {severity: sum(one.severity == severity for one in findings) for severity in ("error", "warning")}
    said = [f"{count} {severity}{'' if count == 1 else 's'}" for severity, count in counts.items() if count]
    say(" and ".join(said) + "." if said else "No problem found.")
    if counts["error"]:
        raise typer.Exit(1)
