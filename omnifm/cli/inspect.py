"""Show the results of a run or a comparison, or the data of an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from omnifm.cli.console import out as console
from omnifm.cli.console import print_tables, say, working
from omnifm.cli.options import Set
from omnifm.utils.errors import ExperimentError

if TYPE_CHECKING:
    from omnifm.data.federated_dataset import FederatedDataset


def report(folder: Annotated[Path, typer.Argument(help="The folder of a run or a comparison.")]) -> None:
    """Print the tables of a run or a comparison, and write its tables and report again."""
    from omnifm.results.write import terminal_tables, write_results

    write_results(folder)
    print_tables(terminal_tables(folder), folder)


def show_data(
    experiment: Annotated[Path, typer.Argument(help="The experiment file (TOML).")],
    overrides: Set = None,
    out: Annotated[Path, typer.Option(help="The file of the picture.")] = Path("data.png"),
) -> None:
    """Show the clients' data: a table, and a picture of samples, labels, intensities and spectra."""
    with working(f"Reading the data of {experiment}"):
        from omnifm.config.experiment import read_plan
        from omnifm.data.federated_dataset import load_dataset
        from omnifm.data.modality_profiles import modality_profiles
        from omnifm.data.show import picture
        from omnifm.spectral.spectrum import low_pass_log_amplitude

        first = next(iter(read_plan(experiment, overrides or ()).arms.values()))
        dataset = load_dataset(first.data, first.partition, first.seed)
    console.print(_dataset_table(dataset))
    profiles = modality_profiles(dataset.clients, lambda images, grid: low_pass_log_amplitude(images, 1.0, grid))
    try:
        picture(dataset.clients, dataset.label_names, out, profiles, first.adapter.rho)
    except (OSError, ValueError) as error:
        raise ExperimentError(f"The picture {out} cannot be written: {error}.") from None
    say(f"Picture: {out}")


def _dataset_table(dataset: FederatedDataset) -> Table:
    from omnifm.data.show import describe, label_text

    table = Table("client", "modality")
    for column in ("train", "validation", "test", "patients"):
        table.add_column(column, justify="right")
    table.add_column("training images of each class")
    for row in describe(dataset.clients, dataset.label_names):
        counts: list[Any] = [row["train"], row["validation"], row["test"], row["patients"]]
        table.add_row(escape(row["client"]), escape(row["group"]), *map(str, counts), escape(label_text(row)))
    return table
