"""How long `omnifm data check --no-decode` takes for a manifest of many rows, and how much memory.

    python benchmarks/manifest_check.py [--rows 200000] [--folder FOLDER]

The rows name small files that are made first; some are copies of others, missing, or of one patient in two splits. The
check runs in a process of its own, whose time and largest resident memory are printed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

HOSPITALS = 8
IN_A_FOLDER = 1000


def write_manifest(folder: Path, rows: int) -> None:
    """Write files of a few bytes, two in a thousand alike and one missing, and a manifest of them."""
    lines = ["image,label,patient,split,modality,institution"]
    for row in range(rows):
        path = folder / f"images/{row // IN_A_FOLDER}/{row}.png"
        if row % IN_A_FOLDER == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
        if row % 1000 != 7:
            content = row if row % 1000 else row + 1
            path.write_bytes(b"image %d" % content + b" " * (content % 97))
        patient = row // 4
        split = ("train", "train", "train", "val", "test")[patient % 5 if row % 5000 != 3 else 4 - patient % 5]
        lines.append(
            f"images/{row // IN_A_FOLDER}/{row}.png,class {row % 9},p{patient},{split},CT,h{patient % HOSPITALS}"
        )
    (folder / "manifest.csv").write_text("\n".join(lines), encoding="utf-8")


def check(folder: Path) -> None:
    """Check in a child process and print its time and memory."""
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        from omnifm.runs.data_check import check_file

        findings = check_file(folder / "manifest.csv", decode=False)
        errors = sum(finding.severity == "error" for finding in findings)
        print(f"{errors} errors and {len(findings) - errors} warnings")
        sys.stdout.flush()
        os._exit(0)
    _, status, used = os.wait4(child, 0)
    seconds = time.monotonic() - started
    memory = used.ru_maxrss / 1024**2
    print(f"{seconds:.1f} s ({used.ru_utime + used.ru_stime:.1f} s of a processor), {memory:.2f} GiB resident")
    sys.exit(os.waitstatus_to_exitcode(status))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--folder", type=Path, help="where the files go; a temporary one if not given")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        write_manifest(folder, options.rows)
        check(folder)


if __name__ == "__main__":
    main()
