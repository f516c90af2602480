"""Check that two states of the project compute the same bits: a commit, and the tree of this script.

    python benchmarks/same_bits.py BASE [--rounds 2] [--only NAME ...] [--save FILE]
    python benchmarks/same_bits.py --against FILE [--only NAME ...]

Every experiment in ``examples/`` that needs no data is run in both states, each with its own code and its own example
files, with few rounds and little data (``CASES``). Then the SHA-256 of all weights is compared: of each arm of a run,
each cell of a comparison, and each file that ``omnifm pretrain`` writes. The exit status is 1 if one differs, is
missing on one side, or if a case did not run. ``--save`` stores the hashes of BASE for ``--against``.

The weights depend on torch's version and on the processor, so both states always run on one machine. Each gets an empty
cache folder: a phantom cached by one state must not serve the other.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]

Hashes = dict[str, dict[str, str]]  # case -> place -> SHA-256; nothing where the case failed


@dataclass(frozen=True)
class Case:
    """A command on an example file; ``script`` is run before it, ``after`` is the case whose weights it starts from."""

    command: str
    example: str
    settings: str  # for --set, separated by spaces
    options: str = "--workers 2"
    script: tuple[str, ...] = ()
    after: str = ""


PHANTOM = 'data.size=32 data.sources=[{kind="phantom",patients=10}]'
VARIANT = (
    "partition.kind=dirichlet partition.clients=4 federation.participation=0.5 training.optimizer=adamw "
    "training.learning_rate=0.002 training.schedule=cosine training.precision=bf16 training.statistics=running"
)
# One grid point per algorithm, its defaults: a point that is not chosen leaves no weights to compare.
ALGORITHMS = "compare.grid={} compare.grids={} compare.participation=[0.5] training.batch_size=4"
PATIENTS, QUESTIONS = "data.sources.0.patients=10", "data.sources.0.patients=15"
MODALITIES = 'data.sources.0.modalities=["T1","CT"]'
FINETUNE = 'data.size=32 data.sources=[{kind="phantom",modalities=["T1","CT"],patients=10}]'
ALONE, COMPARE = "--workers 1", "--workers 2 --seeds 1"  # alone if each worker would import MONAI's metrics

CASES = {
    "classification-phantom": Case("run", "classification-phantom", PHANTOM),
    "classification-variant": Case("run", "classification-phantom", f"{PHANTOM} {VARIANT}"),
    "mixed-phantom": Case("run", "mixed-phantom", "data.size=32 data.sources.0.patients=30"),
    "segmentation-phantom": Case("run", "segmentation-phantom", f"data.size=32 {PATIENTS}", ALONE),
    "super-resolution-phantom": Case("run", "super-resolution-phantom", f"data.size=32 {PATIENTS} {MODALITIES}", ALONE),
    "image-fusion-phantom": Case("run", "image-fusion-phantom", f"data.size=41 {PATIENTS}", ALONE),
    "vqa-phantom": Case("run", "vqa-phantom", f"data.size=32 {QUESTIONS}"),
    "vqa-llava": Case("run", "vqa-llava", f"data.size=32 {QUESTIONS}", script=("tiny_llava.py", "runs/tiny-llava")),
    "pretrain-classification": Case("pretrain", "pretrain-classification", PATIENTS),
    "pretrain-super-resolution": Case("pretrain", "pretrain-super-resolution", f"{PATIENTS} {MODALITIES}", ALONE),
    "finetune-phantom": Case("run", "finetune-real", FINETUNE, ALONE, after="pretrain-super-resolution"),
    "compare-small": Case("compare", "compare-small", f"{PHANTOM} {ALGORITHMS}", f"{COMPARE} --algorithms all"),
    "study-phantom": Case("compare", "study-phantom", PHANTOM, COMPARE),
    "study-ablation": Case("compare", "study-phantom", PHANTOM, f"{COMPARE} --ablate"),
}


def main() -> int:
    options = _options()
    names = [name for name in CASES if not options.only or name in options.only]
    if options.against:
        try:
            saved = json.loads(options.against.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            sys.exit(f"{options.against} cannot be read: {error}.")
        if saved["machine"] != machine():
            sys.exit(f"{options.against} was made with {saved['machine']}; this is {machine()}: give BASE instead.")
        base, rounds = saved["hashes"], saved["rounds"]
    else:
        rounds = options.rounds
        with worktree(options.base) as tree:
            base = run_all(tree, "base", names, rounds)
        if options.save:
            saved = {"commit": options.base, "rounds": rounds, "machine": machine(), "hashes": base}
            options.save.write_text(json.dumps(saved, indent=1), encoding="utf-8")
    return report(base, run_all(ROOT, "here", names, rounds), names)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", nargs="?", metavar="BASE", help="the commit to compare with")
    parser.add_argument("--rounds", type=int, default=2, help="rounds of every run; with --against those of the file")
    parser.add_argument("--only", nargs="+", choices=list(CASES), metavar="NAME", help=f"of {', '.join(CASES)}")
    files = parser.add_mutually_exclusive_group()
    files.add_argument("--save", type=Path, metavar="FILE", help="write what BASE computed as JSON")
    files.add_argument("--against", type=Path, metavar="FILE", help="compare with what --save wrote")
    options = parser.parse_args()
    if (options.base is None) == (options.against is None):
        parser.error("give a commit to compare with, or --against FILE.")
    if options.save and not options.save.parent.is_dir():
        parser.error(f"--save {options.save}: there is no folder {options.save.parent}.")
    return options


def machine() -> str:
    """Name what the bits depend on besides the code."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return f"torch {torch.__version__}, {model and model[1]}, {torch.backends.cpu.get_cpu_capability()}"


@contextmanager
def worktree(commit: str) -> Iterator[Path]:
    """Check a commit out into a temporary git worktree."""
    git = ("git", "-C", str(ROOT), "worktree")
    with tempfile.TemporaryDirectory(prefix="same-bits-") as folder:
        tree = Path(folder, "tree")
        if subprocess.run([*git, "add", "--quiet", "--detach", str(tree), commit], check=False).returncode:
            sys.exit(f"The commit {commit} cannot be checked out.")
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def run_all(tree: Path, state: str, names: Sequence[str], rounds: int) -> Hashes:
    """Run cases, and the cases that they start from, with the code and the examples of a tree."""
    needed, hashes = {*names, *(CASES[name].after for name in names)}, Hashes()
    with tempfile.TemporaryDirectory(prefix=f"same-bits-{state}-") as folder:
        environment = {**os.environ, "PYTHONPATH": str(tree), "XDG_CACHE_HOME": f"{folder}/cache"}

        def run(*words: object) -> str:
            command = [sys.executable, *map(str, words)]
            return subprocess.check_output(command, stderr=subprocess.STDOUT, text=True, cwd=folder, env=environment)

        place = run("-c", "import omnifm; print(omnifm.__file__)").splitlines()[-1]
        if not Path(place).is_relative_to(tree):
            sys.exit(f"The code of {tree} would not be run, but that of {place}.")
        for name in filter(needed.__contains__, CASES):
            started = time.monotonic()
            try:
                hashes[name] = run_case(name, rounds, tree / "examples", Path(folder, "runs", name), run)
            except subprocess.CalledProcessError as error:
                hashes[name] = {}
                print(f"{error}\n{error.output[-3000:]}", file=sys.stderr)
            print(f"{state}: {name}, {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return {name: hashes[name] for name in names}


def run_case(name: str, rounds: int, examples: Path, folder: Path, run: Callable[..., str]) -> dict[str, str]:
    """Run one case into a folder and return its hashes; ``run`` runs Python with these words or raises."""
    case = CASES[name]
    out = folder.with_suffix(".safetensors") if case.command == "pretrain" else folder
    if case.script:
        run(examples / case.script[0], *case.script[1:])
    sets = [f"--set={setting}" for setting in (f"federation.rounds={rounds}", *case.settings.split())]
    run("-m", "omnifm", case.command, examples / f"{case.example}.toml", *sets, *case.options.split(), "--out", out)
    hashes = {
        str(path.parent.relative_to(folder)): json.loads(path.read_text(encoding="utf-8"))["weights_sha256"]
        for path in folder.rglob("result.json")
    }
    return hashes | ({out.name: tensors_sha256(out)} if out.is_file() else {})


def tensors_sha256(path: Path) -> str:
    """Return the SHA-256 of a safetensors file without its metadata, which contain the experiment's text."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    tensors = {name: about for name, about in json.loads(content[8:start]).items() if name != "__metadata__"}
    return hashlib.sha256(json.dumps(tensors, sort_keys=True).encode() + content[start:]).hexdigest()


def report(base: Hashes, here: Hashes, names: Sequence[str]) -> int:
    """Print the table; return 1 if anything differs or is missing."""
    row, bad, count = "{:<26}{:<42}{:<14}{:<14}{}", 0, 0
    print(row.format("case", "weights of", "base", "here", ""))
    for name in names:
        theirs, ours = base.get(name, {}), here.get(name, {})
        for arm in sorted({*theirs, *ours}) or ["-"]:
            pair = (theirs.get(arm, "missing"), ours.get(arm, "missing"))
            same = pair[0] == pair[1] != "missing"
            count, bad = count + 1, bad + (not same)
            print(row.format(name, arm, *(found[:12] for found in pair), "same" if same else "DIFFERS"))
    print(f"\n{count} compared, {bad} not the same.")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
