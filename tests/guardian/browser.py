"""A headless Chromium that tests look through, spoken to by its DevTools protocol."""

import asyncio
import base64
import contextlib
import itertools
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_STARTS_WITHIN_S = 30.0
_ANSWERS_WITHIN_S = 20.0
_EVERY_S = 0.1


def find() -> str | None:
    """The program, where one is installed."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Tab:
    """One page. ``told`` is what it logged: console messages, exceptions, refused requests."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.told: list[str] = []
        self.asked: list[str] = []
        self._reading = asyncio.create_task(self._read())

    async def send(self, method: str, **params: object) -> dict[str, Any]:
        number = next(self._ids)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        await self._socket.send_json({"id": number, "method": method, "params": params})
        try:
            answer = await asyncio.wait_for(future, _ANSWERS_WITHIN_S)
        finally:
            del self._waiting[number]
        assert "error" not in answer, (method, answer)
        result: dict[str, Any] = answer["result"]
        return result

    async def run(self, script: str) -> Any:
        """The value of an expression; a promise is waited for."""
        answer = await self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, script: str) -> Any:
        """Wait until an expression is true, or fail with what the page shows instead."""
        # What the page does not have yet is not there: no error, only not now.
        careful = f"(() => {{ try {{ return {script} }} catch {{ return false }} }})()"
        for _ in range(int(_ANSWERS_WITHIN_S / _EVERY_S)):
            if value := await self.run(careful):
                return value
            await asyncio.sleep(_EVERY_S)
        raise AssertionError((script, await self.run("document.body.innerText"), self.told))

    async def size(self, width: int, height: int, dark: bool = False) -> None:
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])

    async def picture(self, path: Path) -> None:
        shot = await self.send("Page.captureScreenshot", captureBeyondViewport=True)
        await asyncio.to_thread(path.write_bytes, base64.b64decode(shot["data"]))

    async def _read(self) -> None:
        async for message in self._socket:
            word = message.json()
            if "id" in word:
                waiting = self._waiting.get(word["id"])
                if waiting is not None and not waiting.done():
                    waiting.set_result(word)
            elif word["method"] in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
                self.told.append(str(word["params"]))
            elif word["method"] == "Log.entryAdded":
                self.told.append(word["params"]["entry"]["text"])
            elif word["method"] == "Network.requestWillBeSent":
                self.asked.append(word["params"]["request"]["url"])

    def close(self) -> None:
        self._reading.cancel()


@contextlib.asynccontextmanager
async def tab(program: str, folder: Path, url: str) -> AsyncIterator[Tab]:
    """A browser of its own with this page open; it is gone at the end of the block."""
    process = await asyncio.create_subprocess_exec(
        program,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--hide-scrollbars",
        "--disable-background-networking",
        "--remote-debugging-port=0",
        f"--user-data-dir={folder}",
        "about:blank",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "HOME": str(folder)},
        start_new_session=True,
    )
    try:
        port = await _port(folder)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                pages = [one for one in await answer.json() if one["type"] == "page"]
            address = pages[0]["webSocketDebuggerUrl"]
            async with session.ws_connect(address, max_msg_size=0) as socket:
                made = Tab(socket)
                for domain in ("Page", "Runtime", "Log", "Network"):
                    await made.send(f"{domain}.enable")
                await made.send("Page.navigate", url=url)
                yield made
                made.close()
    finally:
        # Its own session: the renderers go with it, and nothing else does.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _port(folder: Path) -> int:
    """The browser writes where it listens into a file: the port and a path, one line each."""
    file = folder / "DevToolsActivePort"
    for _ in range(int(_STARTS_WITHIN_S / _EVERY_S)):
        # Made empty and filled after: both lines must be there.
        lines = file.read_text().splitlines() if file.exists() else []
        if len(lines) == 2:
            return int(lines[0])
        await asyncio.sleep(_EVERY_S)
    raise AssertionError("the browser did not start")
