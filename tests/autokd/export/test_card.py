from typing import Any

import pytest
import yaml

from autokd.errors import InputError
from autokd.export.card import Card

MANIFEST: dict[str, Any] = {
    "search": "mine",
    "search_began": "2026-11-29T01:57:52+00:00",
    "command": ["autokd", "search", "mine.toml"],
    "versions": {"autokd": "0.1.0"},
    "input": {"shape": [3, 32, 32], "scale": 1 / 255},
    "metrics": {"accuracy": 0.8125},
    "architecture_digest": "c" * 64,
    "written_architecture_digest": "d" * 64,
    "cost": {"params": 12_345, "macs": 678_900, "model_bytes": 49_380, "activation_bytes": 4_096},
    "axes": {
        "lightness": {
            "student": {"params": 12_445, "model_bytes": 50_180, "activation_bytes": 4_096},
            "teacher": {"model_bytes": 1_000_000, "activation_bytes": None},
        },
        "computation": {"student": {"macs": 688_900}},
    },
    "training": {"epochs": 3.0, "full_length": False, "precision": "float32", "seed": 0, "trial": 1, "replicate": 0},
    "family": {"space": "nago"},
    "distillation": {"method": "kd"},
    "teacher": {"source": None, "digest": "a" * 64, "params": None, "macs": None, "metrics": {"accuracy": 0.9}}
    | {"test_metrics": None},
    "data": {"source": "hf:me/pictures@v1", "digest": "b" * 64},
    "classes": ["cat", "dog | wolf"],
    "references": [],
    "comparison": None,
    "search_cost": {"worker_seconds": 3.2, "images": 7_680, "teacher_images": 4_071},
}


def card(**changes: Any) -> str:
    """A card, of a manifest with some other contents."""
    return Card("me/student").text(MANIFEST | changes)


def test_what_was_not_measured_is_not_claimed() -> None:
    text = card()
    assert "| test accuracy | not measured | not measured |" in text
    assert "| parameters | 12,445 | not measured |" in text
    assert '"split": "validation"}, "metrics": [{"type": "accuracy", "value": 0.8125}]' in text
    assert "trained for 3 epochs, of the search alone, not at full length. It was compared with nothing" in text


def test_sizes_are_those_that_were_trained_and_the_folded_ones_stand_below() -> None:
    text = card()
    assert "A network of 12,445 parameters" in text
    assert "| multiply-accumulates of one sample | 688,900 | not measured |" in text
    assert "| bytes of the model, float32 | 50,180 | 1,000,000 |" in text
    folded = "12,345 parameters, 678,900 multiply-accumulates and 49,380 bytes of the model."
    assert folded in text
    assert folded not in card(written_architecture_digest=MANIFEST["architecture_digest"])


def test_the_temperature_that_calibrates_is_told() -> None:
    text = card(metrics={"accuracy": 0.8, "test_ece": 0.12, "test_ece_scaled": 0.031, "scaling_temperature": 1.6234})
    assert "| the same, temperature-scaled | 3.10 % | not measured |" in text
    assert "divide the logits by 1.62 before the softmax" in text
    assert "divide the logits" not in card()
    for end in (0.01, 1000.0):
        assert "divide the logits" not in card(metrics={"accuracy": 1.0, "scaling_temperature": end})
    worse = {"accuracy": 0.6, "test_ece": 0.106, "test_ece_scaled": 0.147, "scaling_temperature": 0.859}
    assert "divide the logits" not in card(metrics=worse)


@pytest.mark.parametrize(
    ("is_better", "difference", "expected"),
    [
        (
            True,
            0.0123,
            "It is better than the best reference trained as long, resnet: +1.23 ± 0.50 points of test accu",
        ),
        (False, -0.02, "It is not better than the best reference trained as long, resnet: -2.00 ± 0.50 points of test"),
    ],
)
def test_the_student_is_set_beside_the_best_reference(is_better: bool, difference: float, expected: str) -> None:
    found = {"reference": "resnet", "difference": difference, "margin": 0.005, "split": "test", "is_better": is_better}
    row = {"name": "resnet", "params": 12_000, "macs": 9_000, "epochs": 30.0, "metrics": {"accuracy": 0.5}}
    text = card(comparison=found, references=[row])
    assert expected in text
    assert "| resnet | 12,000 | 9,000 | 30 | 50.00 % | not measured |" in text


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ([3, 32, 32], ['pipeline_tag: "image-classification"', '["images"]  # uint8, batch x 3 x 32 x 32']),
        ([64], ['pipeline_tag: "tabular-classification"', '["inputs"]  # uint8, batch x 64']),
        ([2, 128], ["2 x 128 signals", '["inputs"]  # uint8, batch x 2 x 128']),
    ],
)
def test_the_card_is_of_the_kind_of_the_samples(shape: list[int], expected: list[str]) -> None:
    text = card(input={"shape": shape, "scale": 1 / 255})
    assert all(words in text for words in expected)
    assert ("pipeline_tag" in text) == (len(shape) != 2)


def test_data_on_the_hub_are_linked_and_folders_of_this_machine_are_not_named() -> None:
    assert 'datasets: ["me/pictures"]' in card()
    local = card(data={"source": "hf:/home/me/pictures", "digest": "b" * 64})
    assert "datasets:" not in local
    assert "`hf:pictures`" in local
    assert "/home/me" not in local


def test_the_head_is_yaml_whatever_the_source_is_called() -> None:
    text = card(data={"source": 'hf:/home/me/cats 😀: "é"', "digest": "b" * 64})
    head = yaml.safe_load(text.split("---\n")[1])
    assert head["model-index"][0]["results"][0]["dataset"]["name"] == 'hf:cats 😀: "é"'


def test_names_of_classes_do_not_break_the_table() -> None:
    assert r"| classes | `cat`, `dog \| wolf` |" in card()
    assert "`class 19`, ... |" in card(classes=[f"class {number}" for number in range(30)])


def test_a_reference_is_named_in_place_of_a_trial() -> None:
    assert "`trial = 1`" in card()
    text = card(training=MANIFEST["training"] | {"trial": None, "reference": "resnet"})
    assert "`reference = resnet`" in text
    assert "`trial" not in text


def test_the_licence_is_the_users() -> None:
    assert "license" not in card()
    assert 'license: "mit"\n' in Card("me/student", "mit").text(MANIFEST)


@pytest.mark.parametrize("name", ["student", "me/", "/student", "../student", "a/b/c", "me/stu dent", "me/student\n"])
def test_other_repositories_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"^a repository must be `user/name`, but got "):
        Card(name)
