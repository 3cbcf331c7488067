"""Distillation methods by name, single and composed.

`kd+at` is the sum of both losses. A wrapper precedes the method that it wraps, as in `ctkd+kd`; in
`early-stopping+standardise+dkd+at` only `dkd` is standardised and stopped. A wrapper that is also a method of its own,
like `continuation`, wraps the method that follows it, if any; `clustered-hints` and `sokd` only one that compares
feature maps.
`fitnet>kd+at` is a schedule: first `fitnet`, then `kd+at`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from inspect import Parameter, signature
from itertools import chain
from types import MappingProxyType
from typing import Any

from optuna.distributions import BaseDistribution

from autokd.core.references import is_reference, resolve
from autokd.core.spelling import nearest_name
from autokd.distillation.base import Method, Wrapper
from autokd.distillation.methods.abkd import ABKD
from autokd.distillation.methods.attention import AT
from autokd.distillation.methods.bdkd import BDKD
from autokd.distillation.methods.bdkd_online import BDKDOnline
from autokd.distillation.methods.crd import CRD
from autokd.distillation.methods.crld import CRLD
from autokd.distillation.methods.dist import DIST
from autokd.distillation.methods.dkd import DKD
from autokd.distillation.methods.dml import DML
from autokd.distillation.methods.fitnet import FitNet
from autokd.distillation.methods.hints import ClusteredHints
from autokd.distillation.methods.kd import KD
from autokd.distillation.methods.ldrld import LDRLD
from autokd.distillation.methods.mlld import MLLD
from autokd.distillation.methods.modality import Modality
from autokd.distillation.methods.multi_step import MultiStep
from autokd.distillation.methods.nkd import NKD
from autokd.distillation.methods.review import ReviewKD
from autokd.distillation.methods.rkd import RKD
from autokd.distillation.methods.rld import RLD
from autokd.distillation.methods.similarity import SP
from autokd.distillation.methods.sld import SLD
from autokd.distillation.methods.sokd import SOKD
from autokd.distillation.methods.ttm import TTM, WTTM
from autokd.distillation.panels.ces import CES
from autokd.distillation.panels.dgkd import DGKD
from autokd.distillation.panels.ensemble import Ensemble
from autokd.distillation.panels.takd import TAKD
from autokd.distillation.wrappers.combined import Combined
from autokd.distillation.wrappers.continuation import Continuation
from autokd.distillation.wrappers.ctkd import CTKD
from autokd.distillation.wrappers.early_stopping import EarlyStopping
from autokd.distillation.wrappers.in_turn import InTurn
from autokd.distillation.wrappers.standardise import Standardised
from autokd.errors import InputError

__all__ = [
    "METHODS",
    "components_of",
    "learns_from_panel",
    "make_method",
    "method_class",
    "method_defaults",
    "method_distributions",
    "weighs_panel",
]

_ALL: tuple[type[Method], ...] = (
    KD,
    DKD,
    DIST,
    NKD,
    MLLD,
    BDKD,
    TTM,
    WTTM,
    RLD,
    SLD,
    ABKD,
    LDRLD,
    FitNet,
    ClusteredHints,
    AT,
    RKD,
    SP,
    ReviewKD,
    MultiStep,
    CRD,
    Modality,
    CRLD,
    DML,
    SOKD,
    BDKDOnline,
    Standardised,
    CTKD,
    Continuation,
    EarlyStopping,
    TAKD,
    DGKD,
    CES,
    Ensemble,
)

METHODS: Mapping[str, type[Method]] = MappingProxyType({method.name: method for method in _ALL})
"""Known methods by their names in a configuration."""

_JOIN, _THEN = "+", ">"


def make_method(name: str, settings: Mapping[str, Any] | None = None) -> Method:
    """Method with this name and these hyper-parameters, which are named as in `method_distributions`.

    Hyper-parameters that are omitted have their papers' values.

    Raises:
        InputError: If the name is unknown, its components cannot be composed, the method has no such hyper-parameter,
            or a value is invalid.
    """
    stages, settings = _stages(name), settings or {}
    _check_known(name, settings)
    methods = [_made(components, settings) for components in stages]
    if len(methods) == 1:
        return methods[0]
    first, last = methods
    return InTurn(first, last, **{key: settings[key] for key in InTurn.distributions() if key in settings})


def method_distributions(name: str) -> dict[str, BaseDistribution]:
    """Distributions of the hyper-parameters of a method; of a composed one they are named `component.hyper-parameter`.

    Hyper-parameters without effect in the composition, such as KD's temperature in `ctkd+kd`, are omitted. A schedule
    has one of its own, `switch`.

    Raises:
        InputError: If the name is unknown, or its components cannot be composed.
    """
    stages = _stages(name)
    found = dict(chain.from_iterable(map(_distributions, stages)))
    return found | InTurn.distributions() if len(stages) > 1 else found


def method_defaults(name: str) -> dict[str, Any]:
    """The papers' values of the hyper-parameters of a method, which are named as in `method_distributions`.

    Those that depend on other hyper-parameters (None) are omitted.

    Raises:
        InputError: As `method_distributions`.
    """
    known, stages = method_distributions(name), _stages(name)
    kinds = [(component.prefix, component.kind) for component in chain.from_iterable(stages)]
    if len(stages) > 1:
        kinds.append(("", InTurn))
    pairs = (
        (prefix + own, parameter.default)
        for prefix, kind in kinds
        for own, parameter in signature(kind).parameters.items()
    )
    return {key: default for key, default in pairs if key in known and default not in (Parameter.empty, None)}


def method_class(name: str) -> type[Method]:
    """Class of a single method: one of `METHODS`, or a user's own given as "module:Class".

    Raises:
        InputError: If the name is unknown, or the class is not a `Method`.
    """
    if is_reference(name):
        found = resolve(name, "distillation method")
        if isinstance(found, type) and issubclass(found, Method):
            return found
        raise InputError(f"distillation method {name!r} must be a subclass of autokd.distillation.Method.")
    if name not in METHODS:
        raise InputError(
            f"a distillation method must be one of {', '.join(METHODS)} or `module:Class`, or several joined by "
            f"{_JOIN!r}, or two in turn, `first{_THEN}last`, but got {name!r}{nearest_name(name, METHODS)}."
        )
    return METHODS[name]


def learns_from_panel(name: str) -> bool:
    """Whether the method of this name learns from the teacher's assistants.

    Raises:
        InputError: If a component is unknown.
    """
    return any(method_class(component).learns_from_panel for component in components_of(name))


def weighs_panel(name: str) -> bool:
    """Whether the method of this name wants weights of the teacher and its assistants.

    Raises:
        InputError: If a component is unknown.
    """
    return any(method_class(component).weighs_panel for component in components_of(name))


def components_of(name: str) -> list[str]:
    """Names of the single methods in the name of a method, which are not checked."""
    return [component for stage in name.split(_THEN) for component in stage.split(_JOIN)]


@dataclass(frozen=True)
class _Component:
    """One method of a composed name.

    Attributes:
        kind: Class of the method.
        prefix: Prefix of the names of its hyper-parameters.
        wraps: Whether it wraps the component that follows.
    """

    kind: type[Method]
    prefix: str
    wraps: bool

    def own(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Settings of the component's own hyper-parameters, without the prefix."""
        names = self.kind.distributions()
        return {name: settings[self.prefix + name] for name in names if self.prefix + name in settings}


def _stages(name: str) -> list[list[_Component]]:
    """Components of a method, or of each of the two of a schedule."""
    names, stages = components_of(name), name.split(_THEN)
    if len(stages) > 2:
        raise InputError(f"distillation method {name!r} names {len(stages)} methods in turn; two are allowed.")
    if len(set(names)) < len(names):
        raise InputError(f"distillation method {name!r} names a component twice.")
    return [_components(stage.split(_JOIN), is_alone=len(names) == 1) for stage in stages]


def _components(names: list[str], is_alone: bool) -> list[_Component]:
    kinds = [method_class(component) for component in names]
    if issubclass(kinds[-1], Wrapper) and not kinds[-1].inner_is_optional:
        raise InputError(f"distillation method {names[-1]!r} wraps another: write `{names[-1]}{_JOIN}kd`.")
    wraps = _wrapping(kinds)
    prefixes = ["" if is_alone else f"{component}." for component in names]
    return [_Component(*facts) for facts in zip(kinds, prefixes, wraps, strict=True)]


def _made(components: list[_Component], settings: Mapping[str, Any]) -> Method:
    members: list[Method] = []
    for component in reversed(components):
        given = component.own(settings)
        if component.wraps:
            members[0] = component.kind(members[0], **given)
        else:
            members.insert(0, component.kind(**given))
    return members[0] if len(members) == 1 else Combined(members)


def _wrapping(kinds: list[type[Method]]) -> list[bool]:
    """Whether each component wraps the one that follows it."""
    wraps, needs = [False], kinds[-1].needs
    for kind in reversed(kinds[:-1]):
        wraps.insert(0, issubclass(kind, Wrapper) and kind.inner_needs <= needs)
        needs = kind.needs | needs if wraps[0] else kind.needs
    return wraps


def _distributions(components: list[_Component]) -> Iterator[tuple[str, BaseDistribution]]:
    overridden = frozenset[str]()  # by the wrappers around this component
    for component in components:
        wrapper = component.kind if component.wraps and issubclass(component.kind, Wrapper) else None
        without_effect = overridden | (wrapper.alone_only if wrapper else frozenset())
        for own, distribution in component.kind.distributions().items():
            if own not in without_effect:
                yield component.prefix + own, distribution
        overridden = overridden | wrapper.overridden if wrapper else frozenset()


def _check_known(name: str, settings: Mapping[str, Any]) -> None:
    known = method_distributions(name)
    for setting in settings:
        if setting not in known:
            raise InputError(
                f"distillation method {name!r} has no hyper-parameter {setting!r}{nearest_name(setting, known)}; "
                f"it has {', '.join(known) or 'none'}."
            )
