"""Regions of shared memory, in whatever order they are claimed, written, read and given back."""

from __future__ import annotations

import gc

import torch
from helpers import same_record
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from omnifm.core.records import Upload
from omnifm.engines.shared_memory import SharedMemory


def record(fill: float, size: int) -> Upload:
    return Upload(str(fill), size, fill, {"w": torch.full((size, 3), fill), "n": torch.tensor(int(fill))})


class Regions(RuleBasedStateMachine):
    """What is written stays as it was until its region is given back; no region has two owners."""

    owned = Bundle("owned")
    views = Bundle("views")

    @initialize()
    def start(self) -> None:
        self.memory = SharedMemory()
        self.content: dict[int, tuple[Upload, int]] = {}
        self.in_use = set[int]()
        self.kept: dict[int, tuple[int, Upload, Upload]] = {}
        self.written = 0

    @rule(target=owned)
    def claim(self) -> int:
        region = self.memory.claim()
        assert region not in self.in_use, "the region is somebody else's"
        self.in_use.add(region)
        return region

    @rule(region=owned, size=st.sampled_from([0, 1, 100, 2000]))
    def write(self, region: int, size: int) -> None:
        self.written += 1
        made = record(float(self.written), size)
        self.content[region] = made, self.memory.write(region, made)

    @rule(region=owned)
    def read(self, region: int) -> None:
        if region in self.content:
            made, size = self.content[region]
            assert same_record(self.memory.read(region, size, Upload), made)

    @rule(target=views, region=consumes(owned))
    def read_and_release(self, region: int) -> int:
        """Read for the last time; the region stays in use as long as the view is kept."""
        self.written += 1
        made, size = self.content.pop(region, (record(0.0, 1), 0))
        size = size or self.memory.write(region, made)
        self.kept[self.written] = region, made, self.memory.read(region, size, Upload, release=True)
        return self.written

    @rule(region=consumes(owned))
    def release(self, region: int) -> None:
        self.content.pop(region, None)
        self.in_use.remove(region)
        self.memory.release(region)

    @rule(view=consumes(views))
    def let_go(self, view: int) -> None:
        region = self.kept.pop(view)[0]
        gc.collect(0)
        assert region in self.memory._free, "a region whose last view is gone is not free"
        self.in_use.remove(region)

    @invariant()
    def what_is_read_does_not_change(self) -> None:
        for _, made, view in self.kept.values():
            assert same_record(view, made)

    @invariant()
    def free_regions_are_nobodys(self) -> None:
        free = self.memory._free
        assert len(set(free)) == len(free)
        assert not set(free) & self.in_use

    def teardown(self) -> None:
        self.memory.close()
        for _, made, view in self.kept.values():
            assert same_record(view, made), "what was read does not outlive the memory"


Regions.TestCase.settings = settings(max_examples=40, stateful_step_count=25)
TestRegions = Regions.TestCase
