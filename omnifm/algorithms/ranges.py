"""Ranges of an algorithm's parameters; the experiment file is held to them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
