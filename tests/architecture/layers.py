"""The table of layers: who may import whom, and which foreign package may be used where."""

import sys
from collections.abc import Iterable
from typing import NamedTuple

from tests.architecture.syntax import Module, imports, within


class Layer(NamedTuple):
    """A part of the tree, the parts below it that it may import, and its foreign packages."""

    package: str
    below: tuple[str, ...]
    foreign: tuple[str, ...]


MODEL = "chappie.model"
VENUES = "chappie.venues"
BITMEX = "chappie.venues.bitmex"
REGISTRY = "chappie.venues.registry"
POLICIES = "chappie.policies"
CORE = "chappie.core"
JOURNAL = "chappie.journal"
REPLAY = "chappie.replay"
SIMVENUE = "chappie.simvenue"
SIMVENUE_SERVER = "chappie.simvenue.server"
LIVE = "chappie.live"
RESTARTS = "chappie.guardian.restarts"
ERRANDS = "chappie.guardian.errands"
GUARDIAN = "chappie.guardian"
SIMULATION = "chappie.simulation"
CLI = "chappie.cli"

# From the bottom up. A module belongs to the layer with the longest package name that fits it.
LAYERS = (
    Layer(MODEL, (), ("msgspec",)),
    # The interface that every dialect fills; it knows no dialect.
    Layer(VENUES, (MODEL,), ("msgspec",)),
    Layer(BITMEX, (MODEL, VENUES), ("msgspec",)),
    # The one table that names the dialects; the shells look theirs up in it.
    Layer(REGISTRY, (MODEL, VENUES, BITMEX), ("msgspec",)),
    Layer(POLICIES, (MODEL,), ("msgspec",)),
    # The core speaks to every venue in the same words, so no dialect is in reach of it.
    Layer(CORE, (MODEL, VENUES, POLICIES), ("msgspec",)),
    Layer(JOURNAL, (MODEL, VENUES, BITMEX, REGISTRY, POLICIES, CORE), ("msgspec",)),
    # A core driven by what the journal holds; which dialect it speaks is told from above.
    Layer(REPLAY, (MODEL, CORE, JOURNAL), ("msgspec",)),
    # The venue is the witness against us: it shares nothing with us, not even units.
    Layer(SIMVENUE, (), ("msgspec",)),
    Layer(SIMVENUE_SERVER, (SIMVENUE,), ("msgspec", "aiohttp")),
    Layer(
        LIVE,
        (MODEL, VENUES, BITMEX, REGISTRY, POLICIES, CORE, JOURNAL),
        ("msgspec", "aiohttp", "picows", "uvloop", "yarl"),
    ),
    # Pure: when a stopped trader is started again, what the guardian asks of the venue, and when.
    # The simulated supervisor runs them too.
    Layer(RESTARTS, (MODEL,), ("msgspec",)),
    Layer(ERRANDS, (MODEL, VENUES, CORE), ("msgspec",)),
    Layer(
        SIMULATION,
        (MODEL, VENUES, BITMEX, REGISTRY, POLICIES, CORE, JOURNAL, SIMVENUE, RESTARTS, ERRANDS),
        ("msgspec",),
    ),
    Layer(
        GUARDIAN,
        (
            MODEL,
            VENUES,
            BITMEX,
            REGISTRY,
            POLICIES,
            CORE,
            JOURNAL,
            LIVE,
            SIMVENUE,
            RESTARTS,
            ERRANDS,
        ),
        ("msgspec", "aiohttp", "apprise", "prometheus_client", "yarl"),
    ),
    Layer(
        CLI,
        (
            MODEL,
            VENUES,
            BITMEX,
            REGISTRY,
            POLICIES,
            CORE,
            JOURNAL,
            REPLAY,
            LIVE,
            SIMVENUE,
            SIMVENUE_SERVER,
            SIMULATION,
            RESTARTS,
            ERRANDS,
            GUARDIAN,
        ),
        ("msgspec", "rich"),
    ),
    Layer("chappie.__main__", (CLI,), ()),
)

ROOT_PACKAGE = "chappie"
"""It holds the version; every layer may read that, and it imports nothing."""


def layer_of(name: str, layers: Iterable[Layer] = LAYERS) -> Layer | None:
    """The most particular layer that a module or an imported name belongs to."""
    fitting = [layer for layer in layers if within(name, layer.package)]
    return max(fitting, key=lambda layer: len(layer.package), default=None)


def layer_offences(module: Module) -> list[str]:
    """Every import that points up or sideways, or at a foreign package out of its place."""
    layer = layer_of(module.name)
    if layer is None:
        if module.name == ROOT_PACKAGE:
            layer = Layer(ROOT_PACKAGE, (), ())
        else:
            return [f"{module.name}: has no row in the table of layers"]
    found = []
    for line, name in imports(module):
        top = name.partition(".")[0]
        if top == ROOT_PACKAGE:
            target = layer_of(name)
            if target is None:
                allowed = name in (f"{ROOT_PACKAGE}.__version__", ROOT_PACKAGE)
            else:
                allowed = target.package in (layer.package, *layer.below)
        else:
            allowed = top in sys.stdlib_module_names or top in layer.foreign
        if not allowed:
            found.append(f"{module.name}:{line}: {layer.package} may not import {name}")
    return found
