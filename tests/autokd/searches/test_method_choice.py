from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from autokd.config.schema import DistillationConfig
from autokd.distillation import KD
from autokd.errors import InputError
from autokd.searches.method_choice import PATH, MethodChoice

OTHER = "autokd.distillation.methods.kd:KD"  # a user's own, for all that the configuration knows


def choice(**config) -> MethodChoice:
    return MethodChoice(DistillationConfig(**config))


def test_one_method_has_its_own_dimensions():
    kd = choice()
    assert list(kd.dimensions) == ["temperature", "weight"]
    assert kd.name({"temperature": 2.0, "weight": 0.5}) == "kd"
    assert kd.settings({"temperature": 2.0, "weight": 0.5, "depth": 3}) == (("temperature", 2.0), ("weight", 0.5))


def test_several_methods_are_a_dimension_with_conditional_ones_below_it():
    both = choice(methods=["kd", OTHER])
    assert list(both.dimensions) == ["method", "kd.temperature", "kd.weight", f"{OTHER}.temperature", f"{OTHER}.weight"]
    assert both.dimensions["method"].distribution == CategoricalDistribution(("kd", OTHER))
    assert both.dimensions["kd.weight"].is_active({"method": "kd"})
    assert not both.dimensions["kd.weight"].is_active({"method": OTHER})


def test_a_trial_has_the_settings_of_the_method_that_it_chose():
    both = choice(methods=["kd", OTHER], ranges={"kd.weight": 0.3})
    assert both.settings({"method": "kd", "kd.temperature": 2.0}) == (("temperature", 2.0), ("weight", 0.3))
    other: dict[str, Any] = {"method": OTHER, f"{OTHER}.temperature": 3.0, f"{OTHER}.weight": 0.9}
    assert (both.name(other), both.settings(other)) == (OTHER, (("temperature", 3.0), ("weight", 0.9)))


def test_ranges_may_be_nested():
    both = choice(methods=["kd", OTHER], ranges={"kd": {"temperature": [2, 3], "weight": 0.5}})
    assert both.dimensions["kd.temperature"].distribution == FloatDistribution(2, 3, log=True)
    assert "kd.weight" not in both.dimensions


def test_a_fixed_choice_is_no_dimension():
    fixed = choice(methods=["kd", OTHER], ranges={"method": "kd"})
    assert (fixed.names, list(fixed.dimensions)) == (("kd",), ["kd.temperature", "kd.weight"])
    assert fixed.name({}) == "kd"
    fixed.check()


def test_a_composed_method_qualifies_its_dimensions():
    assert list(choice(method=f"kd+{OTHER}").dimensions)[:2] == ["kd.temperature", "kd.weight"]


def test_the_examples_are_the_ends_of_the_ranges():
    examples = list(choice(ranges={"temperature": [2, 3]}).examples())
    assert [name for name, _ in examples] == ["kd", "kd"]
    methods = [method for _, method in examples if isinstance(method, KD)]
    assert [(method.temperature, method.weight) for method in methods] == [(2.0, 0.0), (3.0, 1.0)]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"methods": ["kd", "dk"]}, "a distillation method must be one of .* but got 'dk'"),
        ({"ranges": {"weight": [0, 3]}}, "distillation.ranges: .*weight"),
        ({"methods": ["kd", OTHER], "ranges": {"weight": 0.5}}, "distillation.ranges: .*'weight'"),
    ],
)
def test_mistakes_are_found(config, message: str):
    with pytest.raises(InputError, match=message):
        choice(**config).check()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"method": "kd", "methods": ["kd", "dkd"]}, "method and methods exclude each other"),
        ({"methods": ["kd", "kd"]}, "must be different, but 'kd' comes more than once"),
        ({"methods": []}, "at least 1 item"),
    ],
)
def test_a_configuration_names_one_method_or_several_different_ones(config, message: str):
    with pytest.raises(ValueError, match=message):
        choice(**config)


def test_a_choice_among_methods_comes_back_from_plain_values():
    config = DistillationConfig(methods=("kd", OTHER), ranges={"kd.weight": 0.5})
    assert DistillationConfig(**config.model_dump(mode="json", exclude_none=True)) == config


@pytest.mark.parametrize(
    ("methods", "needs"),
    [
        (["kd"], set()),
        (["kd", "crd"], {"embedding"}),
        (["kd", "fitnet"], {"features"}),
        (["kd", "clustered-hints"], set()),
        (["kd", "modality"], set()),
        (["kd", "fitnet+clustered-hints", "ctkd+kd+modality"], set()),
        (["crd", "fitnet", "clustered-hints"], {"embedding", "features"}),
    ],
)
def test_what_is_needed_of_stored_outputs_is_what_methods_read_there(methods: list[str], needs: set[str]):
    assert choice(methods=methods).needs == needs


def test_what_a_trial_chose_is_told_by_the_methods_own_names():
    both = MethodChoice(DistillationConfig(methods=("kd", OTHER), ranges={"kd.weight": 0.3}), ("long", "short"))
    assert list(both.dimensions)[-1] == "teacher"
    chosen = both.chosen({"method": "kd", "kd.temperature": 2.0, "teacher": "short"})
    assert chosen == {"method": "kd", "temperature": 2.0, "weight": 0.3, "teacher": "short"}
    assert (both.teacher_schedule({"teacher": "short"}), choice().teacher_schedule({})) == (1, 0)


def test_the_defaults_are_the_first_method_with_its_papers_settings_inside_the_ranges():
    config = DistillationConfig(methods=("dkd", "kd"), ranges={"dkd.beta": [1, 2], "dkd.alpha": 1.0})
    assert MethodChoice(config, ("first", "second")).defaults == {
        "method": "dkd",
        "dkd.temperature": 4.0,
        "dkd.warmup": 20,
        "teacher": "first",
    }
    assert MethodChoice(DistillationConfig()).defaults == {"temperature": KD().temperature, "weight": KD().weight}


def test_a_trial_recorded_before_a_hyper_parameter_existed_has_its_default():
    assert choice(method="crd").settings({"weight": 0.5, "temperature": 0.1}) == (("temperature", 0.1), ("weight", 0.5))


def test_a_default_that_depends_on_other_hyper_parameters_is_not_named():
    assert "until" not in choice(method="continuation").defaults
    assert choice(method="continuation").defaults["transition"] == "linear"


def test_the_path_is_a_dimension_of_the_methods_that_learn_from_assistants():
    methods = DistillationConfig(methods=("kd", "takd+kd", "ces+kd"))
    some = MethodChoice(methods, paths=("middle", "small", "middle+small"))
    assert some.dimensions[PATH].distribution == CategoricalDistribution(("middle", "small", "middle+small"))
    assert [some.dimensions[PATH].is_active({"method": name}) for name in methods.names] == [False, True, True]
    parameters: dict[str, Any] = {"method": "takd+kd", "takd+kd.kd.temperature": 2.0, "path": "small"}
    assert (some.path(parameters), some.chosen(parameters)["path"]) == ("small", "small")
    assert some.path({"method": "kd"}) is None
    assert PATH not in MethodChoice(methods).dimensions
    assert PATH not in MethodChoice(DistillationConfig(), paths=("middle", "small")).dimensions


def test_with_one_method_the_path_depends_on_nothing():
    one = MethodChoice(DistillationConfig(method="takd+kd"), paths=("middle", "small", "middle+small"))
    assert one.dimensions[PATH].is_active({})
    assert one.defaults[PATH] == "middle+small"
    assert (
        MethodChoice(DistillationConfig(method="takd+kd", ranges={"path": "small"}), paths=one.paths).path({})
        == "small"
    )
