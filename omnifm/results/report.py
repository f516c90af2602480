"""report.html (stub while the house is being built)."""
from pathlib import Path

def write_report(out: Path) -> Path:
    return out / "report.html"
