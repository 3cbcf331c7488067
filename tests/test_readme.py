"""What README.md says can be done can be done: its commands, files and programs are taken from it and tried."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import typer.main
from safetensors.torch import save_file

import autokd
from autokd.cli.app import app
from autokd.config import BudgetConfig, read_config
from autokd.export.folder import FILES
from search_spaces.budget import Budget
from search_spaces.cost import cost
from search_spaces.nasbench201 import NasBench201, parse_cell
from search_spaces.registry import known_spaces

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
    assert {"params", *line.split(", ")} == set(BudgetConfig.model_fields)


def test_the_exported_files_are_those_of_an_export():
    table = README.split("## What comes out")[1].split("`autokd export`")[0]
    assert set(re.findall(r"^\| `([\w.]+)` \|", table, re.MULTILINE)) == {*FILES, "manifest.json"}


def test_the_public_names_are_public():
    tree = ast.parse(program("autokd.search("))
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    names = {node.attr for node in attributes if isinstance(node.value, ast.Name) and node.value.id == "autokd"}
    names |= set(re.findall(r"\bautokd\.([A-Z]\w+)", README))
    assert {"search", "Budget", "TrustRegionSampler"} <= names <= set(autokd.__all__)


@pytest.mark.slow  # workers in processes of their own, twice
def test_your_own_teacher_and_data_as_a_file(folder: Path):
    (text,) = blocks("toml")
    (folder / "search.toml").write_text(text)
    assert read_config(folder / "search.toml").trials == 60
    settings = ("trials=2", "training.rungs=[1, 2]", "training.batch_size=20", "final.epochs=2")
    words = [word for setting in settings for word in ("--set", setting)]
    out = run(folder, "-m", "autokd", "search", "search.toml", *words, "--export", "student")
    assert "without autokd: logits differ by" in out


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
