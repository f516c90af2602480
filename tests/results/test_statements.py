from __future__ import annotations

import shutil
from pathlib import Path

from comparison_folder import Score, arm, failed_arm, write_comparison_folder
from run_folder import EVALUATION_POINTS, change_result, write_run

from omnifm.results.findings import read_findings
from omnifm.results.statements import statements

CLIENTS = ("T1", "T2", "CT", "PET", "US", "XR")


def said(out: Path) -> list[str]:
    return [text.replace("−", "-") for text in statements(read_findings(out))]  # noqa: RUF001


def compared(out: Path, *arms: dict[str, object], score: Score, **more: object) -> list[str]:
    return said(write_comparison_folder(out, arms, score, CLIENTS, **more))  # type: ignore[arg-type]


def clear(name: str, seed: int, level: float, point: str, place: int) -> float:
    """Differences between arms vary little, so that they are clear."""
    base = {"omnifm": 0.7, "fedavg": 0.4}.get(name, 0.6)
    return round(base + 0.02 * place + 0.001 * ((7 * seed + 3 * place + len(name)) % 5), 4)


def test_a_run_names_the_best_arm_and_counts_gains(tmp_path: Path) -> None:
    first, second, *_ = said(write_run(tmp_path / "r", {"local": "local", "fedavg": "fedavg", "omnifm": "omnifm"}))
    assert first == (
        "Before local training, omnifm has the best mean test accuracy of 2 federated arms: 0.386; +0.080 "
        "[+0.080, +0.080] compared with hospitals training alone (local), clearly better: "
        "2 of 2 hospitals gain and 0 lose."
    )
    assert second.startswith("After local training, omnifm has the best mean test accuracy of 2 federated arms: 0.48")


def test_a_loss_is_said_as_plainly(tmp_path: Path) -> None:
    first = said(write_run(tmp_path / "r", {"omnifm": "omnifm", "pooled": "centralised", "alone": "local"}))[0]
    assert "omnifm, the only federated arm, has a mean test accuracy of 0.305" in first
    assert "-0.080 [-0.080, -0.080] compared with hospitals training alone (alone), clearly worse: 0 of 2" in first


def test_arms_that_tie_share_the_first_place(tmp_path: Path) -> None:
    out = write_run(tmp_path / "r", {"local": "local", "fedavg": "fedavg", "omnifm": "omnifm"})
    for name in ("fedavg", "omnifm"):
        change_result(
            out / name, test={r: {c: {"numbers": {"accuracy": 0.5}} for c in ("T1", "CT")} for r in EVALUATION_POINTS}
        )
    assert "fedavg and omnifm share the best mean" in said(out)[0]


def test_a_clear_gain_of_a_comparison(tmp_path: Path) -> None:
    texts = compared(tmp_path / "c", arm("omnifm", "omnifm"), arm("fedavg"), arm("local", "baseline"), score=clear)
    assert "omnifm has the best mean test accuracy of 2 federated arms: 0.75" in texts[0]
    assert "clearly better: 6 of 6 hospitals gain and 0 lose." in texts[0]
    assert "3 seeds have 10 distinct resamples" in texts[-1]
    assert texts[-1].endswith("The best arm is chosen by these same test scores, which flatters it slightly.")


def test_a_gain_within_its_interval_is_not_clear(tmp_path: Path) -> None:
    def wavering(name: str, seed: int, level: float, point: str, place: int) -> float:
        return 0.5 + (0.01 + (0.1 if (seed + place) % 2 else -0.1) if name == "omnifm" else 0.0)

    texts = compared(tmp_path / "c", arm("omnifm", "omnifm"), arm("local", "baseline"), score=wavering)
    assert "+0.010 [" in texts[0]
    assert "not clear:" in texts[0]


def test_without_clients_alone_the_gain_is_unknown(tmp_path: Path) -> None:
    texts = compared(tmp_path / "c", arm("omnifm", "omnifm"), arm("fedavg"), score=clear, seeds=(3,))
    assert "No arm trains each hospital alone, so what joining gains is unknown." in texts[0]
    assert "With one seed, intervals cover the choice of the 6 hospitals" in texts[-1]


def test_one_seed_and_one_client_prove_nothing(tmp_path: Path) -> None:
    texts = said(write_comparison_folder(tmp_path / "c", [arm("a"), arm("b")], clear, ("T1",), seeds=(3,)))
    assert "With one seed and one hospital there is no interval" in texts[-1]


def test_few_test_images_have_a_chance_of_their_own(tmp_path: Path) -> None:
    # 12 test images, best mean 0.486: 1.96 * sqrt(0.4855 * 0.5145 / 12) = 0.283.
    assert (
        "The 12 images of the smallest test set alone move its accuracy by about ±0.28"
        in said(write_run(tmp_path / "r", {"local": "local", "fedavg": "fedavg", "omnifm": "omnifm"}))[-1]
    )


def test_arms_without_results_are_named(tmp_path: Path) -> None:
    assert "Without results so far: moon and x." in compared(
        tmp_path / "c", arm("omnifm", "omnifm"), failed_arm("moon", "a"), failed_arm("x", "b"), score=clear
    )
    out = write_run(tmp_path / "r", {"local": "local", "fedavg": "fedavg"})
    shutil.rmtree(out / "fedavg")
    assert said(out) == [
        "No arm that trains clients together has results: nothing can be ranked.",
        "Without results so far: fedavg.",
    ]


def test_sweeps_are_not_ranked(tmp_path: Path) -> None:
    texts = compared(tmp_path / "c", arm("omnifm", "sweep"), arm("local", "baseline"), score=clear)
    assert texts == ["Sweeps are shown but not ranked."]
