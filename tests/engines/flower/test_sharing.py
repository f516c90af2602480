"""What is loaded for a hospital is its own."""

from __future__ import annotations

from pathlib import Path

from fake_grid import write_hospital

from omnifm.engines.flower.hospital import read_hospital
from omnifm.engines.flower.sharing import load_hospital, told, understood
from omnifm.experiment import make_plan

SOURCE = {"kind": "phantom_questions", "modalities": ["CT", "PET"], "patients": 12, "questions": 2}


def test_in_a_trial_a_hospital_tells_the_answers_of_its_own_patients_only(tmp_path: Path) -> None:
    plan = make_plan({"task": "vqa", "data": {"size": 32, "answer_patients": 2, "sources": [SOURCE]}})
    (experiment,) = plan.arms.values()
    found = {}
    for name in ("CT", "PET"):
        data = {"sources": [SOURCE], "client": name, "cache": str(tmp_path)}
        hospital = read_hospital(write_hospital(tmp_path, name, data=data))
        cohort = load_hospital(understood(told(experiment), hospital), hospital)
        assert [client.name for client in cohort.clients] == [name]
        found[name] = set(cohort.vocabulary)
    assert "ct" in found["CT"] - found["PET"]  # the modality, of which some questions are
    assert "pet" in found["PET"] - found["CT"]
