"""Is the machine itself ready: versions, programs, clock and room on the disk?"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from omnifm.deploy.check_result import CheckResult, bad, good, warning
from omnifm.deploy.deployment_plan import Side, installed

ROOM = 2
"""How many GB must be free: a run's states and a hospital's memory-mapped data are stored on disk."""


def check_versions(side: Side, program: str) -> Iterator[CheckResult]:
    """Compare what is installed here with what the deployment was made with."""
    for package, required in (("omnifm", side.omnifm), ("flwr", side.flwr)):
        present = installed(package)
        if present == required:
            yield good("version", f"{package} {present}, as on the other machines.")
        else:
            installed_here = f"{present} is" if present else "is not"
            text = f"{package} {installed_here} installed; the deployment was made with {required}."
            yield bad("version", text, f"Install {required} here, or the same on all machines.")
    where = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    if program and shutil.which(program, path=where) is None:
        yield bad("version", f"The program {program} is not found.", "Install Flower: pip install 'omnifm[flower]'.")


def check_own_clock() -> Iterator[CheckResult]:
    """Ask the system whether something keeps the clock right."""
    try:
        command = ["timedatectl", "show", "--property", "NTPSynchronized", "--value"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return  # no systemd here: hospitals compare their clocks with this one
    if done.stdout.strip() == "no":
        text = "Nothing keeps this machine's clock right; hospitals whose clocks are 5 seconds ahead of it are refused."
        yield warning("clock", text, "Have it set by NTP: `timedatectl set-ntp true`.")
    else:
        yield good("clock", "It is kept right by NTP.")


def check_room(folder: Path, what: str) -> Iterator[CheckResult]:
    """See whether there is room on the disk, and whether one may write there."""
    place = folder
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK | os.X_OK):
        remedy = f"Make it, for the user of the service: `install -d -o omnifm {folder}`; run the check as that user."
        yield bad("disk", f"Into {folder}, {what}, this user may not write.", remedy)
        return
    free = shutil.disk_usage(place).free / 1e9
    if free < ROOM:
        yield bad("disk", f"{free:.1f} GB are free for {folder}, {what}.", f"Make room: at least {ROOM} GB.")
    else:
        yield good("disk", f"{free:.0f} GB are free for {what}.")
