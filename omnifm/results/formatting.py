"""How numbers, metrics and settings are written, the same in tables, reports and sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

MISSING = "–"  # noqa: RUF001 - the typographic sign for nothing here

_WORDS = {
    "auc": "AUC",
    "dice": "Dice",
    "f1": "F1",
    "hd95": "HD95",
    "iou": "IoU",
    "psnr": "PSNR",
    "qabf": "Qᴬᴮ/ᶠ",
    "ssim": "SSIM",
    "vif": "VIF",
}
_MEASURES = ("accuracy", "auc", "dice", "hd95", "iou", "psnr", "qabf", "ssim", "vif")
_UNITS = {"entropy": "bits", "psnr": "dB"}


def decimal_places(values: Iterable[float | None]) -> int:
    """Return how many decimals show values of this size: four digits of the largest, but no more than three decimals.

    So 0.123, 30.12 and 123.4; all in one table get as many. Where all are below 0.01, three digits: 0.00123.
    """
    largest = max((abs(value) for value in values if value is not None and math.isfinite(value)), default=0.0)
    if largest == 0:
        return 3
    size = math.floor(math.log10(float(f"{largest:.3e}")))
    return min(2 - size, 9) if size < -2 else min(3, max(0, 3 - size))


def number(value: float | None, decimals: int = 3) -> str:
    """Return a value with a true minus sign, and a dash for None and NaN."""
    if value is None or math.isnan(value):
        return MISSING
    return f"{value:.{decimals}f}".replace("-", "−")  # noqa: RUF001 - the minus sign


def signed(value: float, decimals: int = 3) -> str:
    """Return a difference with its sign, and a dash for NaN."""
    if math.isnan(value):
        return MISSING
    text = f"{value:+.{decimals}f}"
    return f"±{text[1:]}" if float(text) == 0 else text.replace("-", "−")  # noqa: RUF001 - the minus sign


def with_spread(value: float, spread: float, decimals: int = 3) -> str:
    """Return ``mean ± standard deviation``, without the latter where there is none."""
    text = number(value, decimals)
    return text if math.isnan(spread) else f"{text} ± {number(spread, decimals)}"


def with_interval(value: float, low: float, high: float, decimals: int = 3) -> str:
    """Return a difference with its interval, without the latter where there is none."""
    text = signed(value, decimals)
    return text if math.isnan(low) else f"{text} [{signed(low, decimals)}, {signed(high, decimals)}]"


def p_value(p: float) -> str:
    """Return a p-value with three decimals."""
    return "<0.001" if p < 0.001 else number(p)


def percent(share: float) -> str:
    """Return a share in percent."""
    return f"{100 * share:g} %"


def settings_text(settings: Mapping[str, Any]) -> str:
    """Return settings in one line, each by the last part of its name."""
    values = ((key, f"{value:g}" if isinstance(value, float) else value) for key, value in settings.items())
    return ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in values)


def metric_name(metric: str) -> str:
    """Return a metric's name as people write it: ``macro F1``, or ``Dice, whole tumour``.

    What follows the name of a measure says of which part, or by which plain rule, it is.
    """
    first, *rest = metric.split("_")
    words = [_WORDS.get(word, word) for word in rest]
    start = _WORDS.get(first, first)
    return f"{start}, {' '.join(words)}" if words and first in _MEASURES else " ".join([start, *words])


def metric_title(metric: str) -> str:
    """Return a metric's name with its unit, if it has one."""
    unit = _UNITS.get(metric.partition("_")[0])
    return f"{metric_name(metric)} ({unit})" if unit else metric_name(metric)
