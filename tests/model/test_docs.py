"""The generated tables of the documentation."""

import subprocess
import sys
from pathlib import Path

import pytest

from chappie.core.gate import Denial
from chappie.model.faults import Fault, StopReason
from chappie.model.reports import WireRefusal
from scripts import tables

ROOT = Path(__file__).resolve().parents[2]


def test_the_tables_of_the_documentation_are_those_of_the_code() -> None:
    run = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "tables.py"), "--check"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")


def test_every_fault_denial_stop_and_refusal_stands_in_a_page() -> None:
    safety = (ROOT / "docs" / "safety.md").read_text(encoding="utf-8")
    for fault in Fault:
        assert f"| `{fault.value}` |" in safety
    for denial in Denial:
        assert f"| `{denial.name.lower()}` | {denial.value} |" in safety
    for reason in StopReason:
        assert f"| {reason.value} | `{reason.word}` |" in safety
    bitmex = (ROOT / "docs" / "bitmex.md").read_text(encoding="utf-8")
    for why in WireRefusal:
        assert f"| `{why.name.lower()}` | {why.value} |" in bitmex


def test_a_stale_table_is_found_and_rewritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    page = docs / "all.md"
    marks = "".join(f"<!-- table: {name} -->\nold\n<!-- end -->\n" for name in tables.TABLES)
    page.write_text("kept before\n" + marks + "kept after\n", encoding="utf-8")
    monkeypatch.setattr(tables, "ROOT", tmp_path)

    assert tables.main(["--check"]) == 1
    assert "stale: docs/all.md" in capsys.readouterr().err
    assert "old" in page.read_text(encoding="utf-8")

    assert tables.main([]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("kept before\n")
    assert text.endswith("kept after\n")
    assert "\nold\n" not in text
    assert tables.main(["--check"]) == 0


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("<!-- table: nonsense -->\n<!-- end -->\n", "nonsense"),
        ("<!-- table: faults -->\n", "not ended"),
    ],
)
def test_marks_that_mean_nothing_are_an_error(page: str, said: str) -> None:
    with pytest.raises(tables.StaleError, match=said):
        tables.rewritten(page)


def test_a_table_that_no_page_shows_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    assert tables.main(["--check"]) == 1
    assert "no page shows" in capsys.readouterr().err
