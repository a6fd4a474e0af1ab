"""Asking the guardian of a state folder over its operator API, past any proxy."""

import http.client
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from chappie.guardian.instance import Run, read_run
from chappie.guardian.operator import token

BODY_BYTES_MAX = 4 << 20
_STATE_WITHIN_S = 3.0


class SilentError(Exception):
    """The guardian gave no usable answer; the message says why."""


class NobodyError(Exception):
    """Nobody answers for this state folder; the message is the line for the operator."""


def state(state_dir: Path) -> bytes:
    """The body of `/api/state` of who runs there. Raises `NobodyError`."""
    status, body = ask(state_dir, "/api/state")
    if status != 200:
        raise NobodyError(f"the guardian in {state_dir} answers with status {status}")
    return body


def ask(state_dir: Path, path: str) -> tuple[int, bytes]:
    """Status and body of a read, from who runs there. Raises `NobodyError`."""
    run = read_run(state_dir)
    if run is None or not run.is_alive:
        raise NobodyError(f"nothing runs in {state_dir}")
    if run.operator is None:
        raise NobodyError(
            f"a trader runs alone in {state_dir} (pid {run.pid}): "
            f"it serves no state; see {state_dir / 'trader.log'}"
        )
    try:
        return get(run, path, _STATE_WITHIN_S)
    except SilentError as error:
        raise NobodyError(str(error)) from error


def get(run: Run, path: str, within_s: float) -> tuple[int, bytes]:
    """Status and body. Raises `SilentError`."""
    return _request(run, "GET", path, within_s)


def post(run: Run, path: str, body: object, state_dir: Path, within_s: float) -> tuple[int, bytes]:
    """With the token of the folder. Raises `SilentError`."""
    bearer = token.read(state_dir)
    if bearer is None:
        raise SilentError(f"{state_dir / token.FILE} cannot be read")
    headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"}
    return _request(run, "POST", path, within_s, msgspec.json.encode(body), headers)


def _request(
    run: Run,
    method: str,
    path: str,
    within_s: float,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, bytes]:
    parts = urlsplit(run.operator or "")
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=within_s)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read(BODY_BYTES_MAX)
    except (OSError, http.client.HTTPException) as error:
        why = str(error) or type(error).__name__
        raise SilentError(
            f"the guardian (pid {run.pid}) does not answer at {run.operator}: {why}"
        ) from error
    finally:
        connection.close()
