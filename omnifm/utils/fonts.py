"""Letters of all scripts in pictures: names of clients and classes may be in any."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib

_log = logging.getLogger("omnifm")

_OF_OTHER_SCRIPTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei", "Microsoft YaHei", "SimHei", "PingFang SC", "Hiragino Sans", "Yu Gothic", "Malgun Gothic",
    "Apple SD Gothic Neo", "Noto Sans Arabic", "Noto Sans Devanagari", "Noto Sans Thai", "Arial Unicode MS",
)  # fmt: skip


@contextmanager
def all_scripts() -> Iterator[None]:
    """Draw, in this block, with the fonts of other scripts that are there; one warning says which letters lack one."""
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    families = ["DejaVu Sans", *(name for name in _OF_OTHER_SCRIPTS if name in installed)]
    with matplotlib.rc_context({"font.family": families}), warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", message=_MISSING)
        yield
    numbers = [found[1] for one in caught if (found := re.match(_MISSING, str(one.message)))]
    lacking = dict.fromkeys(chr(int(number)) for number in numbers)
    for one in caught:
        if not re.match(_MISSING, str(one.message)):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    if lacking:
        _log.warning(
            "No font on this machine has the letters %s: the picture shows boxes in their place. Install one, such as "
            "the package fonts-noto-cjk.",
            "".join(list(lacking)[:20]),
        )


_MISSING = r"Glyph (\d+) .*missing from"
