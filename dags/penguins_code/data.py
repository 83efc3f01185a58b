"""The 344 penguins of the PyPI package `palmerpenguins`, as a CSV file."""

from __future__ import annotations

import csv
import importlib.util
import io
import os
import tempfile
from pathlib import Path

SPECIES = ["Adelie", "Chinstrap", "Gentoo"]
PENGUINS = 344


def prepare(folder: str | Path) -> bool:
    """Writes `penguins.csv` to `folder`; returns False when it is there already."""
    file = Path(folder) / "penguins.csv"
    content = penguins_csv()
    if file.exists() and file.read_bytes() == content:
        return False
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent.parent, prefix=".penguins-") as beside:
        whole = Path(beside) / file.name
        whole.write_bytes(content)
        os.replace(whole, file)
    return True


def penguins_csv() -> bytes:
    """All penguins; a species becomes its index in SPECIES, and "NA" an empty cell."""
    with (_package_folder() / "data" / "penguins.csv").open(encoding="utf-8", newline="") as source:
        rows = list(csv.DictReader(source))
    if len(rows) != PENGUINS:
        raise ValueError(f"expected {PENGUINS} penguins in palmerpenguins, found {len(rows)}")
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        known = {name: "" if cell == "NA" else cell for name, cell in row.items()}
        writer.writerow(known | {"species": str(SPECIES.index(row["species"]))})
    return text.getvalue().encode()


def _package_folder() -> Path:
    spec = importlib.util.find_spec("palmerpenguins")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the penguins are in a package: pip install palmerpenguins")
    return Path(spec.origin).parent
