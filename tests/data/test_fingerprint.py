from __future__ import annotations

from omnifm.data.fingerprint import Fingerprint, ReadFile, ReadFiles, pseudonym

KEY, OTHER = bytes(32), bytes([1] * 32)


def fingerprint(labels: str = "ab", key: bytes = KEY, **files: str) -> Fingerprint:
    read = ReadFiles()
    for name, content in files.items():
        read.add(f"{name}.png", len(content), content)
    return Fingerprint.of(tuple(labels), read.files, key)


def test_the_same_data_have_no_differences() -> None:
    assert fingerprint(x="1", y="2").changes_to(fingerprint(y="2", x="1")) == []


def test_differences_are_counted_and_named() -> None:
    then, now = fingerprint(x="1", y="2", z="3"), fingerprint("abc", x="1", y="22", v="5", w="6")
    assert then.changes_to(now) == [
        "the class 'c' was added",
        "1 file was changed, such as y.png",
        "2 files were added, such as v.png",
        "1 file was removed, such as z.png",
    ]
    assert now.changes_to(then)[0] == "the class 'c' is gone"
    assert fingerprint("ab").changes_to(fingerprint("ba")) == ["the classes are in another order"]


def test_a_file_of_which_only_the_digest_is_known_is_not_named() -> None:
    recorded = Fingerprint(("a",), fingerprint(x="1").files)
    assert recorded.changes_to(fingerprint("a")) == ["1 file was removed"]


def test_neither_names_nor_contents_can_be_told_without_the_key() -> None:
    one, other = fingerprint(x="1"), fingerprint(x="1", key=OTHER)
    assert one.files.keys().isdisjoint(other.files.keys())
    assert {file.digest for file in one.files.values()}.isdisjoint(file.digest for file in other.files.values())
    assert pseudonym(KEY, "Meier, Anna") == pseudonym(KEY, "Meier, Anna") != pseudonym(OTHER, "Meier, Anna")
    assert one.digest() != fingerprint(x="2").digest()
    assert next(iter(one.files.values())) == ReadFile(1, pseudonym(KEY, "1"))
