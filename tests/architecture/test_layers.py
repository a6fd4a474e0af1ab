import ast
import tomllib
from pathlib import Path

import pytest

from tests.architecture.layers import LAYERS, layer_of, layer_offences
from tests.architecture.syntax import ROOT, Module, modules


def planted(name: str, text: str, *, package: bool = False) -> Module:
    file = "__init__.py" if package else "planted.py"
    return Module(name, Path(file), text, ast.parse(text))


def test_imports_point_down_and_foreign_packages_stay_in_their_place() -> None:
    offences = [offence for module in modules() for offence in layer_offences(module)]
    assert offences == []


def test_every_part_of_the_tree_has_a_row_and_every_row_a_part_of_the_tree() -> None:
    present = {layer.package for module in modules() if (layer := layer_of(module.name))}
    assert sorted(present) == sorted(layer.package for layer in LAYERS)


def test_no_row_allows_what_stands_above_it() -> None:
    order = [layer.package for layer in LAYERS]
    upward = [
        (layer.package, below)
        for position, layer in enumerate(LAYERS)
        for below in layer.below
        if order.index(below) >= position
    ]
    assert upward == []


def test_every_foreign_package_of_the_table_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["alerts"]]
    # A package is imported with an underscore where its name has a dash.
    names = [one.partition(">")[0].strip().replace("-", "_") for one in declared]
    used = {package for layer in LAYERS for package in layer.foreign}
    assert sorted(used) == sorted(names)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("chappie.model.planted", "from chappie.core import step"),
        ("chappie.model.planted", "import chappie.venues"),
        ("chappie.model.planted", "import aiohttp"),
        ("chappie.model.planted", "def late():\n    from chappie.live import shell"),
        ("chappie.venues.interface", "from chappie.venues.bitmex import wire"),
        ("chappie.venues.interface", "from .bitmex import wire"),
        ("chappie.core.planted", "from chappie.venues.bitmex import wire"),
        ("chappie.core.planted", "from chappie.journal import segments"),
        ("chappie.core.planted", "from .. import live"),
        ("chappie.core.planted", "from chappie import live"),
        ("chappie.core.planted", "import picows"),
        ("chappie.policies.planted", "from chappie.core import step"),
        ("chappie.journal.planted", "from chappie.live import shell"),
        ("chappie.live.planted", "from chappie.simvenue import exchange"),
        ("chappie.live.planted", "from chappie.guardian import watch"),
        ("chappie.live.planted", "import rich.table"),
        ("chappie.simvenue.planted", "from chappie.live import shell"),
        ("chappie.simvenue.planted", "from chappie.model import units"),
        ("chappie.simvenue.planted", "import aiohttp"),
        ("chappie.simvenue.planted", "from chappie.simvenue.server import serve"),
        ("chappie.simvenue.server", "from chappie.core import step"),
        ("chappie.guardian.planted", "from chappie.cli import main"),
        ("chappie.guardian.planted", "from chappie.simulation import world"),
        ("chappie.simulation.planted", "from chappie.guardian import guardian"),
        ("chappie.simulation.planted", "from chappie.live import trader"),
        ("chappie.guardian.planted", "import requests"),
        ("chappie.newcomer.planted", "import math"),
        ("chappie", "from chappie.model import units"),
    ],
)
def test_a_planted_import_is_reported(name: str, text: str) -> None:
    assert len(layer_offences(planted(name, text, package=name == "chappie"))) == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("chappie.core.planted", "from chappie.model.units import Ticks\nimport math, msgspec"),
        ("chappie.core.planted", "from . import faults"),
        ("chappie.venues.bitmex.wire", "from ..interface import Session"),
        ("chappie.live.planted", "import picows, asyncio\nfrom chappie.venues.bitmex import wire"),
        ("chappie.simvenue.server", "import aiohttp\nfrom chappie.simvenue.venue import Venue"),
        ("chappie.guardian.planted", "from chappie import __version__"),
        ("chappie.simulation.planted", "from chappie.guardian.restarts import judge"),
    ],
)
def test_an_import_that_points_down_is_not_reported(name: str, text: str) -> None:
    assert layer_offences(planted(name, text)) == []
