"""A tree of packages as parsed modules, and what each of them imports."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PACKAGES = ("autokd", "search_spaces", "workers")
_APART = {"migrations", "generated"}  # folders of scripts, and of what a program wrote
_REFERENCE = re.compile(r"[a-z_]\w*(\.\w+)+(:\w+)?")  # "package.module" or "package.module:attribute"


@dataclass(frozen=True)
class Module:
    """One parsed file; `name` is its full name, of an `__init__.py` that of the package."""

    name: str
    file: Path

    @cached_property
    def text(self) -> str:
        return self.file.read_text()

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """Everything in it."""
        return tuple(ast.walk(ast.parse(self.text)))

    @cached_property
    def run_at_import(self) -> tuple[ast.AST, ...]:
        """What runs when the module is imported."""
        return tuple(_run(ast.parse(self.text), inside_functions=False))

    @cached_property
    def run_ever(self) -> tuple[ast.AST, ...]:
        """What runs at import or when its functions are called: all but what is for type checkers.

        A package with a `__getattr__` imports on first use what it tells type checkers.
        """
        if any(isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in self.nodes):
            return self.nodes
        return tuple(_run(ast.parse(self.text), inside_functions=True))

    @property
    def is_package(self) -> bool:
        return self.file.name == "__init__.py"


@dataclass(frozen=True)
class Tree:
    """All modules of `PACKAGES` under a root folder."""

    root: Path

    @cached_property
    def modules(self) -> dict[str, Module]:
        """By full name, without what is in folders apart."""
        files = [file for package in PACKAGES for file in sorted((self.root / package).rglob("*.py"))]
        found = [Module(self._name(file), file) for file in files if not _APART & set(file.parts)]
        return {module.name: module for module in found}

    def inside(self, package: str) -> list[Module]:
        """The modules of a package at any depth, itself included."""
        return [module for name, module in self.modules.items() if within(name, package)]

    def children(self, package: str) -> set[str]:
        """Names of the modules and packages directly in a package."""
        inside = package + "."
        return {name.removeprefix(inside).split(".")[0] for name in self.modules if name.startswith(inside)}

    def imported(self, nodes: tuple[ast.AST, ...]) -> Iterator[str]:
        """Full names that some nodes import: modules of ours where they are, else as written."""
        for node in nodes:
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    yield full if full in self.modules else str(node.module)

    def named(self, module: Module) -> Iterator[str]:
        """Our modules that a module names in strings, "module:attribute", to be imported when they are wanted."""
        for node in module.nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and _REFERENCE.fullmatch(node.value):
                yield from {node.value.partition(":")[0]} & self.modules.keys()

    def loaded(self, package: str) -> dict[str, str]:
        """All of our modules that a package ever loads, itself included, each with the module that loads it."""
        found = {module.name: package for module in self.inside(package)}
        waiting = list(found)
        while waiting:
            module = self.modules[waiting.pop()]
            if "." not in module.name:
                continue  # `autokd` itself imports what users ask it for
            for name in {*self.imported(module.run_ever), *self.named(module)}:
                for each in ancestors(name) & self.modules.keys() - found.keys():
                    found[each] = module.name
                    waiting.append(each)
        return found

    def _name(self, file: Path) -> str:
        parts = file.relative_to(self.root).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def within(name: str, package: str) -> bool:
    """Whether a module is a package or inside it."""
    return name == package or name.startswith(package + ".")


def ancestors(name: str) -> set[str]:
    """A module and the packages that it is in: importing it runs them all."""
    parts = name.split(".")
    return {".".join(parts[: n + 1]) for n in range(len(parts))}


def _run(node: ast.AST, inside_functions: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not inside_functions:
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from _run(child, inside_functions)
