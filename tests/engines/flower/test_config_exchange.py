"""What is loaded for a hospital is its own."""

from __future__ import annotations

from pathlib import Path

from fake_grid import write_client_config

from omnifm.config.experiment import make_plan
from omnifm.engines.flower.client_config import read_client_config
from omnifm.engines.flower.config_exchange import load_client_data, localise, public_config

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
