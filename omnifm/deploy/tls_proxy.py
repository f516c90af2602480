"""A way for ``flwr`` through the proxy: the command can show no client certificate, so this does it for it.

While a command runs, a port of this machine's own leads to the proxy, over TLS and with the operator's certificate.
Whoever else works on this machine could use it too in that time: an operator's machine is the operator's alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator

_CHUNK = 1 << 16


@contextlib.contextmanager
def tls_proxy(host: str, port: int, context: ssl.SSLContext) -> Iterator[int]:
    """Give the block a port of this machine that leads to ``host:port``, over TLS."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def join(near: StreamReader, near_out: StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(near_out):
            far, far_out = await asyncio.open_connection(host, port, ssl=context)
            with contextlib.closing(far_out):
                await asyncio.gather(_pass_on(near, far_out), _pass_on(far, near_out))

    async def stop() -> None:
        server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    server = asyncio.run_coroutine_threadsafe(asyncio.start_server(join, "127.0.0.1", 0), loop).result()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _pass_on(source: StreamReader, target: StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(_CHUNK):
            target.write(data)
            await target.drain()
    target.close()
