from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from omnifm.workers.memory import is_shortage, kills

FAULTS = """
import resource, torch
from omnifm.workers.memory import keep_heap
torch.set_num_threads(1)
if {keep}: keep_heap()
def work(): return torch.ones(10_000_000).sum()
for _ in range(5): work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20): work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(keep: bool) -> int:
    done = subprocess.run([sys.executable, "-c", FAULTS.format(keep=keep)], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_a_kept_heap_asks_the_system_no_more() -> None:
    # 40 MB, more than glibc ever keeps by itself, twenty times: ten thousand pages each if they go back in between.
    assert 3 * page_faults(keep=True) < page_faults(keep=False)


def test_the_allocators_own_words_are_understood() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert is_shortage(caught.value)


def test_what_is_a_shortage_of_memory() -> None:
    assert is_shortage(MemoryError())
    assert is_shortage(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_shortage(OSError(12, "Cannot allocate memory"))
    assert not is_shortage(OSError(28, "No space left on device"))
    assert not is_shortage(RuntimeError("shape mismatch"))


def test_the_systems_kills_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kills() >= 0
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "nr_free_pages 12\noom_kill 7\noom_kills_not 9\n")
    assert kills() == 7
