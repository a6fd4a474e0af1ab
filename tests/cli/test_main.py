"""The command line as a whole: quick to answer, clear when it is misused."""

import subprocess
import sys

import pytest

from chappie.cli.main import main


def test_help_names_every_command_and_loads_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    for name in ("up", "trade", "venue", "status", "resume", "replay"):
        assert f"  {name} " in shown


@pytest.mark.parametrize(
    "arguments",
    [[], ["trad"], ["trade", "--nonsense"], ["trade", "--conf", "x"], ["venue", "--port", "70000"]],
)
def test_misuse_is_one_line_and_64(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 64
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "--help" in error


def test_help_imports_neither_sockets_nor_the_venue() -> None:
    code = (
        "import sys\nfrom chappie.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted({'aiohttp', 'picows', 'asyncio', 'rich'} & set(sys.modules)))"
    )
    path = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=path)
    assert done.stdout.splitlines()[-1] == "[]"
