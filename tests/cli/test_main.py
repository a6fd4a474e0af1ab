"""The command line as a whole: quick to answer, clear when it is misused."""

import subprocess
import sys

import pytest

from chappie.cli.main import _NAMES, main


def test_help_names_every_command_and_loads_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    for name in _NAMES:
        assert f"  {name} " in shown


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], f"chappie: no command; commands are {', '.join(_NAMES)}"),
        (["trad"], "unknown command 'trad' (did you mean 'trade'?); commands are up, trade"),
        (["nothing"], "unknown command 'nothing'; commands are up, trade"),
        (["--set", "bot.id=x", "up"], "'--set' stands where a command is expected"),
        (["trade", "--nonsense"], "chappie trade: unknown option '--nonsense'; see chappie trade"),
        (["trade", "--sett=secret"], "unknown option '--sett' (did you mean '--set'?)"),
        (["trade", "--conf", "x"], "unknown option '--conf' (did you mean '--config'?)"),
        (["up", "trade"], "chappie up: 'trade' is one argument too many"),
        (["status", "\x1b[2J"], "'\\x1b[2J' is one argument too many"),
        (["venue", "--port", "70000"], "70000 is not a port (0 to 65535)"),
        (["venue", "--rate", "1e9"], "1e9 is not a rate (0.1 to 2000)"),
    ],
)
def test_misuse_is_one_useful_line_and_64(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 64
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert says in error
    assert "--help" in error
    assert "secret" not in error


def test_every_command_has_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    for name in _NAMES:
        with pytest.raises(SystemExit) as caught:
            main([name, "--help"])
        assert caught.value.code == 0
        assert f"usage: chappie {name} " in capsys.readouterr().out


def test_help_imports_neither_sockets_nor_the_venue() -> None:
    code = (
        "import sys\nfrom chappie.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted({'aiohttp', 'picows', 'asyncio', 'rich'} & set(sys.modules)))"
    )
    path = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=path)
    assert done.stdout.splitlines()[-1] == "[]"
