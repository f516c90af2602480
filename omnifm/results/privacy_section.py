"""What a private run has promised the patients, and what it has spent, as a section of the report."""

from __future__ import annotations

from omnifm.results.charts import arm_styles, line_chart
from omnifm.results.curves import curves
from omnifm.results.findings import Findings
from omnifm.results.html import Section


def privacy_section(found: Findings) -> Section:
    """Return the section: a sentence for each arm, and the epsilon that the rounds have spent."""
    section = Section("privacy", "Privacy")
    promises = {
        arm.name: cell.result["privacy"] for arm in found.arms for cell in arm.cells if cell.result.get("privacy")
    }
    lines = {name: curve for name, curve in curves(found.main, "train", "epsilon").items() if name in promises}
    if not promises:
        return section
    for name, promise in promises.items():
        section.lead += (
            f"{name}: all that left a hospital is ({promise['epsilon']:.3g}, {promise['delta']:g})-differentially "
            f"private for each of its patients. "
        )
    section.lead += "Scores have noise too, and are of patients, not of images."
    if lines:
        section.add(line_chart(lines, arm_styles(found.arms), "round", "Epsilon spent", {}), "Epsilon spent by round")
    return section
