"""The digest of states, requests and answers."""

from __future__ import annotations

from omnifm.utils.quick_digest import quick_digest

_VECTOR = "e1be4d7a8ab5560aa4199eea339849ba8e293d55ca0a81006726d184519e647f"
"""BLAKE3 of the bytes 0, 1 and 2, of the test vectors of its authors."""


def test_it_is_blake3_of_the_parts_in_a_row() -> None:
    assert quick_digest(bytes([0, 1, 2])) == _VECTOR
    assert quick_digest(b"\x00", bytearray(b"\x01"), memoryview(b"\x02")) == _VECTOR
