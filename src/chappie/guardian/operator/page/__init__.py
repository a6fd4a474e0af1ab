"""The operator page: files that are served as they are, with no build step and no third party."""

from importlib import resources
from typing import NamedTuple


class File(NamedTuple):
    kind: str
    body: bytes


def _file(name: str, kind: str) -> File:
    return File(kind, resources.files(__name__).joinpath(name).read_bytes())


FILES: dict[str, File] = {
    "/": _file("page.html", "text/html"),
    "/page.css": _file("page.css", "text/css"),
    "/page.js": _file("page.js", "text/javascript"),
    "/parts.js": _file("parts.js", "text/javascript"),
    "/chart.js": _file("chart.js", "text/javascript"),
    "/words.js": _file("words.js", "text/javascript"),
}
"""By the path that they are served under; read once, so a damaged installation fails at start."""
