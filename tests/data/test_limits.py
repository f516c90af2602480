from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import pytest

from omnifm.data.limits import MOST_PIXELS, check_extent, check_regular
from omnifm.data.questions import read_utf8
from omnifm.data.reading import read_image
from omnifm.data.source import Loading
from omnifm.utils.errors import DataError


def png(width: int, height: int) -> bytes:
    """Return a whole PNG, of one bit a pixel and all black: however large, it is small on disk."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(b"\0" * (height * (1 + (width + 7) // 8)), 1)
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [7100, 13_000])
def test_a_large_image_is_refused_from_its_header(tmp_path: Path, side: int) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(png(side, side))
    assert path.stat().st_size < 300_000
    with pytest.raises(DataError, match=rf"x\.png: has {side} x {side} pixels, and at most 50,000,000 are .*Shrink"):
        read_image(path)


def test_what_the_library_itself_refuses_is_told_alike(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(png(60_000, 8)[:16] + struct.pack(">II", 60_000, 60_000) + png(60_000, 8)[24:])
    with pytest.raises(DataError, match=r"x\.png: has more than 50,000,000 pixels|cannot be read as an image"):
        read_image(path)


def test_as_many_as_are_allowed_pass() -> None:
    check_extent(Path("x"), (10, MOST_PIXELS // 10), MOST_PIXELS, "pixels", "")
    with pytest.raises(DataError, match="x: has 10 x 5000001 pixels"):
        check_extent(Path("x"), (10, MOST_PIXELS // 10 + 1), MOST_PIXELS, "pixels", "")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    os.mkfifo(path)
    loading = Loading(root=tmp_path, size=8, channels=1, seed=0, cache=tmp_path)
    for read in (check_regular, read_image, lambda place: read_utf8(place, "", loading)):
        with pytest.raises(DataError, match=r"x\.png: is no file, but .*a pipe .* Replace or remove it"):
            read(path)


def test_a_folder_is_no_file_and_nothing_is_left_to_whoever_opens_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no file"):
        check_regular(tmp_path)
    check_regular(tmp_path / "nothing")


def test_no_other_program_is_started(tmp_path: Path) -> None:
    """Pillow hands PostScript to Ghostscript, whatever the name of the file."""
    path = tmp_path / "x.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
    with pytest.raises(DataError, match=r"x\.png: cannot be read as an image \(cannot identify"):
        read_image(path)
