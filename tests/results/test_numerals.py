from __future__ import annotations

import math

import pytest

from omnifm.results.numerals import metric_name, metric_title, number, places, signed


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([0.1234], "0.123"),
        ([0.0], "0.000"),
        ([0.02], "0.020"),
        ([0.00123456], "0.00123"),
        ([9.8765], "9.877"),
        ([9.99999], "10.00"),
        ([30.1234], "30.12"),
        ([123.456], "123.5"),
        ([12345.6], "12346"),
        ([-30.1234], "−30.12"),  # noqa: RUF001
    ],
)
def test_four_digits_at_most_three_decimals(values: list[float], text: str) -> None:
    assert number(values[0], places(values)) == text


def test_the_largest_decides_for_all() -> None:
    assert places([0.1, 30.0, None, math.nan, math.inf]) == 2
    assert places([]) == places([None]) == 3


def test_differences_bear_their_sign() -> None:
    assert [signed(v) for v in (0.5, -0.5, 0.0001, -0.0001)] == ["+0.500", "−0.500", "±0.000", "±0.000"]  # noqa: RUF001
    assert signed(-0.004, 2) == "±0.00"
    assert signed(1.234, 2) == "+1.23"


def test_nothing_is_a_dash() -> None:
    assert number(None) == "–"  # noqa: RUF001


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        ("accuracy", "accuracy"),
        ("macro_f1", "macro F1"),
        ("token_f1", "token F1"),
        ("auc", "AUC"),
        ("dice_whole_tumour", "Dice, whole tumour"),
        ("hd95_enhancing", "HD95, enhancing"),
        ("psnr_bicubic", "PSNR, bicubic"),
        ("accuracy_closed_frequent", "accuracy, closed frequent"),
        ("mutual_information", "mutual information"),
        ("closeness", "closeness"),
    ],
)
def test_metrics_are_written_as_people_do(metric: str, name: str) -> None:
    assert metric_name(metric) == name


def test_units_stand_behind() -> None:
    assert metric_title("psnr_bicubic") == "PSNR, bicubic (dB)"
    assert metric_title("ssim") == "SSIM"
