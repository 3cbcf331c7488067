"""The rule about docstrings: a public function of three or more parameters explains them."""

import ast
from collections.abc import Iterator, Mapping

from tree import Tree

FEWEST = 3


def missing_args_sections(tree: Tree) -> list[str]:
    """Public functions and methods with three or more parameters that have no `Args` section.

    A method may inherit the section from a method of a base class. Commands explain their parameters in their help, and
    routes in the description of the service.
    """
    nodes = [node for module in tree.modules.values() for node in module.nodes]
    classes = {node.name: node for node in nodes if isinstance(node, ast.ClassDef)}
    found = []
    for module in tree.modules.values():
        for owner, function in _public(ast.parse(module.text)):
            above = _bases(owner, classes) if owner else []
            if _n_parameters(owner, function) >= FEWEST and not (
                _is_face(function) or _has_section(function) or any(_explains(base, function.name) for base in above)
            ):
                found.append(f"{module.name}: {f'{owner.name}.' if owner else ''}{function.name}")
    return found


def _public(module: ast.Module) -> Iterator[tuple[ast.ClassDef | None, ast.FunctionDef]]:
    """Public functions, and public methods of public classes with their class."""
    for node in module.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield None, node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from ((node, method) for method in _methods(node) if not method.name.startswith("_"))


def _methods(owner: ast.ClassDef) -> Iterator[ast.FunctionDef]:
    return (node for node in owner.body if isinstance(node, ast.FunctionDef))


def _bases(owner: ast.ClassDef, classes: Mapping[str, ast.ClassDef]) -> list[ast.ClassDef]:
    """All base classes of ours, by name: no two public classes have the same one."""
    found: list[ast.ClassDef] = []
    waiting = [owner]
    while waiting:
        names = (ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in waiting.pop().bases)
        new = [classes[name] for name in names if name in classes and classes[name] not in [owner, *found]]
        found += new
        waiting += new
    return found


def _n_parameters(owner: ast.ClassDef | None, function: ast.FunctionDef) -> int:
    """Number of parameters without `self` and `cls`."""
    given = function.args
    count = len([*given.posonlyargs, *given.args, *given.kwonlyargs]) + bool(given.vararg) + bool(given.kwarg)
    return count - (owner is not None and "staticmethod" not in _decorators(function))


def _is_face(function: ast.FunctionDef) -> bool:
    """Whether it is a command or a route."""
    return any(".command(" in each or each.startswith("router.") for each in _decorators(function))


def _decorators(function: ast.FunctionDef) -> list[str]:
    return [ast.unparse(decorator) for decorator in function.decorator_list]


def _has_section(function: ast.FunctionDef) -> bool:
    return "Args:" in (ast.get_docstring(function) or "").splitlines()


def _explains(owner: ast.ClassDef, name: str) -> bool:
    return any(method.name == name and _has_section(method) for method in _methods(owner))
