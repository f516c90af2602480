"""A warning that is given once, however often its reason comes up."""

from __future__ import annotations

import logging
from functools import cache

_log = logging.getLogger("omnifm")


@cache
def warn_once(text: str) -> None:
    """Warn, unless this process has said the same before."""
    _log.warning(text)
