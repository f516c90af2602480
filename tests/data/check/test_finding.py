"""How what a check has found is told."""

from __future__ import annotations

from omnifm.data.check.finding import caution, error, lines_of


def test_what_is_wrong_alike_with_many_rows_is_one_line() -> None:
    many = [caution(f"t.csv, row {row}", "its masks are empty.") for row in (2, 3, 4, 5, 8, 10, 11, 12, 13)]
    few = [caution(f"u.csv, row {row}", "its masks are empty.") for row in range(2, 10)]
    others = [error("t.csv, row 6", "is black."), error("t.csv", "is odd.")]
    assert list(lines_of([others[0], *many[:3], *few, *many[3:], others[1]])) == [
        "t.csv, row 6: is black.",
        "t.csv, each of 9 rows (2-5, 8, 10-13): its masks are empty.",
        *(f"u.csv, row {row}: its masks are empty." for row in range(2, 10)),
        "t.csv: is odd.",
    ]
