"""What is loaded for a hospital is its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_grid import write_client_config

from omnifm.config.experiment import make_plan
from omnifm.engines.flower.client_config import read_client_config
from omnifm.engines.flower.config_exchange import load_client_data, localise, public_config
from omnifm.utils.errors import ExperimentError

SOURCE = {"kind": "phantom_questions", "modalities": ["CT", "PET"], "patients": 12, "questions": 2}


def test_in_a_trial_a_hospital_tells_the_answers_of_its_own_patients_only(tmp_path: Path) -> None:
    plan = make_plan({"task": "vqa", "data": {"size": 32, "answer_patients": 2, "sources": [SOURCE]}})
    (experiment,) = plan.arms.values()
    found = {}
    for name in ("CT", "PET"):
        data = {"sources": [SOURCE], "client": name, "cache": str(tmp_path)}
        hospital = read_client_config(write_client_config(tmp_path, name, data=data))
        dataset = load_client_data(localise(public_config(experiment), hospital), hospital)
        assert [client.name for client in dataset.clients] == [name]
        found[name] = set(dataset.vocabulary)
    assert "ct" in found["CT"] - found["PET"]  # the modality, of which some questions are
    assert "pet" in found["PET"] - found["CT"]


def test_the_rule_of_intensities_is_the_same_at_every_hospital(tmp_path: Path) -> None:
    rule = {"rule": "window", "window": [40.0, 400.0]}
    (experiment,) = make_plan({"data": {"intensity": rule}}).arms.values()
    hospital = read_client_config(write_client_config(tmp_path, "CT", data={"sources": [SOURCE]}))
    received = json.loads(json.dumps(public_config(experiment)))
    assert localise(received, hospital).data.intensity == experiment.data.intensity
    received["data"]["intensity"]["rule"] = "brightest"
    with pytest.raises(ExperimentError, match=r"data\.intensity\.rule: must be 'auto'"):
        localise(received, hospital)
