"""The ``omnifm`` command. Slow modules are imported when a command needs them."""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

from omnifm.cli.comparisons import compare
from omnifm.cli.console import Warnings, os_error_text, print_error, say
from omnifm.cli.data_commands import data_app
from omnifm.cli.help_examples import show_examples
from omnifm.cli.init_command import init
from omnifm.cli.inspect import report
from omnifm.cli.list_command import list_names
from omnifm.cli.predict_command import predict
from omnifm.cli.privacy_show import show_privacy
from omnifm.cli.runs import export, pretrain, run
from omnifm.cli.schema_command import schema
from omnifm.cli.watch_command import watch
from omnifm.deploy.commands import app as deploy_app
from omnifm.utils.errors import OmniFMError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(version_requested: bool) -> None:
    if version_requested:
        from importlib.metadata import version  # 20 ms of the start of every command

        say(f"omnifm {version('omnifm')}")
        raise typer.Exit


@app.callback()
def _options(
    version_requested: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """Federated learning of medical images across modalities and tasks."""


for command in (init, run, pretrain, predict, export, compare, watch, report, schema):
    app.command()(command)
app.command("list")(list_names)
app.add_typer(data_app, name="data")
privacy_app = typer.Typer(help="What leaves a hospital in an experiment.", no_args_is_help=True)
privacy_app.command("show")(show_privacy)
app.add_typer(privacy_app, name="privacy")
app.add_typer(deploy_app, name="deploy")
show_examples(app)


def main() -> None:
    """Run the command; a user's error ends it with one message and exit status 1."""
    logging.basicConfig(level=logging.WARNING, handlers=[Warnings()])
    try:
        app()
    except (OmniFMError, OSError) as error:
        print_error(os_error_text(error) if isinstance(error, OSError) else str(error))
        sys.exit(1)
