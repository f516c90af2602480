from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnifm.data.reading import IntensityRule, MedicalImage
from omnifm.data.reading.medical_image import as_stored, type_range
from omnifm.utils.errors import DataError


def image(values: Any, **header: Any) -> MedicalImage:
    values = np.asarray(values)
    return MedicalImage(Path("x"), values, as_stored(values.shape), **{"value_range": type_range(values), **header})


def unit(rule: IntensityRule, values: Any, modality: str = "", **header: Any) -> list[float]:
    return rule.apply(image(values, **header), modality)[0].tolist()


def test_automatic_rules_by_type_and_modality() -> None:
    auto = IntensityRule()
    assert unit(auto, np.uint8([[0, 51, 255]])) == pytest.approx([0, 0.2, 1])
    assert unit(auto, np.uint16([[0, 819, 4095]])) == pytest.approx([0, 0.2, 1])
    assert unit(auto, np.uint16([[0, 13107, 65535]])) == pytest.approx([0, 0.2, 1])
    assert unit(auto, np.int16([[-2000, 0, 1000]]), "CT") == pytest.approx([0, 0.5, 1])
    assert unit(auto, np.uint16([[0, 819, 4095]]), "CT") == pytest.approx([0, 0.2, 1])  # unsigned are no HU
    assert unit(auto, np.uint16([[0, 500, 4095]]), modality="x", **{"value_range": (0, 4095)}) == pytest.approx(
        [0, 500 / 4095, 1]
    )


def test_dicom_says_what_auto_needs() -> None:
    auto = IntensityRule()
    assert auto.limits(image(np.uint16([[0, 500]]), modality="CT")) == (-1000, 1000)
    assert auto.limits(image(np.arange(0, 2010, 10, dtype=np.uint16)[None], modality="MR")) == pytest.approx((10, 1990))
    assert auto.limits(image(np.uint16([[0, 500]]), modality="DX", value_range=(0.0, 1023.0))) == (0, 1023)


def test_percentiles_keep_the_negative_half() -> None:
    values = np.linspace(-3, 3, 201, dtype=np.float32)[None]
    made = IntensityRule().apply(image(values))
    assert made[0, 100] == pytest.approx(0.5, abs=1e-3)
    assert len(np.unique(made)) > 195
    assert IntensityRule("percentile", percentiles=(25.0, 75.0)).limits(image(values)) == pytest.approx((-1.5, 1.5))


def test_other_rules() -> None:
    assert unit(IntensityRule("window", window=(40.0, 80.0)), np.int16([[0, 40, 90]])) == [0, 0.5, 1]
    assert IntensityRule("window").limits(image(np.int16([[0]]), window=(10.0, 4.0))) == (8, 12)
    assert unit(IntensityRule("full_range", bits=10), np.uint16([[0, 1023]])) == [0, 1]
    assert unit(IntensityRule("full_range"), np.uint16([[0, 4095]]))[1] == pytest.approx(4095 / 65535)
    made = unit(IntensityRule("zscore"), [[-2.0, -1.0, 0.0, 1.0, 2.0]])
    assert made[2] == 0.5
    assert made[4] == pytest.approx(0.5 + 2 / np.sqrt(2) / 6)


def test_what_is_constant_or_nearly_so() -> None:
    assert unit(IntensityRule(), [[2.5, 2.5]]) == [0, 0]
    assert unit(IntensityRule("zscore"), [[2.5, 2.5]]) == [0, 0]
    sparse = np.zeros((1, 1000), np.float32)
    sparse[0, 7] = 4
    assert IntensityRule().limits(image(sparse)) == (0, 4)


def test_what_a_rule_needs_and_a_file_lacks() -> None:
    with pytest.raises(DataError, match="x: its header says no window"):
        IntensityRule("window").apply(image(np.int16([[0]])))
    with pytest.raises(DataError, match=r"x: neither its type \(float64\) nor its header says"):
        IntensityRule("full_range").apply(image([[0.5]]))
    with pytest.raises(DataError, match="x: holds values that are not finite"):
        IntensityRule().apply(image([[np.nan]]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"rule": "auto", "window": (1.0, 2.0)},
        {"rule": "auto", "bits": 12},
        {"rule": "window", "window": (1.0, 0.0)},
        {"rule": "percentile", "percentiles": (9.0, 9.0)},
        {"rule": "percentile", "percentiles": (0.0, 101.0)},
    ],
)
def test_settings_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"window|bits|percentiles"):
        IntensityRule(**wrong)
