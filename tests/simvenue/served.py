"""Run the venue's server as a process of its own: `python -m tests.simvenue.served OPTIONS`.

Prints one line of JSON when it listens. Clients that we did not write, and tests of the real
sockets, start it this way.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    import msgspec

    from chappie.simvenue.options import VenueOptions
    from chappie.simvenue.server import Ready, serve

    options = msgspec.json.decode(sys.argv[1], type=VenueOptions)

    def ready(where: Ready) -> None:
        sys.stdout.write(msgspec.json.encode(where).decode() + "\n")
        sys.stdout.flush()

    asyncio.run(serve(options, ready))


@contextmanager
def served(*, env: dict[str, str] | None = None, **options: Any) -> Iterator[dict[str, Any]]:
    """A venue in a process of its own; where it listens, and its process under `process`.

    It is tied to this process by a lifeline, so it cannot be left behind.
    """
    lifeline, ours = os.pipe()
    python = os.environ.get("CHAPPIE_PYTHON", sys.executable)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))}
    environment |= env or {}
    text = json.dumps({"lifeline_fd": lifeline, **options})
    process = subprocess.Popen(
        [python, "-m", "tests.simvenue.served", text],
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=(lifeline,),
        env=environment,
        cwd=ROOT,
    )
    os.close(lifeline)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, "the venue did not start; its complaint is above"
        yield {**json.loads(line), "process": process, "lifeline": ours}
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()
        os.close(ours)


if __name__ == "__main__":
    main()
