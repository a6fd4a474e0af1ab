"""What a pure module may not do, found in its syntax tree.

Pure means: the same inputs give the same outputs, in every process and on every machine. So no
clock, no I/O, no randomness, no threads, no logging, no ``async``; and no order taken from a set,
whose order depends on the hash seed of the process.

The check of sets goes by what the text shows: set displays and comprehensions, ``set(…)``, names,
arguments, attributes and functions that are annotated as sets or assigned one. It is not a type
checker, and it need not be one to catch honest mistakes.
"""

import ast
from collections.abc import Iterable
from typing import NamedTuple

# A list of what is allowed, so that a module nobody thought of is refused until it was argued for.
PURE_MODULES = (
    "__future__",
    "abc",
    "base64",
    "binascii",
    "bisect",
    "calendar",
    "chappie",
    "collections",
    "copy",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "fractions",
    "functools",
    "hashlib",
    "heapq",
    "hmac",
    "html",
    "itertools",
    "json",
    "math",
    "msgspec",
    "operator",
    "re",
    "statistics",
    "string",
    "struct",
    "textwrap",
    "types",
    "typing",
    "urllib.parse",
    "zlib",
)

IMPURE_CALLS = (
    "__import__",
    "breakpoint",
    "compile",
    "eval",
    "exec",
    "globals",
    "hash",
    "id",
    "input",
    "open",
    "print",
)

# Calls whose result depends on the order in which their argument is iterated. `sorted` is the way
# out; `len`, `in`, `any`, `all`, `min` and `max` without a key do not depend on it.
ORDERED_CONSUMERS = (
    "OrderedDict",
    "bytes",
    "chain",
    "deque",
    "dict",
    "enumerate",
    "extend",
    "extendleft",
    "filter",
    "from_iterable",
    "fromkeys",
    "islice",
    "iter",
    "join",
    "list",
    "map",
    "next",
    "reduce",
    "repr",
    "str",
    "sum",
    "tuple",
    "zip",
)

SET_TYPES = ("AbstractSet", "FrozenSet", "MutableSet", "Set", "frozenset", "set")
SET_METHODS = ("copy", "difference", "intersection", "symmetric_difference", "union")
SET_OPERATORS = (ast.BitAnd, ast.BitOr, ast.BitXor, ast.Sub)


class SetNames(NamedTuple):
    """Attributes and functions that are annotated as sets, and those annotated as something else.

    Gathered over all modules that are checked, so that a set declared in one of them is known in
    another. A name that is a set here and something else there counts as a set only here.
    """

    sets: frozenset[str]
    others: frozenset[str]


def declared(tree: ast.AST) -> SetNames:
    """The attributes and functions that one module declares."""
    sets: list[str] = []
    others: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for part in node.body:
                if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
                    (sets if is_set_type(part.annotation) else others).append(part.target.id)
        elif isinstance(node, ast.FunctionDef) and node.returns is not None:
            (sets if is_set_type(node.returns) else others).append(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Attribute):
            (sets if is_set_type(node.annotation) else others).append(node.target.attr)
        elif isinstance(node, ast.Assign) and plainly_a_set(node.value):
            sets.extend(target.attr for target in node.targets if isinstance(target, ast.Attribute))
    return SetNames(frozenset(sets), frozenset(others))


def gathered(trees: Iterable[ast.AST]) -> SetNames:
    """What several modules declare together."""
    sets: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()
    for names in map(declared, trees):
        sets |= names.sets
        others |= names.others
    return SetNames(sets, others)


def is_set_type(annotation: ast.expr | None) -> bool:
    """Whether an annotation says set: ``set[int]``, ``frozenset[str] | None``, ``"set[int]"``."""
    match annotation:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in SET_TYPES
        case ast.Subscript(value=ast.Name(id=name) | ast.Attribute(attr=name), slice=inner):
            if name in ("ClassVar", "Final", "Optional", "Annotated"):
                return is_set_type(inner.elts[0] if isinstance(inner, ast.Tuple) else inner)
            return name in SET_TYPES
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return is_set_type(left) or is_set_type(right)
        case ast.Constant(value=str(text)):
            return is_set_type(ast.parse(text, mode="eval").body)
        case _:
            return False


def plainly_a_set(value: ast.expr) -> bool:
    """Whether an expression makes a set before our eyes."""
    match value:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id=name)):
            return name in ("set", "frozenset")
        case _:
            return False


class Checker(ast.NodeVisitor):
    """Walks one module and notes every offence with its line."""

    def __init__(self, allowed: Iterable[str], impure_calls: Iterable[str], names: SetNames):
        self.offences: list[str] = []
        self._allowed = tuple(allowed)
        self._impure_calls = tuple(impure_calls)
        self._names = names
        self._own = SetNames(frozenset(), frozenset())
        self._scopes: list[dict[str, bool]] = [{}]
        self._dates: list[str] = []
        self._randoms: list[str] = []

    def check(self, tree: ast.Module) -> list[str]:
        self._own = declared(tree)
        self.visit(tree)
        return self.offences

    def _note(self, node: ast.AST, what: str) -> None:
        self.offences.append(f"{getattr(node, 'lineno', 0)}: {what}")

    # Imports.

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._imported(node, alias.name)
            if alias.name == "random":
                self._randoms.append(alias.asname or alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level:
            return
        origin = node.module or ""
        for alias in node.names:
            full = f"{origin}.{alias.name}"
            # `from urllib import parse` and `from urllib.parse import quote` are the same to us.
            if not self._is_allowed(full):
                self._imported(node, origin)
            elif origin == "random" and alias.name != "Random":
                self._note(node, f"random.{alias.name} has no seed of its own")
            elif origin == "datetime" and alias.name in ("datetime", "date"):
                self._dates.append(alias.asname or alias.name)

    def _is_allowed(self, name: str) -> bool:
        return any(name == one or name.startswith(one + ".") for one in self._allowed)

    def _imported(self, node: ast.AST, name: str) -> None:
        if not self._is_allowed(name):
            self._note(node, f"import of {name}")

    # The ways of not being a plain function.

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._note(node, f"async def {node.name}")
        self._function(node)

    def visit_Global(self, node: ast.Global) -> None:
        self._note(node, f"global {', '.join(node.names)}")

    # Scopes, so that a name is a set only where it was declared one.

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._scopes.append({})
        self.generic_visit(node)
        self._scopes.pop()

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        arguments = node.args
        every = [
            *arguments.posonlyargs,
            *arguments.args,
            *arguments.kwonlyargs,
            *[extra for extra in (arguments.vararg, arguments.kwarg) if extra is not None],
        ]
        self._scopes.append({one.arg: is_set_type(one.annotation) for one in every})
        self.generic_visit(node)
        self._scopes.pop()

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        value_is_set = self._is_set(node.value)
        for target in node.targets:
            if isinstance(target, ast.Name):
                self._scopes[-1][target.id] = value_is_set
            elif isinstance(target, ast.Tuple | ast.List) and value_is_set:
                self._note(node, "unpacks a set")

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.generic_visit(node)
        if isinstance(node.target, ast.Name):
            of_value = node.value is not None and self._is_set(node.value)
            self._scopes[-1][node.target.id] = is_set_type(node.annotation) or of_value

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.generic_visit(node)
        self._scopes[-1][node.target.id] = self._is_set(node.value)

    # Calls.

    def visit_Call(self, node: ast.Call) -> None:
        match node.func:
            case ast.Name(id=name) if name in self._impure_calls:
                self._note(node, f"call of {name}()")
            case ast.Name(id="Random") if not node.args:
                self._note(node, "Random() without a seed")
            case ast.Attribute(value=ast.Name(id=module), attr=name) if module in self._randoms:
                if name != "Random":
                    self._note(node, f"random.{name} has no seed of its own")
                elif not node.args:
                    self._note(node, "Random() without a seed")
            case ast.Attribute(attr="astimezone") if not (node.args or node.keywords):
                self._note(node, "astimezone() asks for the machine's time zone")
            case ast.Attribute(value=base, attr=name) if self._is_date(base):
                self._date_call(node, name)
        self._consumed(node)
        self.generic_visit(node)

    def _is_date(self, base: ast.expr) -> bool:
        match base:
            case ast.Name(id=name):
                return name in self._dates
            case ast.Attribute(value=ast.Name(id="datetime"), attr=name):
                return name in ("datetime", "date")
            case _:
                return False

    def _date_call(self, node: ast.Call, name: str) -> None:
        if name in ("now", "utcnow", "today"):
            self._note(node, f"{name}() reads the clock")
        elif name == "fromtimestamp" and len(node.args) + len(node.keywords) < 2:
            self._note(node, "fromtimestamp() without a zone asks for the machine's time zone")

    # Sets.

    def _consumed(self, node: ast.Call) -> None:
        match node.func:
            case ast.Attribute(value=base, attr="pop") if not node.args and self._is_set(base):
                self._note(node, "pop() takes from a set whatever comes first")
                return
            case ast.Name(id=name) | ast.Attribute(attr=name):
                keyed = name in ("min", "max") and any(k.arg == "key" for k in node.keywords)
                if name not in ORDERED_CONSUMERS and not keyed:
                    return
            case _:
                return
        for argument in node.args:
            if self._is_set(argument):
                self._note(node, f"{name}() iterates a set")

    def _iterated(self, iterable: ast.expr) -> None:
        if self._is_set(iterable):
            self._note(iterable, "iterates a set")

    def visit_For(self, node: ast.For) -> None:
        self._iterated(node.iter)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self._iterated(node.iter)
        self.generic_visit(node)

    def visit_Starred(self, node: ast.Starred) -> None:
        # In a display of a set nothing takes the order, but `sorted` reads as well there.
        self._iterated(node.value)
        self.generic_visit(node)

    def visit_YieldFrom(self, node: ast.YieldFrom) -> None:
        self._iterated(node.value)
        self.generic_visit(node)

    def visit_FormattedValue(self, node: ast.FormattedValue) -> None:
        if self._is_set(node.value):
            self._note(node, "prints a set in its own order")
        self.generic_visit(node)

    def _is_set(self, value: ast.expr) -> bool:
        if plainly_a_set(value):
            return True
        match value:
            case ast.Name(id=name):
                for scope in reversed(self._scopes):
                    if name in scope:
                        return scope[name]
                return False
            case ast.Attribute(attr=name):
                return self._declared_a_set(name)
            case ast.Call(func=ast.Attribute(value=base, attr=method)):
                if method in SET_METHODS and self._is_set(base):
                    return True
                return self._declared_a_set(method)
            case ast.Call(func=ast.Name(id=name)):
                return self._declared_a_set(name)
            case ast.BinOp(left=left, op=operator, right=right):
                if not isinstance(operator, SET_OPERATORS):
                    return False
                return any(self._is_set(side) or is_view(side) for side in (left, right))
            case ast.IfExp(body=body, orelse=other):
                return self._is_set(body) or self._is_set(other)
            case ast.BoolOp(values=values):
                return any(self._is_set(one) for one in values)
            case ast.NamedExpr(value=inner):
                return self._is_set(inner)
            case _:
                return False

    def _declared_a_set(self, name: str) -> bool:
        if name in self._own.sets:
            return True
        if name in self._own.others:
            return False
        return name in self._names.sets and name not in self._names.others


def is_view(value: ast.expr) -> bool:
    """Whether an expression is a view of a dict, whose set operations make sets."""
    match value:
        case ast.Call(func=ast.Attribute(attr=("keys" | "items")), args=[]):
            return True
        case _:
            return False


NO_NAMES = SetNames(frozenset(), frozenset())


def purity_offences(
    tree: ast.Module,
    *,
    also_modules: Iterable[str] = (),
    also_calls: Iterable[str] = (),
    names: SetNames = NO_NAMES,
) -> list[str]:
    """Every offence of one module against purity, as ``line: what``."""
    permitted = tuple(also_calls)
    impure_calls = [name for name in IMPURE_CALLS if name not in permitted]
    return Checker((*PURE_MODULES, *also_modules), impure_calls, names).check(tree)
