import ast
from typing import NamedTuple

import pytest

from tests.architecture.purity import gathered, purity_offences
from tests.architecture.syntax import modules, within

PURE = (
    "chappie.model",
    "chappie.venues",
    "chappie.policies",
    "chappie.core",
    # What the guardian decides, run by its shell and by the simulation alike.
    "chappie.guardian.restarts",
    "chappie.guardian.errands",
    "chappie.guardian.alerts.happenings",
    "chappie.guardian.alerts.flow",
    "chappie.guardian.alerts.noticed",
    "chappie.guardian.alerts.words",
)
SIMVENUE = "chappie.simvenue"
SIMULATION = "chappie.simulation"


class Exemption(NamedTuple):
    """What one module may do beyond the others, and why."""

    modules: tuple[str, ...]
    calls: tuple[str, ...]
    reason: str


# These three do the input and output of the venue and are no further checked.
SHELL_OF_THE_VENUE = (
    "chappie.simvenue.server",
    "chappie.simvenue.store",
    "chappie.simvenue.tapefile",
)

# Runs many seeds in many processes and looks at the clock to say how fast.
SHELL_OF_THE_SIMULATION = ("chappie.simulation.campaign",)

EXEMPTIONS: dict[str, Exemption] = {
    "chappie.simulation.disk": Exemption(("pathlib",), (), "names the files that it does not open"),
    "chappie.simulation.process": Exemption(("traceback",), (), "says where a bug was"),
    "chappie.simvenue.tape": Exemption(("pathlib",), (), "hands the recording's path to tapefile"),
}


def test_pure_layers_have_no_clock_no_io_no_chance_and_no_order_of_sets() -> None:
    checked = [
        module
        for module in modules()
        if any(within(module.name, package) for package in (*PURE, SIMVENUE, SIMULATION))
        and module.name not in (*SHELL_OF_THE_VENUE, *SHELL_OF_THE_SIMULATION)
    ]
    assert len(checked) >= len(PURE) + 1
    names = gathered(module.tree for module in checked)
    offences = []
    for module in checked:
        exemption = EXEMPTIONS.get(module.name, Exemption((), (), ""))
        # The market of the venue draws from a generator with a seed, handed in or made from one;
        # so does whatever goes wrong in the simulation.
        seeded = within(module.name, SIMVENUE) or within(module.name, SIMULATION)
        also = ("random",) if seeded else ()
        found = purity_offences(
            module.tree,
            also_modules=(*also, *exemption.modules),
            also_calls=exemption.calls,
            names=names,
        )
        offences += [f"{module.name}:{offence}" for offence in found]
    assert offences == []


def test_every_exemption_is_still_needed() -> None:
    present = [module.name for module in modules()]
    for name in (*SHELL_OF_THE_VENUE, *SHELL_OF_THE_SIMULATION, *EXEMPTIONS):
        assert name in present


@pytest.mark.parametrize(
    "module",
    [
        "asyncio",
        "concurrent.futures",
        "ctypes",
        "importlib",
        "io",
        "logging",
        "multiprocessing",
        "os",
        "os.path",
        "pathlib",
        "random",
        "secrets",
        "select",
        "signal",
        "socket",
        "sqlite3",
        "subprocess",
        "sys",
        "tempfile",
        "threading",
        "time",
        "urllib.request",
        "uuid",
        "zoneinfo",
    ],
)
def test_a_planted_import_is_reported(module: str) -> None:
    assert purity_offences(ast.parse(f"import {module}")) == [f"1: import of {module}"]
    assert purity_offences(ast.parse(f"def late():\n    from {module} import something")) == [
        f"2: import of {module}"
    ]


CALLS = [
    "open('file')",
    "print('word')",
    "input()",
    "hash('word')",
    "id(object())",
    "eval('1')",
    "exec('1')",
    "__import__('time')",
]


@pytest.mark.parametrize("text", CALLS)
def test_a_planted_call_is_reported(text: str) -> None:
    assert len(purity_offences(ast.parse(text))) == 1


CLOCKS = [
    "from datetime import datetime\ndatetime.now()",
    "from datetime import datetime, UTC\ndatetime.now(UTC)",
    "from datetime import datetime as moment\nmoment.utcnow()",
    "from datetime import date\ndate.today()",
    "import datetime\ndatetime.datetime.now(datetime.UTC)",
    "import datetime\ndatetime.date.today()",
    "from datetime import datetime\ndatetime.fromtimestamp(0)",
    "from datetime import datetime\ndatetime.fromisoformat('2021-07-22T00:00Z').astimezone()",
]


@pytest.mark.parametrize("text", CLOCKS)
def test_a_planted_clock_is_reported(text: str) -> None:
    assert len(purity_offences(ast.parse(text))) == 1


SHAPES = [
    "async def step():\n    pass",
    "count = 0\ndef step():\n    global count\n    count += 1",
]


@pytest.mark.parametrize("text", SHAPES)
def test_a_planted_coroutine_or_global_is_reported(text: str) -> None:
    assert len(purity_offences(ast.parse(text))) == 1


CHANCES = [
    "import random\nrandom.random()",
    "import random\nrandom.shuffle([1, 2])",
    "import random as chance\nchance.seed(1)",
    "import random\nrandom.Random()",
    "import random\nrandom.SystemRandom()",
    "from random import choice",
    "from random import Random\nRandom()",
]


@pytest.mark.parametrize("text", CHANCES)
def test_chance_without_a_seed_is_reported_even_where_chance_is_allowed(text: str) -> None:
    assert len(purity_offences(ast.parse(text), also_modules=("random",))) == 1


def test_chance_with_a_seed_is_allowed_in_the_venue_and_nowhere_else() -> None:
    tree = ast.parse("from random import Random\ngenerator = Random(7)\ngenerator.random()")
    assert purity_offences(tree, also_modules=("random",)) == []
    assert purity_offences(tree) == ["1: import of random"]


SETS = [
    "for x in {1, 2}:\n    pass",
    "for x in {y for y in (1, 2)}:\n    pass",
    "for x in set((1, 2)):\n    pass",
    "for x in frozenset((1, 2)):\n    pass",
    "[x for x in {1, 2}]",
    "any(x for x in {1, 2})",
    "{x: 1 for x in set('ab')}",
    "s = {1, 2}\nfor x in s:\n    pass",
    "s: frozenset[int] = make()\nlist(s)",
    "def f(s: set[int]) -> None:\n    for x in s:\n        pass",
    "def f(s: 'set[int] | None') -> list[int]:\n    return [x for x in s or ()]",
    "def f(*, s: AbstractSet[int]) -> tuple[int, ...]:\n    return tuple(s)",
    "def f(a, b):\n    return list(a.keys() & b.keys())",
    "def f(a, b):\n    for x in set(a) - b:\n        pass",
    "def f(a):\n    for x in set(a).union('b'):\n        pass",
    "def f(a):\n    return ','.join({str(x) for x in a})",
    "def f(s: set[int]) -> int:\n    return s.pop()",
    "def f(s: set[int]) -> int:\n    return next(iter(s))",
    "def f(s: set[int]) -> list[int]:\n    return [*s]",
    "def f(s: set[int]) -> None:\n    g(*s)",
    "def f(s: set[int]) -> None:\n    yield from s",
    "def f(s: set[int]) -> None:\n    a, b = s",
    "def f(s: set[int]) -> str:\n    return f'{s}'",
    "def f(s: set[int]) -> str:\n    return str(s)",
    "def f(s: set[int]) -> int:\n    return min(s, key=abs)",
    "def f() -> set[int]:\n    ...\nfor x in f():\n    pass",
    "class C:\n    s: set[int]\n    def f(self):\n        for x in self.s:\n            pass",
    "class C:\n    def f(self):\n        self.s = set()\n        return list(self.s)",
]


@pytest.mark.parametrize("text", SETS)
def test_a_planted_iteration_of_a_set_is_reported(text: str) -> None:
    assert len(purity_offences(ast.parse(text))) == 1


def test_a_set_declared_in_one_module_is_known_in_another() -> None:
    declaring = ast.parse("class Order:\n    flags: frozenset[str]")
    using = ast.parse("def f(order):\n    return [flag for flag in order.flags]")
    names = gathered([declaring, using])
    assert purity_offences(using, names=names) == ["2: iterates a set"]
    assert purity_offences(using) == []


PURE_TEXTS = [
    "import math, json\nfrom urllib.parse import quote\nfrom collections.abc import Mapping",
    "from datetime import UTC, datetime\ndatetime.fromtimestamp(0, UTC)",
    "from datetime import UTC, datetime\ndatetime.fromisoformat('2021-07-22T00:00Z').timestamp()",
    "for x in sorted({2, 1}):\n    pass",
    "found = 1 in {1, 2}\nlen({1, 2})\nmax({1, 2})",
    "for x in {1: 2}:\n    pass",
    "for x in {1: 2}.keys():\n    pass",
    "def f(s: set[int]) -> bool:\n    return 3 in s",
    "def f(s: set[int]) -> None:\n    ...\ndef g(s: list[int]) -> int:\n    return s.pop()",
    "def f(a: int, b: int) -> list[int]:\n    return list(range(a - b))",
    "class C:\n    now: int\n    def f(self) -> int:\n        return self.clock.now()",
    "values = [3]\nvalues.pop()",
    "class C:\n    def f(self):\n        return self.id(3)",
]


@pytest.mark.parametrize("text", PURE_TEXTS)
def test_what_is_pure_is_not_reported(text: str) -> None:
    assert purity_offences(ast.parse(text)) == []
