"""What changes anything over the API: who may, in which words, and what is told to listeners."""

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import aiohttp
import msgspec
import pytest

from chappie.guardian.operator import feed, token
from chappie.guardian.operator.api import Api, bind
from chappie.guardian.shown import Setting, TraderState, merge
from chappie.guardian.ward import HaltDone, Resumed
from chappie.journal.framing import JournalError
from tests.guardian.states import healthy

SETTING = Setting(False, "cycle", "simulated", "XBTUSD", "c0ffee")
DONE = HaltDone(True, True, True, None, 0, 0, [])
TOKEN = "T" * 43


class FakeOperator:
    """Remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.done = DONE
        self.resumed = Resumed(True, "enough", "the trader is started again")

    async def halt(self, reason: str, flatten: bool, by: str) -> HaltDone:
        self.asked.append(("halt", reason, flatten))
        return self.done

    async def resume(self, reason: str, by: str) -> Resumed:
        self.asked.append(("resume", reason))
        return self.resumed


class Served:
    """An API on a free port, and raw requests to it."""

    def __init__(self, make_token: Callable[[], str] = lambda: TOKEN) -> None:
        self.operator = FakeOperator()
        self.state = merge(SETTING, healthy(), 0.0, True, TraderState(pid=7, beat_age_s=0.1))
        self.api = Api(bind("127.0.0.1", 0), lambda: self.state, 5.0, self.operator, make_token)

    async def post(
        self,
        path: str,
        body: bytes,
        bearer: str | None = TOKEN,
        **headers: str,
    ) -> tuple[int, dict[str, object], Mapping[str, str]]:
        sent = {"Content-Type": "application/json", **headers}
        if bearer is not None:
            sent["Authorization"] = f"Bearer {bearer}"
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.api.url + path, data=body, headers=sent) as answer,
        ):
            return answer.status, msgspec.json.decode(await answer.read()), answer.headers


def served(
    scene: Callable[[Served], Awaitable[None]], make_token: Callable[[], str] = lambda: TOKEN
) -> Served:
    async def play() -> Served:
        made = Served(make_token)
        await made.api.start()
        try:
            async with asyncio.timeout(20.0):
                await scene(made)
        finally:
            await made.api.stop()
        return made

    return asyncio.run(play())


# --- who may


@pytest.mark.parametrize("path", ["/api/halt", "/api/resume"])
@pytest.mark.parametrize("given", [None, "", "wrong", TOKEN[:-1], TOKEN + "T", "ü"])
def test_without_the_token_nothing_is_done(path: str, given: str | None) -> None:
    async def scene(there: Served) -> None:
        status, _, headers = await there.post(path, b'{"reason":"x"}', given)
        assert status == 401
        assert headers["WWW-Authenticate"].startswith("Bearer")

    assert served(scene).operator.asked == []


def test_the_scheme_is_part_of_it() -> None:
    async def scene(there: Served) -> None:
        for wrong in (TOKEN, f"Basic {TOKEN}", f"Bearer{TOKEN}"):
            assert (await there.post("/api/halt", b"{}", None, Authorization=wrong))[0] == 401
        right = f"bearer  {TOKEN} "
        assert (await there.post("/api/halt", b"{}", None, Authorization=right))[0] == 200

    served(scene)


def test_who_guesses_is_slowed_down_and_the_operator_is_not() -> None:
    async def scene(there: Served) -> None:
        codes = [(await there.post("/api/halt", b"{}", f"guess{n}"))[0] for n in range(12)]
        assert codes == [401] * 10 + [429] * 2
        assert (await there.post("/api/halt", b"{}"))[0] == 200

    served(scene)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Host": "evil.example"},
    ],
)
def test_a_page_in_a_browser_cannot_halt_even_with_the_token(headers: dict[str, str]) -> None:
    async def scene(there: Served) -> None:
        status, _, _ = await there.post("/api/halt", b"{}", TOKEN, **headers)
        assert status in (403, 415)

    assert served(scene).operator.asked == []


def test_while_no_token_can_be_written_the_answer_says_how_to_halt() -> None:
    full = [True]

    def make() -> str:
        if full:
            raise JournalError("no space left on device")
        return TOKEN

    async def scene(there: Served) -> None:
        status, body, _ = await there.post("/api/halt", b"{}")
        assert status == 503
        assert "chappie halt" in str(body["error"])
        full.clear()
        assert (await there.post("/api/halt", b"{}"))[0] == 200

    served(scene, make)


# --- in which words


@pytest.mark.parametrize(
    ("path", "body", "names"),
    [
        ("/api/halt", b"", ""),
        ("/api/halt", b"[]", "object"),
        ("/api/halt", b'{"flatten":1}', "flatten"),
        ("/api/halt", b'{"flatten":"true"}', "flatten"),
        ("/api/halt", b'{"flatten":null}', "flatten"),
        ("/api/halt", b'{"reason":7}', "reason"),
        ("/api/halt", b'{"flaten":true}', "flaten"),
        ("/api/halt", b'{"reason":"\xff"}', ""),
        ("/api/halt", b'{"reason":"' + b"x" * 301 + b'"}', "reason"),
        ("/api/halt", b"[" * 10_000, ""),
        ("/api/resume", b"{}", "reason"),
        ("/api/resume", b'{"reason":"  "}', "reason"),
        ("/api/resume", b'{"reason":"x","flatten":true}', "flatten"),
    ],
)
def test_a_body_that_is_not_understood_is_400_and_names_the_field(
    path: str, body: bytes, names: str
) -> None:
    async def scene(there: Served) -> None:
        status, answer, _ = await there.post(path, body)
        assert status == 400
        assert names in str(answer["error"])

    assert served(scene).operator.asked == []


def test_what_is_asked_for_is_passed_on_without_what_moves_a_cursor() -> None:
    async def scene(there: Served) -> None:
        await there.post("/api/halt", b'{"flatten":true,"reason":" too \\u001b[2J hot "}')
        await there.post("/api/halt", b"{}")
        status, body, _ = await there.post("/api/resume", b'{"reason":"cool"}')
        assert (status, body["halt"]) == (200, "enough")

    assert served(scene).operator.asked == [
        ("halt", "too \\x1b[2J hot", True),
        ("halt", "the operator halted over the API", False),
        ("resume", "cool"),
    ]


@pytest.mark.parametrize(
    ("done", "status"),
    [
        (DONE, 200),
        (HaltDone(True, True, True, False, 0, 5, ["refused"]), 409),
        (HaltDone(False, True, True, None, 0, 5, ["no latch"]), 504),
        (HaltDone(True, False, True, None, 0, 5, ["no answer"]), 504),
        (HaltDone(True, True, False, None, None, None, ["no read"]), 504),
    ],
)
def test_only_a_halt_of_which_everything_holds_is_200(done: HaltDone, status: int) -> None:
    async def scene(there: Served) -> None:
        there.operator.done = done
        found, body, _ = await there.post("/api/halt", b"{}")
        assert (found, body) == (status, msgspec.to_builtins(done))

    served(scene)


def test_a_resume_that_is_refused_is_409_in_words() -> None:
    async def scene(there: Served) -> None:
        there.operator.resumed = Resumed(False, None, "another halt")
        status, body, _ = await there.post("/api/resume", b'{"reason":"x"}')
        assert (status, body["words"]) == (409, "another halt")

    served(scene)


def test_a_body_that_is_too_large_or_never_comes_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chappie.guardian.operator.api._BODY_WITHIN_S", 0.2)

    async def scene(there: Served) -> None:
        assert (await there.post("/api/halt", b" " * 20_000))[0] == 413
        head = (
            f"POST /api/halt HTTP/1.1\r\nHost: {there.api.url.removeprefix('http://')}\r\n"
            f"Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
        )
        for body, status in (
            ("Transfer-Encoding: chunked\r\n\r\n" + ("4000\r\n" + " " * 0x4000 + "\r\n") * 3, 413),
            ("Content-Length: 20\r\n\r\n{", 408),
        ):
            port = int(there.api.url.rpartition(":")[2])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write((head + body).encode())
            assert int((await reader.readuntil(b"\r\n")).split()[1]) == status
            writer.close()

    assert served(scene).operator.asked == []


# --- the token on disk


def test_a_token_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    made = token.ensure(tmp_path)
    assert len(made) == 43
    assert stat.S_IMODE((tmp_path / token.FILE).stat().st_mode) == 0o600
    assert token.ensure(tmp_path) == made == token.read(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [token.FILE]


@pytest.mark.parametrize("spoil", ["mode", "empty", "short", "link", "folder"])
def test_a_token_that_cannot_be_trusted_is_made_anew(tmp_path: Path, spoil: str) -> None:
    old = token.ensure(tmp_path)
    path = tmp_path / token.FILE
    if spoil == "mode":
        path.chmod(0o640)
    elif spoil in ("empty", "short"):
        path.write_text("" if spoil == "empty" else "short\n")
    elif spoil == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.unlink()
        path.mkdir()
        assert token.read(tmp_path) is None
        with pytest.raises(JournalError):
            token.ensure(tmp_path)
        return
    assert token.read(tmp_path) is None
    new = token.ensure(tmp_path)
    assert new != old
    assert token.read(tmp_path) == new
    assert not path.is_symlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_token_of_another_user_is_not_trusted(tmp_path: Path) -> None:
    token.ensure(tmp_path)
    os.chown(tmp_path / token.FILE, 4711, 4711)
    assert token.read(tmp_path) is None


# --- events


async def listening(there: Served, session: aiohttp.ClientSession) -> aiohttp.ClientResponse:
    answer = await session.get(f"{there.api.url}/api/events")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/event-stream"
    return answer


async def next_event(answer: aiohttp.ClientResponse) -> dict[str, str]:
    fields: dict[str, str] = {}
    while line := (await answer.content.readline()).decode().rstrip("\n"):
        name, _, value = line.partition(": ")
        fields[name] = value
    return fields


def test_a_listener_gets_the_picture_then_changes_and_the_log_numbered() -> None:
    async def scene(there: Served) -> None:
        async with aiohttp.ClientSession() as session:
            answer = await listening(there, session)
            assert await next_event(answer) == {"retry": "2000"}
            first = await next_event(answer)
            assert first["event"] == "state"
            assert msgspec.json.decode(first["data"])["mode"] == "observing"
            there.api.feed.log(b'{"event":"halt_asked"}')
            seen = [first]
            while seen[-1]["event"] != "log":
                seen.append(await next_event(answer))
            assert seen[-1]["data"] == '{"event":"halt_asked"}'
            numbers = [int(event["id"]) for event in seen]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
            there.state = merge(SETTING, None, 0.0, False, TraderState())
            event = seen[-1]
            while event["event"] != "state" or '"stopped"' not in event["data"]:
                event = await next_event(answer)
            answer.close()

    served(scene)


def test_listeners_are_bounded_and_one_that_does_not_read_is_let_go() -> None:
    async def scene(there: Served) -> None:
        made = [there.api.feed.listen() for _ in range(feed.LISTENERS_MAX)]
        assert all(made)
        async with aiohttp.ClientSession() as session:
            assert (await session.get(f"{there.api.url}/api/events")).status == 503
            for _ in range(1_000):
                there.api.feed.log(b"{}")
            await asyncio.sleep(0.05)
            assert all(one is not None and one.is_over for one in made)
            (await listening(there, session)).close()

    served(scene)


def test_the_end_of_the_api_ends_every_stream() -> None:
    async def scene(there: Served) -> None:
        async with aiohttp.ClientSession() as session:
            answer = await listening(there, session)
            await next_event(answer)
            await there.api.stop()
            async with asyncio.timeout(5.0):
                while await answer.content.readline():
                    continue

    served(scene)
