"""A letter in Flower's records: its bytes in one array, beside it what must be known before they are looked at."""

from __future__ import annotations

from importlib.metadata import version

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from omnifm.engines.flower.messages import FORMAT

KIND = "query"
"""The kind of all messages; what is asked, the letter says."""

_ABOUT, _LETTER, _BODY, _TYPE = "about", "letter", "body", "omnifm.letter"


def to_records(payload: bytes) -> RecordDict:
    """Put a letter into records, with its format and this program's version."""
    about = ConfigRecord({"format": FORMAT, "omnifm": version("omnifm")})
    array = Array(dtype="uint8", shape=(len(payload),), stype=_TYPE, data=payload)
    return RecordDict({_ABOUT: about, _LETTER: ArrayRecord({_BODY: array})})


def from_records(content: RecordDict, limit: int) -> bytes:
    """Take a letter out of its records.

    Raises:
        ValueError: there is none, it is of another format or version, or it is too large; says so.
    """
    try:
        about, array = content.config_records[_ABOUT], content.array_records[_LETTER][_BODY]
        form, other = about["format"], about["omnifm"]
    except KeyError:
        raise ValueError("the message is none of OmniFM's") from None
    own = version("omnifm")
    if form != FORMAT or other != own:
        raise ValueError(f"OmniFM {other!r} (letters of format {form!r}) cannot speak with OmniFM {own!r} ({FORMAT})")
    if len(array.data) > limit:
        raise ValueError(f"a message of {len(array.data) / 1e6:.1f} MB is larger than the {limit / 1e6:g} MB allowed")
    return bytes(array.data)
