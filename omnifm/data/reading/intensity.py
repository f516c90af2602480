"""From the numbers of a file to [0, 1], by a rule that is stated in the experiment and the same for every client."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from omnifm.data.reading.medical_image import MedicalImage
from omnifm.utils.errors import DataError
from omnifm.utils.settings import Positive, settings

RuleName = Literal["auto", "full_range", "percentile", "window", "zscore"]
_Percent = Annotated[float, Field(ge=0, le=100)]
_FROM_LIST = Field(strict=False)  # behind the validator below, a list of JSON is one of Python
CT_WINDOW = (0.0, 2000.0)
"""Centre and width, in Hounsfield units, in which ``auto`` reads CT: from air to dense bone."""
TWELVE_BITS = 4095.0
DEVIATIONS = 3.0
"""``zscore`` shows as many standard deviations to each side of the mean."""


@settings
class IntensityRule:
    """How numbers become intensities in [0, 1]; what lies outside is cut off.

    ``rule`` is one of

    - ``auto``: by what is known of an image. Unsigned 8 bits: divided by 255. DICOM's MR, PT and NM: ``percentile``.
      CT, in DICOM or in a signed or floating type: the window from -1000 to 1000 HU. Other unsigned numbers of at most
      16 bits in DICOM, PNG, TIFF and NumPy: ``full_range``, where 16 bits of which only 12 are used count as 12. All
      others: ``percentile``.
    - ``full_range``: all that the type or the header's number of bits allows, or of ``bits`` bits.
    - ``percentile``: from the lower to the upper of ``percentiles`` of an image's values, negative ones too.
    - ``window``: ``window``, a centre and a width in the file's own numbers (of CT, HU); without one, the header's.
    - ``zscore``: from 3 standard deviations below the mean of an image to 3 above.
    """

    rule: RuleName = "auto"
    window: Annotated[tuple[float, Positive], _FROM_LIST] | None = None
    percentiles: Annotated[tuple[_Percent, _Percent], _FROM_LIST] = (0.5, 99.5)
    bits: Annotated[int, Field(ge=0, le=32)] = 0

    def __post_init__(self) -> None:
        if self.percentiles[0] >= self.percentiles[1]:
            raise ValueError(f"percentiles = {list(self.percentiles)}: the first must be below the second")
        if self.window is not None and self.rule != "window":
            raise ValueError(f"window is given, but rule = {self.rule!r} does not use it: set rule = 'window'")
        if self.bits and self.rule != "full_range":
            raise ValueError(f"bits is given, but rule = {self.rule!r} does not use it: set rule = 'full_range'")

    def apply(self, image: MedicalImage, modality: str = "") -> NDArray[np.float32]:
        """Return the values of an image in [0, 1].

        Args:
            image: as it was read.
            modality: as the settings say, where the header says nothing.

        Raises:
            DataError: values are not finite, or the rule needs what the file does not say.
        """
        values = image.values
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise DataError(f"{image.path}: holds values that are not finite. Replace the file.")
        low, high = self.limits(image, modality)
        with np.errstate(over="ignore"):
            unit = values.astype(np.float32)
            if low:
                unit -= np.float32(low)
            unit /= np.float32(high - low)  # in place: of a large image there is one copy, not two
        return np.clip(unit, 0, 1, out=unit)

    def limits(self, image: MedicalImage, modality: str = "") -> tuple[float, float]:
        """Return the numbers of an image that become 0 and 1; the first is the lower."""
        automatic = _automatic(image, modality) if self.rule == "auto" else None
        rule, window = automatic or (self.rule, self.window)
        if rule == "full_range":
            return self._full_range(image)
        if rule == "window":
            window = window or image.window
            if window is None:
                raise DataError(f"{image.path}: its header says no window. Set one, such as window = [40.0, 400.0].")
            return window[0] - window[1] / 2, window[0] + window[1] / 2
        if rule == "zscore":
            values = image.values.astype(np.float64)
            mean, spread = float(values.mean()), float(values.std()) * DEVIATIONS
            return (mean - spread, mean + spread) if spread else (mean, mean + 1.0)
        return self._percentiles(image.values)

    def _full_range(self, image: MedicalImage) -> tuple[float, float]:
        if self.bits:
            return 0.0, float(2**self.bits - 1)
        if image.value_range is None:
            raise DataError(
                f"{image.path}: neither its type ({image.values.dtype}) nor its header says which values are possible. "
                "Set bits, or another rule of intensity, such as 'percentile'."
            )
        low, high = image.value_range
        if self.rule == "auto" and (low, high) == (0.0, 65535.0) and image.values.max() <= TWELVE_BITS:
            return low, TWELVE_BITS
        return low, high

    def _percentiles(self, values: NDArray[Any]) -> tuple[float, float]:
        low, high = (float(value) for value in np.percentile(values, self.percentiles))
        if not low < high:  # nearly all voxels are of one value
            low, high = float(values.min()), float(values.max())
        return (low, high) if low < high else (low, low + 1.0)


def _automatic(image: MedicalImage, modality: str) -> tuple[str, tuple[float, float] | None]:
    """Return the rule, and the window, by which ``auto`` reads an image."""
    values, limits = image.values, image.value_range
    if values.dtype == np.uint8:
        return "full_range", None
    if image.modality in ("MR", "PT", "NM"):
        return "percentile", None
    if image.modality == "CT" or (modality.upper() == "CT" and values.dtype.kind in "if"):
        return "window", CT_WINDOW
    if limits is not None and limits[0] >= 0:
        return "full_range", None
    return "percentile", None


def _by_name(value: Any) -> Any:
    return {"rule": value} if isinstance(value, str) else value


Intensity = Annotated[IntensityRule, BeforeValidator(_by_name, json_schema_input_type=RuleName | IntensityRule)]
"""A setting: the name of a rule, or a table with its parameters."""
