"""Tables are written as they are, so that they can be joined with others."""

import csv
from pathlib import Path

from cggm.data.files import write_csv


def test_ids_are_written_unchanged(tmp_path: Path) -> None:
    ids = ["-3YZa$1", "=1+1", "+49", "@home", "a,b", 'say "a"', "'quoted'", " line\nbreak "]
    write_csv(tmp_path / "table.csv", [{"id": name, "value": 1.5} for name in ids])
    with open(tmp_path / "table.csv", newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == ids
