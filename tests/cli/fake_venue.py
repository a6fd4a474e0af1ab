"""A venue that serves nothing: it says where it is and lives until its lifeline ends.

``FAKE_VENUE`` in the environment makes it worse: ``die``, ``mute``, ``babble``, ``deaf`` or
``taken`` (it dies if it is told which port to take).
"""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser()
    for name in ("--port", "--ready-fd", "--lifeline-fd"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--state", type=Path, required=True)
    args = parser.parse_args()
    how = os.environ.get("FAKE_VENUE", "")
    sys.stdout.write("people are told the secret: SECRET-SECRET-SECRET\n")
    sys.stdout.flush()
    names = sorted(name for name in os.environ if name.startswith("CHAPPIE_"))
    (args.state / "seen.json").write_text(
        json.dumps({"pid": os.getpid(), "names": names, "port": args.port})
    )
    if how == "die" or (how == "taken" and args.port):
        sys.stderr.write("the store is broken\x1b[2J\n")
        return 3
    if how == "mute":
        time.sleep(60)
    ready = {
        "rest_url": "http://127.0.0.1:9/api/v1",
        "ws_url": "ws://127.0.0.1:9/realtime",
        "key": "KEY-KEY-KEY",
        "secret": "SECRET-SECRET-SECRET",
    }
    text = "what?" if how == "babble" else json.dumps(ready)
    os.write(args.ready_fd, text.encode() + b"\n")
    os.close(args.ready_fd)
    if how == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)
    os.read(args.lifeline_fd, 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
