"""Names that the code once had for what the field calls otherwise, and where they still stand.

An identifier is read as its words: `make_record` and `LadderPeer` hold "ladder".
"""

import ast
import re
from collections.abc import Iterator

from tree import Module, Tree

OLD_MODULES = {
    "ahead": "prefetch",
    "ancestry": "warm_start_source",
    "courses": "teacher_schedules",
    "final": "retraining",
    "foresight": "rung_correlations",
    "given": "from_python",
    "goals": "acquisition functions",
    "home": "workspace",
    "identity": "fingerprint",
    "keys": "compatibility",
    "ladder": "trial_record",
    "layering": "layout",
    "lessons": "context",
    "mixing": "mixup",
    "nearest": "repair",
    "order": "schedule",
    "passes": "bindings",
    "projection": "study",
    "scores": "outcome_transforms",
    "signals": "fidelity_metrics",
    "taps": "feature_extractor",
    "warm": "warm_start",
    "watched": "feature_extractor",
}
"""Stems of files."""

OLD_WORDS = {
    "ancestor": "source of weights",
    "ancestry": "warm start",
    "answered": "key of stored outputs",
    "answers": "teacher outputs",
    "beliefs": "posterior",
    "course": "teacher schedule",
    "courses": "teacher schedules",
    "foresight": "rung correlation",
    "goals": "acquisition functions",
    "ladder": "trial record",
    "ladders": "trial records",
    "layering": "graph layout",
    "lesson": "batch context",
    "lessons": "training context",
    "mixing": "mixup",
    "taps": "feature extractor",
    "teaching": "distillation stream",
    "told": "notify",
    "watched": "feature extractor",
    "wishes": "sampler config",
}
"""Words of classes, functions, methods, attributes, parameters and variables."""

OLD_NAMES = {
    "FinalConfig": "RetrainingConfig",
    "Home": "Workspace",
    "Scores": "OutcomeTransform",
    "Signal": "FidelityMetric",
    "signal": "metric",
    "signals": "metrics",
}
"""Whole identifiers, where the words have other meanings too."""

OLD_PHRASES = ("left away", "answered for", "foresight", "lessons?", "ladders?", "teachers?' courses?", "wishes")
"""In docstrings and messages."""

KEPT = {
    ("autokd.config.schema", "signal"),  # users' files say `optimizer.signal`
}


def old_names(tree: Tree) -> list[str]:
    """Modules, identifiers and texts that hold an old name, with the module that they are in."""
    return [
        f"{module.name}: {name}"
        for module in tree.modules.values()
        for name in sorted({*_of_module(module), *_of_identifiers(module), *_of_texts(module)})
        if (module.name, name) not in KEPT
    ]


def _of_module(module: Module) -> Iterator[str]:
    stem = module.name.rpartition(".")[2]
    if stem in OLD_MODULES or set(_words(stem)) & OLD_WORDS.keys():
        yield stem


def _of_identifiers(module: Module) -> Iterator[str]:
    for name in _identifiers(module):
        if name in OLD_NAMES or set(_words(name)) & OLD_WORDS.keys():
            yield name


def _of_texts(module: Module) -> Iterator[str]:
    pattern = re.compile(rf"\b({'|'.join(OLD_PHRASES)})\b", re.IGNORECASE)
    for node in module.nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from (" ".join(match[0].split()) for match in pattern.finditer(" ".join(node.value.split())))


def _identifiers(module: Module) -> Iterator[str]:
    """All names that a module gives."""
    for node in module.nodes:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def _words(name: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)]
