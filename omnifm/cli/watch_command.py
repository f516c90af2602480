"""Follow a run in a browser."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from omnifm.cli.console import err, say


def watch(
    folder: Annotated[Path, typer.Argument(help="The folder of a run or a comparison, at work or finished.")],
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="The port; 8787, or a free one, if not given.")
    ] = None,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="The address to listen on; others than this machine need a token.")
    ] = "127.0.0.1",
    token: Annotated[
        bool, typer.Option("--token", help="Ask for a token here too: other users of this machine have none.")
    ] = False,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Serve a page that follows a run: rounds, curves of each hospital, who is slow, circles, pictures, log, time left.

    The page only reads, and needs no network. Ctrl-C ends it; the run goes on.
    """
    from omnifm.watch.live_folder import LiveFolder
    from omnifm.watch.page_server import is_loopback, open_server

    with open_server(LiveFolder(folder), host, port, token) as server:
        if not is_loopback(host):
            text = (
                f"Everyone who reaches {host} and has the token sees this run, its pictures too; it is not encrypted."
            )
            err.print(f"[yellow]Warning:[/] {escape(text)}", highlight=False, soft_wrap=True)
        say(f"Watch {folder} at {server.url}  (Ctrl-C ends the page, not the run)")
        if open_browser:
            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("The page has ended.")
