"""Tests that pages name, looked for in the syntax of their files: no page sends anyone astray."""

import ast
from functools import cache

from tests.conftest import ROOT


@cache
def names_in(file: str) -> frozenset[str]:
    """The names of the tests of a file, given from the root of the repository."""
    path = ROOT / file
    if not path.is_file():
        return frozenset()
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = (node.name for node in nodes if isinstance(node, kinds))
    return frozenset(name for name in found if name.startswith("test_"))


def missing(tests: tuple[str, ...]) -> list[str]:
    """Those of the tests, as pytest names them without parameters, that are not there."""
    split = [(test, *test.split("::")) for test in tests]
    return [test for test, file, name in split if name not in names_in(file)]
