"""The rules of the house: each is a function of a tree that returns its violations, one line each."""

import ast
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import combinations

from tree import PACKAGES, Module, Tree, within

MOST_LINES = 500
MOST_LOOSE = 4
OLD_ADDRESSES = ("search_spaces.blueprint", "search_spaces.space")  # for users' spaces
FORBIDDEN_TO_WORKERS = ("database", "optimizers", "searches", "analysis", "cli", "service")
OWN_EXTRAS = {"test", "dev", "docs", "notebooks"}  # what tests, docs and notebooks need
IMPORT_NAMES = {
    "mlflow-skinny": "mlflow",
    "pillow": "PIL",
    "scikit-learn": "sklearn",
}  # where they are not those of the distribution


def unplaced(tree: Tree, order: Mapping[str, str]) -> list[str]:
    """Children of a package that `order` does not list, and children listed that are gone."""
    packages = {name for name, module in tree.modules.items() if module.is_package and tree.children(name)}
    found = [f"{package} is gone" for package in order.keys() - packages]
    for package in packages:
        listed, there = set(order.get(package, "").split()) - {"__init__"}, tree.children(package)
        found += [f"{package}.{child} has no place in the order" for child in there - listed]
        found += [f"{package}.{child} is gone" for child in listed - there]
    return sorted(found)


def upward_imports(tree: Tree, order: Mapping[str, str]) -> list[str]:
    """Imports of a child that the package lists after the importing one."""
    found = set()
    for module in tree.modules.values():
        for name in {*tree.imported(module.nodes)} & tree.modules.keys() - {module.name}:
            package, (importer, imported) = _apart(module.name, name)
            places = order.get(package, "").split()
            if package and _place(importer, places) <= _place(imported, places):
                found.add(f"{module.name} imports {name}")
    return sorted(found)


def mutual_imports(tree: Tree) -> list[str]:
    """Pairs of packages that import each other, where neither is part of the other."""
    packages = [name for name, module in tree.modules.items() if module.is_package]
    arrows = {package: {*_imports_of(tree, package)} for package in packages}
    apart = [pair for pair in combinations(packages, 2) if not within(*pair) and not within(*pair[::-1])]
    return [f"{a} and {b}" for a, b in apart if _any_within(arrows[a], b) and _any_within(arrows[b], a)]


def circles(tree: Tree) -> list[str]:
    """Modules that import each other in a circle when they are imported; depth first."""
    edges = {
        name: {*tree.imported(module.run_at_import)} & tree.modules.keys() for name, module in tree.modules.items()
    }
    done, found = set[str](), []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            found.append(" -> ".join((*path[path.index(name) :], name)))
        elif name not in done:
            for following in sorted(edges[name]):
                visit(following, (*path, name))
            done.add(name)

    for name in edges:
        visit(name, ())
    return found


def foreign_imports(tree: Tree) -> list[str]:
    """Imports of ours in the packages that stand alone."""
    return [
        f"{module.name} imports {name}"
        for package in PACKAGES[1:]
        for module in tree.inside(package)
        for name in tree.imported(module.nodes)
        if _top(name) in PACKAGES and _top(name) != package
    ]


def relative_imports(tree: Tree) -> list[str]:
    """Modules that import relatively to themselves."""
    return [
        f"{module.name}, line {node.lineno}"
        for module in tree.modules.values()
        for node in module.nodes
        if isinstance(node, ast.ImportFrom) and node.level
    ]


def imports_of_old_addresses(tree: Tree) -> list[str]:
    """Our own imports of the modules that stay for users only."""
    return [
        f"{module.name} imports {name}"
        for module in tree.modules.values()
        for name in tree.imported(module.nodes)
        if name in OLD_ADDRESSES
    ]


def loaded_by_workers(tree: Tree) -> list[str]:
    """What a worker that evaluates would load and must not."""
    return sorted(
        f"{importer} imports {name}"
        for name, importer in tree.loaded("autokd.evaluation").items()
        if any(within(name, f"autokd.{room}") for room in FORBIDDEN_TO_WORKERS)
    )


def joins(tree: Tree) -> list[str]:
    """Children of autokd other than `searches` that import both the database and optimisers."""
    return [
        f"autokd.{child}"
        for child in sorted(tree.children("autokd") - {"searches"})
        if all(
            _any_within(_imports_of(tree, f"autokd.{child}"), f"autokd.{room}") and child != room
            for room in ("database", "optimizers")
        )
    ]


def torch_in_workers(tree: Tree) -> list[str]:
    """Modules of workers that load torch when they are imported."""
    modules = tree.inside("workers")
    return [module.name for module in modules if "torch" in map(_top, tree.imported(module.run_at_import))]


def unused_extras(tree: Tree) -> list[str]:
    """Packages of extras that nothing imports; a database's driver may be named in a URL, `postgresql+psycopg`."""
    project = tomllib.loads((tree.root / "pyproject.toml").read_text())["project"]
    extras = project.get("optional-dependencies", {})
    wanted = {(extra, _import_name(line)) for extra in extras.keys() - OWN_EXTRAS for line in extras[extra]}
    used = {_top(name) for module in tree.modules.values() for name in tree.imported(module.nodes)}
    drivers = {text.partition("+")[2] for module in tree.modules.values() for text in _strings(module)}
    return [f"{name} of {extra}" for extra, name in sorted(wanted) if name not in used | drivers]


def unread_columns(tree: Tree) -> list[str]:
    """Columns of the database's tables whose name nobody reads as an attribute."""
    models = tree.modules["autokd.database.models"]
    outside = [module for module in tree.inside("autokd") if module is not models]
    nodes = (node for module in outside for node in module.nodes)
    read = {node.attr for node in nodes if isinstance(node, ast.Attribute) and _is_read(node)}
    return [f"{table}.{column}" for table, column in _columns(models) if column not in read]


def defined_twice(tree: Tree) -> list[str]:
    """Public names of classes, and of types in `__all__`, that have several definitions."""
    places = defaultdict(list)
    for module in tree.modules.values():
        for name in _types(module):
            places[name].append(module.name)
    return [f"{name}: {', '.join(where)}" for name, where in sorted(places.items()) if len(where) > 1]


def loose_files(tree: Tree) -> list[str]:
    """The files that lie loose in `autokd/`, where they are too many."""
    loose = sorted(file.name for file in (tree.root / "autokd").glob("*.py"))
    return loose if len(loose) > MOST_LOOSE else []


def long_files(tree: Tree) -> list[str]:
    """Modules of more lines than a subject needs."""
    return [name for name, module in tree.modules.items() if len(module.text.splitlines()) > MOST_LINES]


def _apart(one: str, other: str) -> tuple[str, tuple[str, str]]:
    """The innermost package that holds two modules, and the child of it that each is in, `__init__` for itself."""
    a, b = one.split("."), other.split(".")
    n = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return ".".join(a[:n]), ((a[n:] or ["__init__"])[0], (b[n:] or ["__init__"])[0])


def _place(child: str, places: list[str]) -> int:
    return places.index(child) if child in places else -1


def _imports_of(tree: Tree, package: str) -> Iterator[str]:
    return (name for module in tree.inside(package) for name in tree.imported(module.nodes))


def _any_within(names: Iterator[str] | set[str], package: str) -> bool:
    return any(within(name, package) for name in names)


def _top(name: str) -> str:
    return name.split(".")[0]


def _import_name(requirement: str) -> str:
    name = re.match(r"[\w.-]+", requirement)
    assert name, requirement
    return IMPORT_NAMES.get(name[0].lower(), name[0].replace("-", "_"))


def _strings(module: Module) -> Iterator[str]:
    return (node.value for node in module.nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))


def _is_read(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)


def _columns(models: Module) -> Iterator[tuple[str, str]]:
    for table in models.nodes:
        for line in table.body if isinstance(table, ast.ClassDef) else ():
            if isinstance(line, ast.AnnAssign) and ast.unparse(line.annotation).startswith("Mapped["):
                yield table.name, ast.unparse(line.target)  # type: ignore[attr-defined]


def _types(module: Module) -> Iterator[str]:
    """Public classes, and capitalised names in `__all__` that are assigned, such as aliases of types."""
    assigned = [node for node in module.nodes if isinstance(node, ast.Assign)]
    values = {ast.unparse(node.targets[0]): node.value for node in assigned}
    public = ast.literal_eval(values["__all__"]) if "__all__" in values else ()
    yield from (name for name in values.keys() & set(public) if re.match(r"[A-Z]\w*[a-z]", name))
    for node in module.nodes:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node.name
