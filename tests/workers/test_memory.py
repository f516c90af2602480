from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from omnifm.workers.memory import is_shortage, kills

pytestmark = [pytest.mark.slow, pytest.mark.process]

glibc = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="glibc's allocator")

MAPPED = """
import ctypes, torch
from omnifm.workers.memory import keep_heap
from omnifm.workers.memory import return_large_blocks
class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd a b c d e".split()]
libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Info
{choice}
torch.ones(5_000_000)  # freed at once, after which glibc by itself gives back only what is larger
before = libc.mallinfo2().hblkhd
kept = torch.ones({count})
print(libc.mallinfo2().hblkhd - before)
"""


def mapped_bytes(choice: str, count: int) -> int:
    """Return how much of a tensor of so many numbers glibc asks the system for, to be given back when it is freed."""
    code = MAPPED.format(choice=choice, count=count)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout)


@glibc
def test_a_kept_heap_holds_what_is_large_too() -> None:
    assert mapped_bytes("keep_heap()", 20_000_000) == 0
    assert mapped_bytes("", 20_000_000) >= 80_000_000


@glibc
def test_large_blocks_are_given_back_however_many_were_freed_before() -> None:
    assert mapped_bytes("return_large_blocks()", 1_000_000) >= 4_000_000
    assert mapped_bytes("", 1_000_000) == 0


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
