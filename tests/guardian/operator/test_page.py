"""The operator page in a browser: what is said first, what is not live, who may press what."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import msgspec
import pytest

from chappie.guardian.operator.api import Api, bind
from chappie.guardian.operator.page import FILES
from chappie.guardian.restarts import CRASH_LOOP
from chappie.guardian.shown import HaltState, Setting, Shown, TraderState, merge
from chappie.guardian.ward import Resumed
from chappie.live.state_dir import LastStop
from chappie.model.enums import Stream
from chappie.model.faults import FAULTS, Fault, StopReason
from chappie.model.state import DecisionState, FaultState, FillState, Mode, State, StreamState
from tests.guardian.browser import Tab, find, tab
from tests.guardian.operator.test_api_posts import TOKEN, FakeOperator
from tests.guardian.states import healthy, order

BROWSER = find()
in_a_browser = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium is installed: apt-get install chromium"
)
NASTY = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
TEXT = "document.getElementById('{}').textContent"


def iso(s: float) -> str:
    return datetime.fromtimestamp(s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def state(**other: object) -> State:
    now = time.time()
    return msgspec.structs.replace(
        healthy(), at=iso(now), mode=Mode.TRADING, allow_trade=True, **other
    )


def shown(state: State | None, running: bool = True, **trader: object) -> Shown:
    setting = Setting(True, "cycle", "simulated", "XBTUSD", "c0ffee")
    facts = {"pid": 7, "beat_age_s": 0.1, **trader}
    return merge(setting, state, 0.0, running, TraderState(**facts))  # type: ignore[arg-type]


def stale() -> Shown:
    """The market went silent and the budget is low."""
    faults = [
        FaultState(fault.value, subject, since_s, detail, FAULTS[fault].clears)
        for fault, subject, since_s, detail in (
            (Fault.MARKET_STALE, "quote", 7.5, NASTY),
            (Fault.BUDGET_LOW, "", 2.0, "8 left"),
        )
    ]
    return shown(msgspec.structs.replace(state(), mode=Mode.FAULTED, faults=faults))


class Page:
    """An API with this picture, and a tab that looks at it."""

    def __init__(self, picture: Shown) -> None:
        self.picture = picture
        self.operator = FakeOperator()
        self.tab: Tab
        self.api = Api(bind("127.0.0.1", 0), self._look, 5.0, self.operator, lambda: TOKEN)

    def _look(self) -> Shown:
        # Its time goes on, as a living trader's does.
        if self.picture.at is not None and self.picture.mode is not Mode.STOPPED:
            return msgspec.structs.replace(self.picture, at=iso(time.time()))
        return self.picture

    async def text(self, name: str) -> str:
        return str(await self.tab.run(TEXT.format(name)))

    async def says(self, name: str, words: str) -> None:
        await self.tab.until(f"{TEXT.format(name)}.includes({msgspec.json.encode(words).decode()})")

    async def types(self, name: str, words: str) -> None:
        value = msgspec.json.encode(words).decode()
        await self.tab.run(f"document.getElementById('{name}').value = {value}")

    async def press(self, name: str) -> None:
        await self.tab.run(f"document.getElementById('{name}').click()")

    @property
    def complaints(self) -> list[str]:
        """What the browser found wrong; where a password field stands is no fault of a page."""
        return [line for line in self.tab.told if "[DOM]" not in line]


def looked_at(picture: Shown, folder: Path, scene: Callable[[Page], Awaitable[None]]) -> Page:
    async def play() -> Page:
        page = Page(picture)
        await page.api.start()
        assert BROWSER is not None
        try:
            async with (
                asyncio.timeout(90.0),
                tab(BROWSER, folder, page.api.url) as page.tab,
            ):
                await page.tab.until("document.body.className !== 'waiting'")
                await scene(page)
        finally:
            await page.api.stop()
        return page

    return asyncio.run(play())


STOP = LastStop("feed_stale", 10, "silence for 20 s", iso(0), [], None, False)
HALT = HaltState("too hot", "2026-01-01T00:00:00.000Z")
FIRST = [
    (shown(state()), "Trading", "All is well", ""),
    (
        shown(msgspec.structs.replace(state(), mode=Mode.OBSERVING, allow_trade=False)),
        "Not trading: observing",
        "bot.allow_trade is off",
        "bot.allow_trade = true",
    ),
    (
        stale(),
        "Not trading",
        "The market went silent; the venue's request budget is low.",
        FAULTS[Fault.MARKET_STALE].clears,
    ),
    (
        shown(state(), running=False, last_stop=STOP, next_start_s=7.0, pid=None),
        "Stopped",
        "No market data came any more: silence for 20 s",
        "starts again by itself in 7.0 s",
    ),
    (
        shown(state(), running=False, last_stop=STOP, pid=None),
        "Stopped",
        "No market data came any more",
        "stays down until a person",
    ),
    (
        msgspec.structs.replace(shown(state()), mode=Mode.HALTED, halt=HALT),
        "Halted",
        "A halt is latched: too hot",
        "resume",
    ),
    (shown(None, beat_age_s=None), "Not trading yet", "It is starting", ""),
]


@in_a_browser
def test_the_first_line_says_whether_it_trades_the_second_why_not(tmp_path: Path) -> None:
    async def scene(page: Page) -> None:
        for picture, headline, why, opens in FIRST:
            page.picture = picture
            await page.tab.until(f"{TEXT.format('headline')} === {headline!r}")
            await page.says("why", why)
            await page.says("opens", opens)

    page = looked_at(FIRST[-1][0], tmp_path, scene)
    assert page.complaints == []
    # Nothing but this server was asked for anything.
    assert {url.startswith(page.api.url) for url in page.tab.asked} == {True}


@in_a_browser
def test_each_gate_says_what_shut_it_since_when_and_what_opens_it(tmp_path: Path) -> None:
    async def scene(page: Page) -> None:
        await page.says("gates", "the market went silent (quote) for 7.5 s")
        shut = "[...document.querySelectorAll('#gates li.shut .gate')].map(x => x.textContent)"
        assert await page.tab.run(shut) == [
            "market data is complete and fresh",
            "requests are left, the clock is right",
        ]
        assert FAULTS[Fault.MARKET_STALE].clears in await page.text("gates")
        page.picture = shown(None, beat_age_s=None)
        # Of one that has not beaten yet nobody knows what holds, and a tick would be a lie.
        await page.tab.until("document.querySelectorAll('#gates li.unknown').length === 8")
        open_ = "[...document.querySelectorAll('#gates li.open .gate')].map(x => x.textContent)"
        assert await page.tab.run(open_) == ["a trader runs", "bot.allow_trade is on"]

    looked_at(stale(), tmp_path, scene)


@in_a_browser
def test_when_events_stop_the_page_greys_and_says_how_old_it_is(tmp_path: Path) -> None:
    async def scene(page: Page) -> None:
        await page.tab.until(f"{TEXT.format('headline')} === 'Trading'")
        assert await page.tab.run("document.getElementById('old').hidden")
        await page.api.stop()
        await page.says("old", "No news from the guardian for")
        assert await page.tab.run("document.body.className") == "stale"
        assert await page.text("headline") == "Not known (was: Trading)"
        assert await page.tab.run("getComputedStyle(document.querySelector('main')).opacity < 0.6")
        await page.says("old", "for 4.")

    looked_at(shown(state()), tmp_path, scene)


@in_a_browser
def test_a_silent_trader_is_not_shown_as_live_though_the_guardian_talks(tmp_path: Path) -> None:
    async def scene(page: Page) -> None:
        await page.says("old", "The trader is silent for")
        assert await page.tab.run("document.body.className") == "stale"

    looked_at(shown(state(), beat_age_s=3.0), tmp_path, scene)


@in_a_browser
def test_a_book_that_is_not_synced_is_not_shown_as_live(tmp_path: Path) -> None:
    async def scene(page: Page) -> None:
        await page.tab.until("document.getElementById('streams').textContent.includes('quote')")
        dead = "document.getElementById('book-box').classList.contains('dead')"
        assert not await page.tab.run(dead)
        streams = {one.value: StreamState(one is not Stream.BOOK, 0.1) for one in Stream}
        page.picture = shown(state(streams=streams))
        await page.tab.until(dead)
        assert await page.text("book-note") == "not live"
        page.picture = stale()
        await page.says("price", "not live")

    looked_at(shown(state()), tmp_path, scene)


@in_a_browser
def test_what_others_wrote_stays_text(tmp_path: Path) -> None:
    picture = shown(
        state(
            faults=[FaultState(NASTY, NASTY, 1.0, NASTY, NASTY)],
            orders=[msgspec.structs.replace(order(1), ord_status=NASTY, cl_ord_id=NASTY)],
            fills=[FillState(iso(0), NASTY, 1, 1.0)],
            symbol=NASTY,
            policy=NASTY,
            decision=DecisionState(1, iso(0), 100, NASTY, NASTY),
        )
    )
    picture = msgspec.structs.replace(picture, halt=HaltState(NASTY, NASTY), mode=Mode.HALTED)

    async def scene(page: Page) -> None:
        page.operator.resumed = Resumed(False, NASTY, NASTY)
        page.api.heard(
            "trader_stopped",
            {},
            msgspec.json.encode(
                {"event": "trader_stopped", "at": NASTY, "reason": NASTY, "detail": NASTY}
            ),
        )
        await page.says("timeline", f"trader stopped: {NASTY}")
        for where in ("why", "gates", "orders", "position", "who"):
            assert "<img" in await page.text(where), where
        await page.types("token", TOKEN)
        await page.types("reason", NASTY)
        for _ in range(2):
            await page.press("resume")
        await page.says("answer", NASTY)
        made = "document.querySelectorAll('main img, header img, section img').length"
        assert await page.tab.run(made) == 0
        assert "owned" not in str(await page.tab.run("document.title"))

    looked_at(picture, tmp_path, scene)


@in_a_browser
def test_no_script_runs_but_the_page_s_own(tmp_path: Path) -> None:
    async def scene(page: Page) -> None:
        await page.tab.run(
            "document.body.insertAdjacentHTML('beforeend', "
            "'<img src=x onerror=\"window.owned = 1\">'), "
            "document.body.append(Object.assign(document.createElement('script'), "
            "{textContent: 'window.owned = 1'}))"
        )
        elsewhere = "fetch('http://127.0.0.2:1/').then(() => 'sent', () => 'refused')"
        assert await page.tab.run(elsewhere) == "refused"
        assert await page.tab.run("window.owned") is None
        for directive in ("script-src", "connect-src"):
            assert [line for line in page.complaints if directive in line], page.tab.told

    looked_at(shown(state()), tmp_path, scene)


@in_a_browser
def test_halt_acts_at_once_and_needs_the_token(tmp_path: Path) -> None:
    async def scene(page: Page) -> None:
        await page.press("halt")
        await page.says("answer", "The token is missing")
        await page.types("token", "wrong")
        await page.press("halt")
        await page.says("answer", "Refused (401)")
        assert page.operator.asked == []
        await page.types("token", TOKEN)
        await page.types("reason", "too hot")
        await page.press("halt")
        await page.says("answer", "Halted: 0 orders of ours work, position 0.")
        assert page.operator.asked == [("halt", "too hot", False)]
        page.operator.done = msgspec.structs.replace(
            page.operator.done, verified=False, missing=["no read shows it"]
        )
        await page.press("halt")
        await page.says("answer", "The halt stands, but: no read shows it")
        # It is kept in memory only.
        kept = "document.cookie.length + localStorage.length + sessionStorage.length"
        assert await page.tab.run(kept) == 0

    looked_at(shown(state()), tmp_path, scene)


@in_a_browser
def test_what_adds_risk_is_pressed_twice_and_a_resume_has_a_reason(tmp_path: Path) -> None:
    async def scene(page: Page) -> None:
        await page.types("token", TOKEN)
        await page.press("resume")
        await page.says("resume", "Press again")
        assert page.operator.asked == []
        await page.press("resume")
        await page.says("answer", "A resume needs a reason.")
        await page.types("reason", "looked at it")
        await page.press("resume")
        await page.press("resume")
        await page.says("answer", "the trader is started again")
        await page.press("flatten")
        await page.press("flatten")
        await page.says("answer", "Halted")
        assert page.operator.asked == [
            ("resume", "looked at it"),
            ("halt", "looked at it", True),
        ]

    looked_at(shown(state()), tmp_path, scene)


@in_a_browser
@pytest.mark.parametrize(("width", "height"), [(320, 640), (768, 1024), (1400, 900)])
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone_and_a_desk_in_dark_and_light(
    tmp_path: Path, width: int, height: int, dark: bool
) -> None:
    async def scene(page: Page) -> None:
        await page.tab.size(width, height, dark)
        await page.tab.until(f"window.innerWidth === {width}")
        assert await page.tab.run("document.documentElement.scrollWidth") == width
        # The verdict and the way to the kill switch are on the first screen, the rest below.
        assert (
            await page.tab.run("document.querySelector('header').getBoundingClientRect().bottom")
            < height / 2
        )
        ground = await page.tab.run("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", str(ground)))) < 200) == dark
        tall = await page.tab.run("document.getElementById('halt').getBoundingClientRect().height")
        assert tall >= 44
        # Text against its ground, by the measure of WCAG, from bright to dim.
        for name in ("headline", "why", "gates", "streams"):
            assert await page.tab.run(CONTRAST.replace("NAME", name)) >= 4.5, name

    looked_at(stale(), tmp_path, scene)


CONTRAST = """(() => {
  const light = (css) => {
    const [r, g, b] = css.match(/[\\d.]+/g).slice(0, 3).map((one) => {
      const part = one / 255;
      return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  let ground = document.getElementById('NAME');
  const ink = light(getComputedStyle(ground).color);
  while (/rgba\\(0, 0, 0, 0\\)|transparent/.test(getComputedStyle(ground).backgroundColor)) {
    ground = ground.parentElement;
  }
  const under = light(getComputedStyle(ground).backgroundColor);
  return (Math.max(ink, under) + 0.05) / (Math.min(ink, under) + 0.05);
})()"""


def table(name: str) -> list[str]:
    """The keys of a table of words.js."""
    words = FILES["/words.js"].body.decode()
    (body,) = re.findall(rf"export const {name} = \{{\n(.*?)^\}};", words, re.DOTALL | re.MULTILINE)
    return re.findall(r"^  (\w+):", body, re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("MODES", [mode.value for mode in Mode]),
        ("FAULTS", [fault.value for fault in Fault]),
        ("STOPS", [*(reason.word for reason in StopReason), CRASH_LOOP]),
    ],
)
def test_the_page_has_words_for_everything_that_can_be(name: str, expected: list[str]) -> None:
    assert sorted(table(name)) == sorted(expected)


def test_every_fault_shuts_one_gate() -> None:
    words = FILES["/words.js"].body.decode()
    gates = words[words.index("export const GATES") :].partition("];\n\n")[0]
    shut = [name for name in re.findall(r'"(\w+)"', gates) if name in table("FAULTS")]
    assert sorted(shut) == sorted(fault.value for fault in Fault)


def test_nothing_is_written_as_markup_and_nothing_comes_from_elsewhere() -> None:
    for path, file in FILES.items():
        text = file.body.decode()
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert word not in text, path
        assert re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text) == [], path
        assert "Storage" not in text, path
        assert " style=" not in text, path


def test_the_files_are_served_with_a_strict_policy() -> None:
    async def play() -> None:
        api = Api(bind("127.0.0.1", 0), lambda: shown(state()), 5.0)
        await api.start()
        try:
            async with aiohttp.ClientSession() as session:
                for path, file in FILES.items():
                    async with session.get(api.url + path) as answer:
                        assert (answer.status, answer.content_type) == (200, file.kind)
                        policy = answer.headers["Content-Security-Policy"]
                        assert "default-src 'none'" in policy
                        assert "unsafe" not in policy
                        assert await answer.read() == file.body
        finally:
            await api.stop()

    asyncio.run(play())
