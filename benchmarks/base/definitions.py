"""Our code as definitions that use each other, each written as far as it can change a number.

`benchmarks.base.code_hash` says why, and hashes them. A definition is a function, a class or a constant of a module. A
module's other statements (a registration, an entry added to a table) are one more definition, named "".
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.base.errors import ROOT, SuiteError

OURS = ("theseus", "baselines", "benchmarks", "results", "reports")
SKIPPED = ("TYPE_CHECKING", "typing.TYPE_CHECKING", "__name__ == '__main__'")  # blocks that no run executes

Key = tuple[str, str]  # module and name of a definition
Function = ast.FunctionDef | ast.AsyncFunctionDef
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
Scope = Function | ast.Lambda | Comprehension


@dataclass(frozen=True)
class Unit:
    """One definition as it counts: its text, the definitions that it uses, in order, and others that it leads to: by
    the annotation of a field, by an import inside a block, by a module that is imported or passed on."""

    text: str
    uses: tuple[Key, ...]
    reads: tuple[Key, ...] = ()


@dataclass
class Module:
    """A parsed file. `imports`: local names to dotted ones. `defined`: the statements that give a name its value, in
    order. `loose`: the other statements, and definitions that a decorator of ours may register somewhere. `loaded`:
    dotted names of modules that it imports, and of names that it imports inside a block."""

    name: str
    package: str
    imports: dict[str, str] = field(default_factory=dict)
    defined: dict[str, list[ast.stmt]] = field(default_factory=dict)
    loose: list[ast.stmt] = field(default_factory=list)
    loaded: set[str] = field(default_factory=set)


def _file(module: str) -> Path | None:
    """The module's file: in this repository, or in another folder of a package's path, such as a user's rivals."""
    parent, _, own = module.rpartition(".")
    folders = [ROOT.joinpath(*parent.split(".")) if parent else ROOT]
    if parent in sys.modules:
        folders += map(Path, sys.modules[parent].__path__) if hasattr(sys.modules[parent], "__path__") else []
    elif parent and (package := _file(parent)) is not None and package.name == "__init__.py":
        folders.append(package.parent)
    for path in (folder / own for folder in folders):
        if found := next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None):
            return found
    return None


@cache
def module_of(name: str) -> Module | None:
    """The module of that name, read once per process; None if it is not one of ours."""
    file = _file(name) if name.partition(".")[0] in OURS else None
    if file is None:
        return None
    found = Module(name, name if file.name == "__init__.py" else name.rpartition(".")[0])
    for node in _executed(ast.parse(file.read_text(encoding="utf-8")).body):
        for inner in (inner for inner in ast.walk(node) if isinstance(inner, ast.Import | ast.ImportFrom)):
            names_of = imported(inner, found.package)
            found.loaded |= {alias.name for alias in inner.names} if isinstance(inner, ast.Import) else set()
            found.loaded |= {dotted.rpartition(".")[0] for dotted in names_of.values()}
            found.loaded |= set(names_of.values()) if inner is not node else set()
            found.imports |= (
                names_of if inner is node else {n: d for n, d in names_of.items() if n not in found.imports}
            )
        if not isinstance(node, ast.Import | ast.ImportFrom):
            names = _names(node)
            for defined in names:
                found.defined.setdefault(defined, []).append(node)
            if not names or hasattr(node, "decorator_list"):
                found.loose.append(node)
    found.loose = [node for node in found.loose if not _names(node) or _registered(found, node)]
    return found


def _executed(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The top-level statements, without blocks that no run executes."""
    for node in body:
        if isinstance(node, ast.If) and ast.unparse(node.test) in SKIPPED:
            yield from _executed(node.orelse)
        else:
            yield node


def imported(node: ast.Import | ast.ImportFrom, package: str) -> dict[str, str]:
    """Local names of an import statement to dotted ones. Raises `SuiteError` for `*` of one of our modules."""
    if isinstance(node, ast.Import):
        names = ((alias.asname or alias.name.partition(".")[0], alias) for alias in node.names)
        return {local: alias.name if alias.asname else local for local, alias in names}
    parents = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
    base = ".".join([*parents, *([node.module] if node.module else [])])
    if base.partition(".")[0] in OURS and node.names[0].name == "*":
        raise SuiteError(f"{package}: `from {base} import *` hides which code a run uses: name what you import")
    return {alias.asname or alias.name: f"{base}.{alias.name}" for alias in node.names}


def _names(node: ast.stmt) -> list[str]:
    """The names to which a top-level statement gives a value. An `if` or `with` gives those of its body."""
    if isinstance(node, ast.ClassDef | Function):
        return [node.name]
    if isinstance(node, ast.If | ast.With | ast.Try):
        return [name for inner in ast.iter_child_nodes(node) if isinstance(inner, ast.stmt) for name in _names(inner)]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    plain = [target for target in targets if isinstance(target, ast.Name | ast.Tuple | ast.List)]
    return [inner.id for target in plain for inner in ast.walk(target) if isinstance(inner, ast.Name)]


def _registered(module: Module, node: ast.stmt) -> bool:
    """Whether a decorator of ours gets the definition, and may keep it in a table that is read by another name."""
    heads = (
        ast.unparse(decorator).partition("(")[0].split(".")[0] for decorator in getattr(node, "decorator_list", ())
    )
    return any(head in module.defined or module.imports.get(head, "").partition(".")[0] in OURS for head in heads)


def resolve(module: str, name: str) -> str | Key:
    """The key of the definition of ours that `name` is in `module`, else a dotted name."""
    seen = set()
    while (found := module_of(module)) is not None and (module, name) not in seen:
        seen.add((module, name))
        if name in found.defined:
            return module, name
        if name not in found.imports:
            return name if module_of(f"{module}.{name}") is None else f"{module}.{name}"
        dotted = found.imports[name]
        if module_of(dotted) is not None:
            return dotted
        module, _, name = dotted.rpartition(".")
    return f"{module}.{name}" if module else name


class _Canonical(ast.NodeTransformer):
    """Rewrites a definition to the part that can change a number, and collects the definitions that it uses.

    Two texts of one meaning become one. A name that is global here is written as the definition's bare name, or as its
    dotted name in a library, so aliases, import lines and moves leave no trace. A name that a function or comprehension
    binds is its own. Docstrings, annotations, the arguments of `raise` and messages of `assert` are dropped; an
    annotation of a class's field still leads to the classes and functions that it names, because pydantic and
    dataclasses read it.
    """

    def __init__(self, module: str) -> None:
        self.module = module
        self.uses: list[Key] = []
        self.reads: list[Key] = []
        self.bound: list[set[str]] = []
        self.imports: list[dict[str, str]] = []

    def _resolved(self, name: str) -> str | Key | None:
        """None for a name that a scope around binds."""
        for bound, local in zip(reversed(self.bound), reversed(self.imports), strict=True):
            if name in local:
                owner, _, own = local[name].rpartition(".")
                return local[name] if module_of(local[name]) is not None or not owner else resolve(owner, own)
            if name in bound:
                return None
        return resolve(self.module, name)

    def _written(self, found: str | Key) -> str:
        if isinstance(found, str):
            return found
        self.uses.append(found)
        return found[1]

    def visit_Name(self, node: ast.Name) -> ast.expr:
        found = self._resolved(node.id) if isinstance(node.ctx, ast.Load) else None
        if isinstance(found, str) and (whole := module_of(found)) is not None:  # a module that is passed on
            self.reads += [(found, name) for name in whole.defined]
        return node if found is None else ast.Name(self._written(found), node.ctx)

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        """`package.module.name` is the definition; `module.name.attribute` an attribute of it."""
        owner = self._module(node.value)
        if owner is None:
            self.generic_visit(node)
            return node
        found = resolve(owner, node.attr)
        return ast.Name(self._written(found if isinstance(found, tuple) else f"{owner}.{node.attr}"), node.ctx)

    def _module(self, node: ast.expr) -> str | None:
        """The module of ours that a name or a dotted path is."""
        if isinstance(node, ast.Name):
            found = self._resolved(node.id)
        elif isinstance(node, ast.Attribute) and (owner := self._module(node.value)) is not None:
            found = resolve(owner, node.attr)
        else:
            return None
        return found if isinstance(found, str) and module_of(found) is not None else None

    def visit_Raise(self, node: ast.Raise) -> ast.stmt:
        """Which error it is may decide what happens next; its words may not."""
        error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return ast.Raise(None if error is None else self.visit(error))

    def visit_Assert(self, node: ast.Assert) -> ast.stmt:
        return ast.Assert(self.visit(node.test))

    def visit_Expr(self, node: ast.Expr) -> ast.stmt | None:
        if isinstance(node.value, ast.Constant):  # a docstring, or three dots
            return None
        node.value = self.visit(node.value)
        return node

    def visit_Import(self, node: ast.stmt) -> None:
        return None

    visit_ImportFrom = visit_Import

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.stmt:
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt | None:
        if not self.bound:  # of a field: it leads to what reads the field's value
            uses, self.uses = self.uses, []
            self.visit(node.annotation)
            self.reads += self.uses
            self.uses = uses
        if node.value is None:
            return ast.Expr(node.target) if not self.bound else None
        return ast.Assign([self.visit(node.target)], self.visit(node.value), lineno=0)

    def visit_arg(self, node: ast.arg) -> ast.arg:
        return ast.arg(node.arg)

    def visit_FunctionDef(self, node: Any) -> Any:
        """Decorators and defaults belong to the scope around."""
        node.returns = None
        node.decorator_list = [self.visit(decorator) for decorator in node.decorator_list]
        return self._function(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: Any) -> Any:
        return self._function(node)

    def _function(self, node: Any) -> Any:
        node.args.defaults = [self.visit(default) for default in node.args.defaults]
        node.args.kw_defaults = [default and self.visit(default) for default in node.args.kw_defaults]
        with_defaults = node.args.defaults, node.args.kw_defaults
        node.args.defaults, node.args.kw_defaults = [], [None] * len(node.args.kwonlyargs)
        self._enter(node)
        node.args = self.visit(node.args)
        node.body = self._all(node.body) or [ast.Pass()] if isinstance(node.body, list) else self.visit(node.body)
        self._leave()
        node.args.defaults, node.args.kw_defaults = with_defaults
        return node

    def visit_ListComp(self, node: Any) -> Any:
        """The first iterable belongs to the scope around."""
        first = self.visit(node.generators[0].iter)
        node.generators[0].iter = ast.Constant(None)
        self._enter(node)
        self.generic_visit(node)
        self._leave()
        node.generators[0].iter = first
        return node

    visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_ListComp

    def _enter(self, node: Scope) -> None:
        package = getattr(module_of(self.module), "package", "")
        local: dict[str, str] = {}
        for inner in _inside(node):
            if isinstance(inner, ast.Import | ast.ImportFrom):
                local |= imported(inner, package)
        self.bound.append(_bound(node))
        self.imports.append(local)

    def _leave(self) -> None:
        self.bound.pop()
        self.imports.pop()

    def _all(self, nodes: list[Any]) -> list[Any]:
        return [visited for visited in (self.visit(node) for node in nodes) if visited is not None]


def _bound(scope: Scope) -> set[str]:
    """Names that a function, lambda or comprehension binds itself: arguments, assigned names, definitions inside."""
    names: set[str] = set()
    if isinstance(scope, Function | ast.Lambda):
        arguments = scope.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        names |= {argument.arg for argument in every if argument is not None}
    shared: set[str] = set()
    for node in _inside(scope):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            names.add(node.id)
        elif isinstance(node, ast.ClassDef | Function | ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            names.add(str(node.name))
        elif isinstance(node, ast.Global):
            shared |= set(node.names)
    return names - shared


def _inside(scope: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a scope. A scope inside is given itself, but not its nodes."""
    todo = list(ast.iter_child_nodes(scope))
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, Scope | ast.ClassDef):
            todo += ast.iter_child_nodes(node)


@cache
def unit_of(module: str, name: str) -> Unit | None:
    """The definition `name` of a module, all its statements in order; "" for the module's loose statements. None if
    there is no such definition."""
    found = module_of(module)
    nodes = (found.defined.get(name) if name else found.loose) if found is not None else None
    if nodes is None:
        return None
    rewriter, texts = _Canonical(module), []
    for node in nodes:
        copy = ast.parse(ast.unparse(node)).body[0]  # the tree is shared
        if (visited := rewriter.visit(copy)) is not None:
            texts.append(ast.unparse(ast.fix_missing_locations(visited)))
    loaded = [key for dotted in sorted(found.loaded) for key in _behind(dotted)] if found and not name else []
    return Unit("\n".join(texts), tuple(rewriter.uses), (*rewriter.reads, *loaded))


def _behind(dotted: str) -> list[Key]:
    """The definition of ours that a dotted name is, or the loose statements of the module."""
    if module_of(dotted) is not None:
        return [(dotted, "")]
    module, _, name = dotted.rpartition(".")
    found = resolve(module, name) if module_of(module) is not None else dotted
    return [found] if isinstance(found, tuple) else []
