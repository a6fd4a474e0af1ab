"""What `docs/supervisors.md` and the Containerfile say stands in the program as well."""

import json
import re
import shlex
from pathlib import Path

import pytest

from chappie.cli.main import main

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "supervisors.md").read_text(encoding="utf-8")
FILE = (ROOT / "Containerfile").read_text(encoding="utf-8")


def listed(instruction: str) -> list[str]:
    """The JSON form of an instruction of the Containerfile."""
    (found,) = re.findall(rf"^\s*{instruction} (\[.*\])$", FILE, re.MULTILINE)
    words: list[str] = json.loads(found)
    return words


def accepted(arguments: list[str], tmp_path: Path) -> bool:
    """Whether the command line is understood; what nobody runs is 1, a wrong word is 64."""
    try:
        return main([*arguments, "--set", f"state.dir={tmp_path}"]) != 64
    except SystemExit as end:
        return end.code != 64


def test_the_probe_of_the_container_is_a_command_of_ours(tmp_path: Path) -> None:
    probe = re.findall(r"^    CMD (\[.*\])$", FILE, re.MULTILINE)
    program, *arguments = json.loads(probe[0])
    assert [program] == listed("ENTRYPOINT")
    assert accepted(arguments, tmp_path)


def test_what_is_copied_into_the_image_is_there() -> None:
    for line in re.findall(r"^COPY (.*)$", FILE, re.MULTILINE):
        *sources, _ = shlex.split(line)
        for source in sources:
            assert (ROOT / source).exists(), source


def test_every_probe_that_the_page_shows_is_understood(tmp_path: Path) -> None:
    shown = re.findall(r"`chappie (status --probe \w+)`", PAGE)
    shown += [
        words.replace(",", "") for words in re.findall(r"chappie, (status, --probe, \w+)", PAGE)
    ]
    assert len(shown) == 4
    for words in shown:
        assert accepted(words.split(), tmp_path), words


def test_the_probes_of_the_page_find_the_program_where_the_image_has_it() -> None:
    (program,) = listed("ENTRYPOINT")
    assert PAGE.count(f"[{program}, status") == 2


def test_the_unit_that_the_page_tells_of_can_be_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chappie.toml").write_text("")
    (line,) = [line for line in PAGE.splitlines() if line.startswith("chappie unit")]
    assert main(shlex.split(line.partition("|")[0])[1:]) == 0
    out = capsys.readouterr().out
    for word in ("KillMode=", "OOMPolicy=continue", "TimeoutStopSec=40", "WatchdogSec="):
        assert word in out
    assert PAGE.count("timeout 40") + PAGE.count("PeriodSeconds: 40") == 2
