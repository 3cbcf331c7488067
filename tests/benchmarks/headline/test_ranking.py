import pytest
from claims import Evidence
from ranking import correlation, ranking
from records import Record, Run

METHODS = ("kd", "dist", "sp", "at")


def evidence(*accuracies: tuple[str, float, int, float]) -> Evidence:
    """Records of a method, epochs, a seed and its accuracy, which is that of the test split, too."""
    return Evidence("F", [record(*each) for each in accuracies])


def record(method: str, epochs: float, seed: int, accuracy: float) -> Record:
    run = Run("F", "methods", f"resnet-1-1-1-1/{method}@{epochs:g}", seed, "s")
    return Record(run, {"validation": accuracy, "test": accuracy} if accuracy else {})


def test_rank_correlation_is_that_of_its_definition() -> None:
    left, right = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}, {"a": 10.0, "b": 30.0, "c": 20.0, "d": 40.0, "e": 0.0}
    assert correlation(left, right) == pytest.approx(1 - 6 * 2 / (4 * (16 - 1)))
    assert correlation(left, {"a": 1.0, "b": 2.0}) is None
    assert correlation(left, dict.fromkeys(left, 1.0)) is None


def test_short_trainings_are_compared_with_the_order_at_full_length() -> None:
    full = [
        (method, 26, seed, 0.9 - number / 100 + seed / 1000) for seed in (0, 1) for number, method in enumerate(METHODS)
    ]
    short = [(method, 0.5, seed, 0.5 + number / 100) for seed in (0, 1) for number, method in enumerate(METHODS)]
    halfway = [(method, 1.5, seed, accuracy - 0.2) for method, _, seed, accuracy in full]
    text = ranking(evidence(*short, *halfway, *full))
    assert "| method | n | 0.5 epochs | 1.5 epochs | 26 epochs | test, over kd, points |" in text
    assert "| kd | 2 | 50.00 ± 0.00 | 70.05 ± 0.07 | 90.05 ± 0.07 |  |" in text
    assert "| dist | 2 | 51.00 ± 0.00 | 69.05 ± 0.07 | 89.05 ± 0.07 | -1.00 [-1.00, -1.00] |" in text
    assert "of 0.5 epochs with the means of 26: -1.00 [-1.00, -1.00] for one seed, -1.00 for the means" in text
    assert "of 1.5 epochs with the means of 26: 1.00 [1.00, 1.00] for one seed, 1.00 for the means" in text
    assert "Two seeds of 26 epochs agree with each other by 1.00 in the mean." in text


def test_a_method_chosen_by_short_trainings_has_what_it_has_in_full() -> None:
    full = {"kd": 0.9, "dist": 0.88, "sp": 0.95, "at": 0.91}
    short = {"kd": 0.2, "dist": 0.5, "sp": 0.1, "at": 0.3}
    rows = [(method, epochs, 0, values[method]) for epochs, values in ((1.5, short), (26, full)) for method in METHODS]
    unfinished = [("kd", 1.5, 1, 0.2), ("kd", 26, 1, 0.5)]
    text = ranking(evidence(*rows, *unfinished))
    assert "* the leader after 1.5 epochs: -2.00\n" in text
    assert "* the best after 26 epochs of the 3 that lead after 1.5 epochs: +1.00\n" in text
    assert text.endswith("* the leader after 26 epochs: +5.00")


def test_a_method_that_failed_is_left_out_of_the_order_and_few_methods_have_none() -> None:
    text = ranking(evidence(("kd", 0.5, 0, 0.8), ("crd", 0.5, 0, 0.0), ("kd", 26, 0, 0.9), ("crd", 26, 0, 0.8)))
    assert "| crd | 1 | failed | 80.00 | -10.00 |" in text
    assert "Rank correlation" not in text
    assert not ranking(evidence())
