"""`chappie up` over a fake trader and a fake venue; the arguments are those of `chappie up`.

The fake trader's own arguments come from ``FAKE_TRADER``. The command that the real trader would
have been started with is appended to the file ``FAKE_COMMANDS``.
"""

import json
import os
import sys

from chappie.cli import embedded, up
from chappie.cli.main import main
from chappie.guardian import leftovers

_real_command = up._command


def _fake_command(config_file: str | None, sets: "up.Sequence[str]") -> tuple[str, ...]:
    real = _real_command(config_file, sets)
    if path := os.environ.get("FAKE_COMMANDS"):
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(real[3:]) + "\n")
    fake = os.environ.get("FAKE_TRADER", "0 forever").split()
    return (sys.executable, "-m", "tests.guardian.fake_trader", *fake)


up._command = _fake_command
embedded._COMMAND = (sys.executable, "-m", "tests.cli.fake_venue")
embedded.EmbeddedVenue.__init__.__defaults__ = (embedded._COMMAND,)

# Nobody answers at the fake venue, and a look at it lasts as long as it may: each of a start and of
# an end some seconds, which prove something only where everything else is deaf too.
if os.environ.get("FAKE_VENUE") != "deaf":
    leftovers._BEFORE_START_S = 0.5
    _last_look = leftovers.Leftovers.last_look

    async def _short_look(self: leftovers.Leftovers, within_s: float) -> None:
        await _last_look(self, min(within_s, 0.5))

    leftovers.Leftovers.last_look = _short_look  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(main(["up", *sys.argv[1:]]))
