"""Read damaged and odd files of all formats: ``python benchmarks/fuzz_files.py [--count N] [--seed S] [--keep DIR]``.

Small files of every format that is read, images and tables, are damaged at random, cut off, joined, or given the name
of another format, and read in a process of their own. Each must be read or end in a ``DataError`` of one line that
names it: no other error, no crash, and an end within the limit of time. The table counts what happened; the exit status
is 1 if something did that must not. ``--keep`` stores the files that did it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from fuzzing.files import TABLES, odd, whole_files

SECONDS = 20.0
"""For one file, on a machine that does other things too; an honest one takes milliseconds."""
MEMORY = 8 * 2**30
FORBIDDEN = ("other error", "crash", "hang", "not one line that names it")


def outcome(path: Path) -> str:
    """Read a file, and say what came of it."""
    from omnifm.data.reading import IntensityRule, read_image
    from omnifm.data.reading.prepare import shaped
    from omnifm.data.tables import read_table
    from omnifm.utils.errors import DataError

    try:
        if path.suffix in TABLES:
            read_table(path)
        else:
            image = read_image(path)
            shaped(IntensityRule().apply(image), size=8, channels=1, colour=image.colour)
    except DataError as error:
        named = path.name in str(error) and "\n" not in str(error)
        return "refused" if named else f"not one line that names it: {error}"
    except Exception as error:
        return f"other error: {type(error).__name__}: {error}"
    return "read"


def _serve(connection: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    while True:
        connection.send(outcome(Path(connection.recv())))


class Reader:
    """A process that reads files, and is replaced when it crashes or hangs."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Start the process."""
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()

    def read(self, path: Path, seconds: float) -> str:
        """Return what comes of reading a file."""
        self.connection.send(str(path))
        try:
            if self.connection.poll(seconds):
                return str(self.connection.recv())
            said = "hang"
        except EOFError:
            said = "crash"
        self.stop()
        self.start()
        return said

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join()
        self.connection.close()


def fuzz(count: int, seed: int, keep: Path | None = None) -> Counter[str]:
    """Count what comes of reading so many files; of what must not be, the whole message."""
    files, chosen, found = whole_files(), Random(seed), Counter[str]()
    reader = Reader()
    with TemporaryDirectory() as folder:
        for name in files:
            (Path(folder) / name).write_bytes(files[name])
            if (said := reader.read(Path(folder) / name, 10 * SECONDS)) != "read" and name != "four.nii":
                found[f"other error: a whole file: {name}: {said}"] += 1
        for number in range(count):
            name, data = odd(files, chosen)
            path = Path(folder) / f"{number}_{name}"
            path.write_bytes(data)
            said = reader.read(path, SECONDS)
            found[said] += 1
            if keep and said.startswith(FORBIDDEN):
                keep.mkdir(parents=True, exist_ok=True)
                (keep / path.name).write_bytes(data)
            path.unlink()
    reader.stop()
    return found


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000, help="how many files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for the files that did what none may")
    arguments = parser.parse_args()
    found = fuzz(arguments.count, arguments.seed, arguments.keep)
    for said, times in found.most_common():
        print(f"{times:6} {said}")
    if any(said.startswith(FORBIDDEN) for said in found):
        sys.exit(1)


if __name__ == "__main__":
    main()
