from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from omnifm.data.tables import read_table
from omnifm.utils.errors import DataError


def table(tmp_path: Path, text: str | bytes, columns: tuple[str, ...] = ()) -> pd.DataFrame:
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_table(path, columns)


@pytest.mark.parametrize(
    "text",
    [
        "image,label\nx.png,Größe\n",
        "image;label\r\nx.png;Größe\r\n",
        "image\tlabel\nx.png\tGröße",
        " image ; label \n x.png ; Größe ;\n;;\n",
        "\ufeffimage;label\nx.png;Größe\n",
        "\ufeffsep=;\nimage;label\nx.png;Größe\n",
        '"image","label"\n"x.png","Größe"\n',
        "image;label\nx.png;Größe\n".encode("latin-1"),
        "image\tlabel\nx.png\tGröße\n".encode("utf-16"),
    ],
)
def test_whatever_the_separator_and_the_encoding(tmp_path: Path, text: str | bytes) -> None:
    found = table(tmp_path, text, ("image", "label"))
    assert found.to_dict("records") == [{"image": "x.png", "label": "Größe"}]


def test_commas_within_values_do_not_separate(tmp_path: Path) -> None:
    found = table(tmp_path, "image;age;note\na.png;1,5;x, y\nb.png;2,5;\n")
    assert found["age"].tolist() == ["1,5", "2,5"]
    assert found["note"].tolist() == ["x, y", ""]


def test_rows_are_numbered_as_a_spreadsheet_does(tmp_path: Path) -> None:
    assert table(tmp_path, "a,b\n1,2\n\n3,4\n").index.tolist() == [2, 4]
    with pytest.raises(DataError, match=r"t\.csv, row 3: has 3 values, but the header names 2"):
        table(tmp_path, "a,b\n1,2\n1,2,3\n")


def test_columns_are_found_whatever_their_case(tmp_path: Path) -> None:
    assert table(tmp_path, "Image,LABEL,x\n1,2,3\n", ("image", "label")).columns.tolist() == ["image", "label", "x"]
    with pytest.raises(DataError, match=r"t\.csv: has no column 'label'. Did you mean 'labels'\?"):
        table(tmp_path, "image,labels\n1,2\n", ("image", "label"))
    assert table(tmp_path, ",a\n0,x\n").columns.tolist() == ["column 1", "a"]  # as pandas writes its index
    with pytest.raises(DataError, match="has two columns 'a'"):
        table(tmp_path, "a,a\n1,2\n")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"a,b\n\0\0", "null characters"),
        (b"PK\x03\x04....", "is a workbook"),
        (b"PAR1....", "Parquet"),
        (b"\xff\xfea", "is no text in utf-16"),
        (b'a,b\n"' + b"x" * 200_000 + b'",1\n', "is no table of text"),
    ],
)
def test_what_is_no_table(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(DataError, match=rf"t\.csv: .*{said}"):
        table(tmp_path, data)


def test_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    pd.DataFrame({"image": ["a", None], "label": [1.0, None]}).to_parquet(tmp_path / "t.parquet")
    found = read_table(tmp_path / "t.parquet")
    assert found.to_dict("split") == {"index": [2, 3], "columns": ["image", "label"], "data": [["a", "1"], ["", ""]]}
