"""The source of chappie as syntax trees: modules by name, and what each of them imports."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src"


class Module(NamedTuple):
    """One source file: its dotted name, where it lies, its text and its syntax tree."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"


class Import(NamedTuple):
    """One imported name, absolute: ``chappie.model.units.Ticks``, ``asyncio``."""

    line: int
    name: str


def modules() -> list[Module]:
    """Every module of the package, sorted by path."""
    return [read(path) for path in sorted((SOURCE / "chappie").rglob("*.py"))]


def read(path: Path) -> Module:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    text = path.read_text(encoding="utf-8")
    return Module(name, path, text, ast.parse(text, filename=str(path)))


def imports(module: Module) -> Iterator[Import]:
    """Every import of a module, wherever it stands: in a function and under TYPE_CHECKING too."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            origin = absolute_origin(module, node)
            for alias in node.names:
                yield Import(node.lineno, f"{origin}.{alias.name}")


def absolute_origin(module: Module, node: ast.ImportFrom) -> str:
    """The package that ``from … import`` takes from, relative forms resolved."""
    if node.level == 0:
        return node.module or ""
    base = module.name.split(".")
    climbed = node.level - 1 if module.is_package else node.level
    base = base[: len(base) - climbed]
    return ".".join([*base, *([node.module] if node.module else [])])


def within(name: str, package: str) -> bool:
    """Whether a dotted name is a package or lies below it."""
    return name == package or name.startswith(package + ".")
