"""The shapes that the annotations of spectral/ name are checked wherever tests call it, and only there."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from helpers import random_units
from jaxtyping import TypeCheckError

from omnifm.spectral.alignment import spectral_proximal_loss
from omnifm.spectral.bank import KnowledgeBank, Prototypes, retrieve
from omnifm.spectral.categorical import Categorical
from omnifm.spectral.spectrum import low_pass_log_amplitude


def test_a_wrong_shape_is_refused() -> None:
    token, prototypes = random_units(3, 4), random_units(6, 4).view(3, 2, 4)
    assert spectral_proximal_loss(token, prototypes).ndim == 0
    for wrong in (prototypes[:2], prototypes[..., :3], prototypes[:, 0]):
        with pytest.raises(TypeCheckError, match="prototypes"):
            spectral_proximal_loss(token, wrong)


def test_a_wrong_type_is_refused() -> None:
    with pytest.raises(TypeCheckError, match="image"):
        low_pass_log_amplitude(torch.zeros(1, 1, 8, 8, dtype=torch.int64))


def test_axes_and_types_are_those_of_the_annotation() -> None:
    with pytest.raises(TypeCheckError, match="entries"):
        retrieve(random_units(2, 4), random_units(5, 3), 2)
    with pytest.raises(TypeCheckError, match="sizes"):
        Prototypes("CT-1", "CT", random_units(3, 4), torch.ones(3))


def test_the_columns_of_a_bank_are_of_one_length() -> None:
    counts = torch.zeros(2, dtype=torch.int64)
    with pytest.raises(TypeCheckError, match="frequency"):
        KnowledgeBank(
            random_units(2, 4), counts, torch.zeros(3), counts, Categorical(counts, ("a",)), Categorical(counts, ("a",))
        )


def test_outside_tests_nothing_is_checked() -> None:
    code = (
        "import sys, torch; from omnifm.spectral import spectral_proximal_loss as loss; "
        "loss(torch.zeros(3, 4), torch.zeros(1, 2, 4)); assert 'beartype' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
