import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from autokd.config.parsing import parse_config
from autokd.data.registry import load_data
from autokd.errors import DivergedError, InputError, InterruptedSearchError
from autokd.teachers.registry import load_teacher
from autokd.teachers.training import TeacherProgress, train_teacher
from autokd.teachers.training_plan import TeacherTraining
from autokd.training.checkpoint import load_weights

MODULE = """
from torch import nn

def small():
    hidden = nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2)
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(16, 10))

class Auxiliary(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.aside = small(), small()

    def forward(self, images):
        return (self.body(images), self.aside(images)) if self.training else self.body(images)

def lazy():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(10))

def many():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12))

def sure():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Softmax(1))

def large():
    return nn.Sequential(nn.Flatten(), nn.Linear(256, 10))

def nothing():
    return nn.Flatten()

def function():
    return lambda images: images.flatten(1)[:, :10]

def doubled(images):
    return images * 2
"""
Make = Callable[..., TeacherTraining]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes trainings of one of the module's teachers on a few digits."""
    (tmp_path / "my_teachers_to_train.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)

    def training(
        factory: str = "small",
        epochs: int = 3,
        seed: int = 0,
        folder: str = "folder",
        checkpoints: bool = False,
        keep: str = "best",
        teacher: dict[str, object] | None = None,
        data: dict[str, object] | None = None,
        **settings: object,
    ) -> TeacherTraining:
        values = {
            "name": "digits",
            "data": {"source": "digits", "subset": 300} | (data or {}),
            "teacher": {"factory": f"my_teachers_to_train:{factory}"} | (teacher or {}),
            "budget": {"params": 1000},
            "training": {"batch_size": 64, "precision": "float32", "augmentation": {"shift": 1}} | settings,
            "final": {"keep": keep},
            "workers": {"device": "cpu"},
        }
        return TeacherTraining(parse_config(values), epochs, seed, tmp_path / folder, checkpoints)

    yield training
    sys.modules.pop("my_teachers_to_train", None)


def trained(training: TeacherTraining) -> dict[str, Tensor]:
    train_teacher(training)
    return load_weights(training.weights)


def are_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def interrupt_after(epochs: int) -> Callable[[TeacherProgress], None]:
    def stop(progress: TeacherProgress) -> None:
        if progress.epoch == epochs:
            raise KeyboardInterrupt

    return stop


def test_the_same_seed_gives_the_same_weights_and_another_one_others(make: Make) -> None:
    torch.manual_seed(5)
    first = trained(make(folder="a"))
    torch.manual_seed(6)
    assert are_equal(first, trained(make(folder="b")))
    assert not are_equal(first, trained(make(folder="c", seed=1)))


@pytest.mark.parametrize("settings", [{}, {"ema": 0.9}, {"schedule": "cosine", "optimizer": "adamw"}])
def test_an_interrupted_training_goes_on_as_if_it_had_not_been(make: Make, settings: dict[str, object]) -> None:
    whole = make(folder="whole", epochs=4, checkpoints=True, **settings)
    parts = make(folder="parts", epochs=4, checkpoints=True, **settings)
    train_teacher(whole)
    for epochs in (1, 3):
        with pytest.raises(InterruptedSearchError, match=f"after {epochs} of 4 epochs; the same command goes on"):
            train_teacher(parts, on_epoch=interrupt_after(epochs))
    train_teacher(parts)
    for one, other in zip((whole.weights, *whole.checkpoints), (parts.weights, *parts.checkpoints), strict=True):
        assert are_equal(load_weights(one), load_weights(other))
    assert not parts.unfinished.exists()


def test_an_interruption_before_the_first_epoch_ends_leaves_nothing_to_resume(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("autokd.teachers.training.fit", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train_teacher(make())


def test_the_weights_of_the_best_epoch_of_the_second_half_are_kept(make: Make) -> None:
    training, accuracies = make(epochs=6, checkpoints=True, learning_rate=1.0), dict[int, float]()
    figures = train_teacher(training, on_epoch=lambda progress: accuracies.update({progress.epoch: progress.accuracy}))
    kept = int(figures["kept_epoch"])
    assert accuracies[kept] == max(accuracies[epoch] for epoch in range(3, 7))
    assert are_equal(load_weights(training.weights), load_weights(training.checkpoints[kept - 1]))
    assert figures["validation"]["accuracy"] == accuracies[kept]


def test_the_last_weights_are_kept_if_that_is_wanted(make: Make) -> None:
    training = make(epochs=4, checkpoints=True, keep="last", learning_rate=1.0)
    assert train_teacher(training)["kept_epoch"] == 4
    assert are_equal(load_weights(training.weights), load_weights(training.checkpoints[-1]))


def test_a_last_step_after_which_outputs_are_not_finite_is_a_diverged_training(make: Make) -> None:
    training = make(epochs=1, batch_size=300, learning_rate=1e38)
    with pytest.raises(DivergedError, match=r"^training diverged: the network's outputs are not finite\.$"):
        train_teacher(training)
    assert not training.weights.exists()


def test_figures_hold_metrics_settings_versions_and_seconds(make: Make) -> None:
    training = make(seed=3)
    figures = train_teacher(training)
    assert json.loads(training.figures.read_text()) == figures
    assert figures["parameters"] == 64 * 16 + 16 + 2 * 16 + 16 * 10 + 10
    assert figures["settings"]["seed"] == 3
    assert figures["settings"]["training.batch_size"] == 64
    assert figures["versions"].keys() == {"python", "autokd", "torch", "numpy"}
    assert {"accuracy", "loss", "ece"} <= figures["test"].keys()
    assert figures["seconds"] >= 0


@pytest.mark.parametrize(
    ("factory", "teacher"),
    [
        ("large", {"resize": 16}),
        ("many", {"classes": [3, 2, 1, 0, 4, 5, 6, 7, 8, 11]}),
        ("small", {"preprocess": "my_teachers_to_train:doubled"}),
        ("sure", {"probabilities": True}),
    ],
)
def test_the_teacher_is_trained_on_what_it_gets_in_a_search(
    make: Make, factory: str, teacher: dict[str, object]
) -> None:
    training = make(factory, teacher=teacher, epochs=12)
    figures = train_teacher(training)
    config = training.config.teacher.model_copy(update={"weights": str(training.weights)})
    dataset, cpu = load_data(training.config.data), torch.device("cpu")
    logits = load_teacher(config, cpu, dataset).on_split(dataset, "validation", cpu)
    accuracy = float((logits.argmax(1) == dataset.validation.labels).double().mean())
    assert accuracy == figures["validation"]["accuracy"]
    assert accuracy > 0.6


def test_mixed_samples_are_trained_on(make: Make) -> None:
    assert train_teacher(make(augmentation={"mixup": 1.0}, epochs=8))["validation"]["accuracy"] > 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"factory": "nothing"}, "returns a module without parameters: there is nothing to train"),
        ({"factory": "function"}, "must return a module to train, not function"),
        ({"factory": "large"}, r"the teacher fails on images of \(1, 8, 8\): RuntimeError"),
        ({"factory": "lazy"}, "has lazy layers, whose sizes are not known yet: run it on a sample first"),
        ({"factory": "many"}, r"gives \(12,\) outputs a sample, but the data has 10 classes: teacher.classes"),
        ({"factory": "sure"}, "outputs look like probabilities: set teacher.probabilities"),
        ({"factory": "absent"}, "has no 'absent'"),
        ({"augmentation": {"shift": 9}}, "shift must be at most 8"),
        ({"teacher": {"factory": None, "onnx": "net.onnx"}}, "the teacher is given by teacher.onnx"),
        ({"teacher": {"factory": None, "outputs": "outputs.npz"}}, "the teacher is given by teacher.outputs"),
    ],
)
def test_what_cannot_be_trained_is_refused_and_nothing_is_written(
    make: Make, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        train_teacher(make(**changes))
    assert not (tmp_path / "folder").exists()


def test_a_network_that_fails_in_training_alone_is_one_line(make: Make) -> None:
    with pytest.raises(InputError, match=r"^the teacher fails in training: ValueError: Expected more than 1 value per"):
        train_teacher(make("small", batch_size=1))


def test_a_network_that_returns_more_in_training_is_told_what_is_trained(make: Make) -> None:
    with pytest.raises(InputError, match=r"^the teacher returns a tuple in training, and one tensor otherwise: only"):
        train_teacher(make("Auxiliary"))


@pytest.mark.parametrize("name", ["teacher-3.safetensors", "teacher-3.json", "epoch-02.safetensors"])
def test_existing_files_are_replaced_only_by_force(make: Make, tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / name).write_text("mine")
    training = make(checkpoints=True)
    with pytest.raises(InputError, match=rf"{name} exists: choose another folder, or replace it with --force"):
        train_teacher(training)
    assert (tmp_path / "folder" / name).read_text() == "mine"
    train_teacher(training, force=True)
    assert (tmp_path / "folder" / name).read_bytes() != b"mine"


def test_an_unfinished_training_with_other_settings_is_abandoned_only_by_force(make: Make) -> None:
    with pytest.raises(InterruptedSearchError):
        train_teacher(make(), on_epoch=interrupt_after(1))
    other = make(learning_rate=0.01)
    with pytest.raises(InputError, match=r"with other settings: training.learning_rate was 0.05, but is 0.01 now"):
        train_teacher(other)
    train_teacher(other, force=True)
    fresh = make(folder="fresh", learning_rate=0.01)
    assert are_equal(load_weights(other.weights), trained(fresh))


def test_an_unfinished_training_goes_on_whatever_changes_of_the_students(make: Make) -> None:
    with pytest.raises(InterruptedSearchError):
        train_teacher(make(), on_epoch=interrupt_after(1))
    other = make(from_teacher=False, warm_start=0.5, views=9, data={"student_channels": [0]})
    assert are_equal(trained(other), trained(make(folder="fresh")))


def test_an_unfinished_training_goes_on_in_the_precision_that_was_measured(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    faster = "float32"
    monkeypatch.setattr(
        "autokd.teachers.training_plan.pick_precision", lambda name, device: faster if name == "auto" else name
    )
    training = make(precision="auto")
    with pytest.raises(InterruptedSearchError):
        train_teacher(training, on_epoch=interrupt_after(1))
    faster = "bfloat16"
    assert train_teacher(training)["settings"]["training.precision"] == "float32"


def test_an_unfinished_training_does_not_go_on_with_other_data(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    training = make()
    with pytest.raises(InterruptedSearchError):
        train_teacher(training, on_epoch=interrupt_after(1))
    fewer = load_data(training.config.data).subset(200)
    monkeypatch.setattr("autokd.teachers.training.load_data", lambda config: fewer)
    with pytest.raises(InputError, match="data digits changed since"):
        train_teacher(training)


def test_an_unfinished_training_whose_record_is_damaged_is_named(make: Make) -> None:
    training = make()
    with pytest.raises(InterruptedSearchError):
        train_teacher(training, on_epoch=interrupt_after(1))
    training.record.write_text('{"settings"')
    with pytest.raises(InputError, match=r"training\.json is damaged: delete .*\.unfinished to train from the start"):
        train_teacher(training)


def test_a_folder_that_cannot_be_written_is_bad_input(make: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file cannot be written"):
        train_teacher(make(folder="file"))


def test_every_epoch_has_views_of_its_own(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    views = []
    augment = "autokd.data.stream.augment"
    monkeypatch.setattr(augment, lambda samples, rows, augmentation, seed, view: views.append(view) or samples)
    train_teacher(make(epochs=3))
    assert set(views) == {0, 1, 2}
