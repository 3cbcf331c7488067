import pytest
import torch
from optuna.distributions import FloatDistribution
from torch import Tensor

from autokd.distillation import (
    KD,
    METHODS,
    BatchContext,
    Combined,
    InTurn,
    Method,
    Outputs,
    make_method,
    method_class,
    method_defaults,
)
from autokd.distillation import method_distributions as distributions
from autokd.distillation.base import LogitMethod, Wrapper
from autokd.distillation.registry import components_of
from autokd.distillation.wrappers.continuation import Continuation
from autokd.distillation.wrappers.ctkd import CTKD
from autokd.distillation.wrappers.early_stopping import EarlyStopping
from autokd.distillation.wrappers.standardise import Standardised
from autokd.errors import InputError

WEIGHT = {"weight": FloatDistribution(0.0, 1.0)}


class Features(Method):
    name = "features"

    def __init__(self, weight: float = 0.5) -> None:
        super().__init__()
        self.weight = weight

    @staticmethod
    def distributions():
        return WEIGHT

    def teacher_loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        return self.weight * student.logits.sum()


class Doubled(Wrapper):
    name = "doubled"

    def __init__(self, inner: Method, weight: float = 2.0) -> None:
        super().__init__(inner)
        self.weight = weight

    @staticmethod
    def distributions():
        return WEIGHT

    def teacher_loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        return self.weight * self.inner.teacher_loss(student, teacher, context)


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch):
    known = {**METHODS, "features": Features, "doubled": Doubled}
    monkeypatch.setattr("autokd.distillation.registry.METHODS", known)


def loss_of(method: Method) -> Tensor:
    student, teacher = (torch.randn(6, 3, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    return method.loss(Outputs(student), Outputs(teacher), BatchContext(torch.arange(6) % 3, torch.arange(6)))


def test_a_method_is_found_by_its_name() -> None:
    assert method_class("kd") is KD


def test_a_users_method_is_found_by_reference() -> None:
    assert method_class("autokd.distillation.methods.kd:KD") is KD


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(
        InputError, match=r"must be one of .*kd.* or `module:Class`.*, but got 'kdd'; the nearest known is 'kd'"
    ):
        method_class("kdd")


@pytest.mark.parametrize("name", ["autokd.distillation.methods.kd:kd_loss", "pathlib:Path"])
def test_a_reference_to_something_else_is_rejected(name: str) -> None:
    with pytest.raises(InputError, match=r"must be a subclass of autokd.distillation.Method"):
        method_class(name)


@pytest.mark.parametrize("name", list(METHODS))
def test_every_name_is_that_of_its_method(name: str) -> None:
    assert METHODS[name].name == name


def test_a_single_method_has_its_own_hyper_parameters() -> None:
    method = make_method("kd", {"temperature": 3.0})
    assert isinstance(method, KD)
    assert (method.temperature, method.weight) == (3.0, 0.9)
    assert distributions("kd") == KD.distributions()


def test_a_sum_has_the_hyper_parameters_of_all_components() -> None:
    method = make_method("kd+features", {"kd.weight": 0.25, "features.weight": 0.75})
    assert isinstance(method, Combined)
    assert [member.weight for member in method.members] == [0.25, 0.75]
    assert loss_of(method) == loss_of(Combined([KD(weight=0.25), Features(0.75)]))


def test_the_distributions_of_a_sum_are_prefixed_with_its_components() -> None:
    assert list(distributions("kd+features")) == ["kd.temperature", "kd.weight", "features.weight"]
    assert distributions("features+kd")["kd.weight"] == KD.distributions()["weight"]


def test_a_reference_can_be_a_component() -> None:
    name = "autokd.distillation.methods.kd:KD"
    method = make_method(f"features+{name}", {f"{name}.weight": 0.25})
    assert [member.weight for member in method.members] == [0.5, 0.25]


def test_a_wrapper_wraps_the_method_that_follows() -> None:
    method = make_method("doubled+kd", {"doubled.weight": 3.0, "kd.weight": 0.25})
    assert isinstance(method, Doubled)
    assert (method.weight, method.inner.weight) == (3.0, 0.25)


def test_a_wrapper_wraps_one_component_of_a_sum() -> None:
    method = make_method("doubled+kd+features", {})
    assert [type(member) for member in method.members] == [Doubled, Features]
    method = make_method("features+doubled+kd", {})
    assert [type(member) for member in method.members] == [Features, Doubled]


def test_wrappers_wrap_each_other_in_order() -> None:
    method = make_method("early-stopping+ctkd+standardise+kd", {"standardise.scale": 3.0, "ctkd.form": "instance"})
    kinds = [type(method), type(method.inner), type(method.inner.inner), type(method.inner.inner.inner)]
    assert kinds == [EarlyStopping, CTKD, Standardised, KD]
    assert (method.inner.form, method.inner.inner.scale) == ("instance", 3.0)


def test_a_schedule_teaches_by_two_methods_in_turn() -> None:
    settings = {"switch": 0.25, "features.weight": 0.75, "ctkd.form": "instance", "kd.weight": 0.25}
    method = make_method("features>ctkd+kd+doubled+dist", settings)
    assert isinstance(method, InTurn)
    first, last = method.members
    assert isinstance(last, Combined)
    assert (method.switch, first.weight) == (0.25, 0.75)
    assert [type(member) for member in last.members] == [CTKD, Doubled]
    assert (last.members[0].form, last.members[0].inner.weight) == ("instance", 0.25)


def test_a_schedule_has_the_hyper_parameters_of_its_methods_and_its_switch() -> None:
    assert list(distributions("features>ctkd+kd")) == [
        "features.weight",
        "ctkd.form",
        "ctkd.warmup",
        "kd.weight",
        "switch",
    ]
    assert distributions("kd>features")["switch"] == InTurn.distributions()["switch"]
    assert method_defaults("kd>features") == {
        "kd.temperature": 4,
        "kd.weight": 0.9,
        "features.weight": 0.5,
        "switch": 0.5,
    }
    assert "switch" not in distributions("kd+features")


def test_the_components_of_a_schedule_are_those_of_both_methods() -> None:
    assert components_of("kd") == ["kd"]
    assert components_of("a+b>c") == ["a", "b", "c"]


def test_continuation_is_a_method_or_a_wrapper() -> None:
    assert type(make_method("continuation", {"margin": 2.0})) is Continuation
    assert type(make_method("early-stopping+continuation", {"continuation.margin": 2.0}).inner) is Continuation
    around = make_method("continuation+kd", {"continuation.until": 0.5})
    assert type(around) is Continuation
    assert type(around.inner) is KD


def test_continuation_is_a_term_of_a_sum_if_it_is_last() -> None:
    method = make_method("features+continuation", {"continuation.margin": 2.0})
    assert [type(member) for member in method.members] == [Features, Continuation]


def test_hyper_parameters_without_effect_are_omitted() -> None:
    assert list(distributions("ctkd+kd")) == ["ctkd.form", "ctkd.warmup", "kd.weight"]
    assert "kd.temperature" not in distributions("ctkd+standardise+kd")
    assert "kd.temperature" in distributions("standardise+kd")
    assert "continuation.margin" not in distributions("continuation+kd")
    assert "continuation.margin" in distributions("features+continuation")


def test_a_wrapper_does_not_override_other_components_of_a_sum() -> None:
    name = "autokd.distillation.methods.kd:KD"
    assert f"{name}.temperature" in distributions(f"ctkd+kd+{name}")


@pytest.mark.parametrize("compose", [lambda name: make_method(name, {}), distributions])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ctkd", r"'ctkd' wraps another: write `ctkd\+kd`"),
        ("kd+doubled", r"'doubled' wraps another: write `doubled\+kd`"),
        ("kd+features+kd", r"'kd\+features\+kd' names a component twice"),
        ("kd+nothing", r"must be one of .*, but got 'nothing'"),
        ("kd+", "must be one of .*, but got ''"),
        ("kd>", "must be one of .*, but got ''"),
        ("kd>features+kd", r"'kd>features\+kd' names a component twice"),
        ("ctkd>kd", r"'ctkd' wraps another: write `ctkd\+kd`"),
        ("kd>features>dist", "'kd>features>dist' names 3 methods in turn; two are allowed"),
        ("", "must be one of .*, but got ''"),
    ],
)
def test_components_that_cannot_be_composed_are_rejected(compose, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        compose(name)


@pytest.mark.parametrize("wrapper", ["ctkd", "standardise", "continuation"])
def test_a_wrapper_of_logit_methods_rejects_other_methods(wrapper: str) -> None:
    assert issubclass(METHODS[wrapper], LogitMethod)
    with pytest.raises(InputError, match=f"'{wrapper}' wraps one that compares logits, but 'features' does not"):
        make_method(f"{wrapper}+features", {})


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("kd", "wieght"),
        ("kd", "kd.weight"),
        ("kd+features", "weight"),
        ("ctkd+kd", "kd.temperature"),
        ("kd", "switch"),
        ("kd>features", "kd.switch"),
    ],
)
def test_an_unknown_hyper_parameter_is_rejected(name: str, setting: str) -> None:
    with pytest.raises(InputError, match=f"has no hyper-parameter '{setting}'.*; it has .*weight"):
        make_method(name, {setting: 1.0})


def test_an_invalid_value_is_rejected() -> None:
    with pytest.raises(InputError, match="weight=2"):
        make_method("features+kd", {"kd.weight": 2.0})
