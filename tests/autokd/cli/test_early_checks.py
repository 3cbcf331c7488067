"""What can be told without data is told before images are decoded; a failed check leaves nothing behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autokd.searches import api, preflight

Refused = Callable[..., str]

LONG = "x" * 300


@pytest.fixture
def early(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> Refused:
    """As `refused`, where it is a mistake to load data."""

    def load_data(_: object) -> None:
        raise AssertionError("data were loaded")

    monkeypatch.setattr(preflight, "load_data", load_data)
    Path("here.safetensors").touch()
    Path("w.weights").touch()
    Path("my_odd.py").write_text(
        "from search_spaces.spaces.nago import Nago\n"
        "from optuna.samplers import RandomSampler\n"
        "def teacher(): return 1\n"
        "class Odd(Nago):\n"
        "    def __init__(self, *, secret='', **rest):\n"
        "        super().__init__(**rest)\n"
        "        self.secret = 1 / len(secret)\n"
        "class Failing(RandomSampler):\n"
        "    def sample_relative(self, *_): raise KeyError('no package')\n"
    )
    return refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("space.name=nagoo", "space: Unknown search space 'nagoo'. Did you mean 'nago'?"),
        ("space.ranges.top_nods=3", "Did you mean 'top_nodes'?"),
        (
            "space.ranges.width='wide'",
            "space: Option `width` of space 'nago' must be float or none or int, but got",
        ),
        ("space.ranges.max_width=2.5", "space: Option `max_width` of space 'nago' must be int, but got 2.5."),
        ("space={name='darts', ranges={cells=[2, 4]}}", "Option `cells` of space 'darts' must be int, but got [2, 4]."),
        ("space={name='darts', ranges={cells=true}}", "Option `cells` of space 'darts' must be int, but got True."),
        ("space={names=['nago', 'block']}", "space: Unknown search space 'block'. Did you mean 'blocks'?"),
        ("space={names=['nago', 'nago']}", "space.names: must be different, but 'nago' comes more than once."),
        ("space={name='nago', names=['nago', 'blocks']}", "space: name and names exclude each other."),
        (
            "space={names=['nago', 'blocks'], ranges={cells=2}}",
            "must begin with one of nago., blocks., but got 'cells'.",
        ),
        ("space={names=['nago', 'blocks'], ranges={blocks={cells=2}}}", "Unknown dimension of space 'blocks' 'cells'."),
        ("space={name='my_odd:Odd', ranges={secret=''}}", "space: Space 'my_odd:Odd' cannot be made with the options"),
        ("optimizer.name=tpee", "optimizer: Unknown sampler 'tpee'"),
        ("optimizer.name='my_odd:Failing'", "optimizer: 'my_odd:Failing' proposes no trial with the options {}: Key"),
        ("optimizer.pruner=halve", "optimizer.pruner: Unknown pruner 'halve'"),
        ("optimizer.options.feasible='yes'", "`feasible` must be a function, but got 'yes'."),
        ("optimizer.options.reference_point=3", "`reference_point` must be a sequence of finite numbers, but got 3."),
        (
            "optimizer.options.reference_point='a'",
            "`reference_point` must be a sequence of finite numbers, but got 'a'.",
        ),
        ("optimizer.options.deterministic='no'", "`deterministic` must be a bool, but got 'no'."),
        ("optimizer.options.n_startup_trials='3'", "cannot be made with the options {'n_startup_trials': '3'}"),
        ("distillation.method=dk", "but got 'dk'; the nearest known is 'dkd'"),
        ("distillation.ranges.temprature=3", "distillation.ranges: "),
        ("workers.engine=locl", "workers: `engine` must be one of"),
        ("workers.device=gpu", "workers.device 'gpu' is not usable here: "),
        ("workers.device=meta", "workers.device 'meta' is not usable here: "),
        ("teacher.factory=my_odd:teachr", "teacher.factory: 'my_odd' has no 'teachr'; the nearest known is 'teacher'."),
        ("teacher.preprocess=my_odd:prepare", "teacher.preprocess: 'my_odd' has no 'prepare'."),
        ("teacher.weights=w.weights", "teacher.weights must end in "),
        ("teacher.weights=none.safetensors", "teacher.weights: there is no file "),
        ("teacher.alternatives=['none.pth']", "teacher.weights: there is no file "),
        ("teacher={onnx='none.onnx'}", "teacher.onnx: there is no file "),
        ("teacher={outputs='none.npz'}", "teacher.outputs: there is no file "),
        ("data.source=digit", "but got 'digit'; the nearest known is 'digits'."),
        ("data.source=none.npz", "is not a readable .npz archive: there is no such file."),
        ("data.source=my_odd:datas", "data.source: 'my_odd' has no 'datas'."),
        ("data.image_size=32", "data.image_size = 32, but only images of a folder or a map-style data set are resized"),
        (f"data.source={LONG}", "data.source must be one of "),
        (f"data.source={LONG}.npz", "is not a readable .npz archive: there is no such file."),
        (f"teacher.weights={LONG}.pth", "teacher.weights: there is no file "),
    ],
)
def test_what_needs_no_data_is_told_before_they_are_loaded(early: Refused, change: str, message: str) -> None:
    assert message in early(change)


@pytest.mark.parametrize(("kind", "limit"), [("outputs", "params"), ("onnx", "activation_bytes")])
def test_a_share_of_what_the_teacher_does_not_tell_is_refused(early: Refused, kind: str, limit: str) -> None:
    message = early(f"teacher={{{kind}='here.safetensors'}}", f"budget.of_teacher.{limit}=0.5")
    assert f"budget.of_teacher.{limit}: the teacher's {limit} cannot be told, since it is no torch module; " in message


def test_teacher_objects_are_no_reason_to_load_data_before_the_checks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from autokd.config.toml import override_config
    from autokd.errors import InputError
    from autokd.recipes.catalogue import find_config

    monkeypatch.setattr(api, "teacher_from_python", lambda *_: pytest.fail("data were loaded"))
    config = override_config(find_config("digits", [], None), ["optimizer.name=tpee"])
    with pytest.raises(InputError, match="Unknown sampler"):
        api.begin(config, tmp_path / "new", teacher=lambda images: images)


@pytest.mark.parametrize("method", ["fitnet", "kd"])
def test_layers_that_the_teacher_lacks_leave_nothing_behind(refused: Refused, method: str) -> None:
    message = refused("teacher.layers=['block.0']", f"distillation={{method='{method}'}}")
    assert "teacher.layers: the teacher has no module 'block.0'; the nearest known is 'blocks.0'" in message


def test_a_folder_that_is_not_looked_at_leaves_nothing_behind(refused: Refused) -> None:
    assert "data.folder is where the files of 'fashion-mnist' are, but data.source is 'digits'" in refused(
        "data.folder='/tmp'"
    )


def test_a_factory_with_random_weights_is_said_to_be_one(refused: Refused) -> None:
    Path("my_random.py").write_text(
        "import torch\n"
        "from autokd.recipes.teachers import digits\n"
        "def teacher():\n"
        "    network = digits()\n"
        "    with torch.no_grad():\n"
        "        next(network.parameters()).normal_()\n"
        "    return network\n"
    )
    message = refused("teacher={factory='my_random:teacher', floor=0.0}")
    assert "teacher.factory 'my_random:teacher' is not deterministic: two calls gave different weights" in message
    assert "set teacher.weights, or seed" in message


def test_a_shift_beyond_the_image_is_refused(refused: Refused) -> None:
    message = refused("training.augmentation.shift=1000")
    assert message == "autokd: training.augmentation.shift must be at most 8, the images' size, but got 1000.\n"


def test_a_cache_whose_name_is_too_long_is_one_line(refused: Refused) -> None:
    Path("my_pictures.py").write_text(
        "import numpy as np\n"
        "class Pictures:\n"
        "    def __len__(self): return 50\n"
        "    def __getitem__(self, index): return np.full((8, 8, 1), index, np.uint8), index % 10\n"
        "def data(): return {'train': Pictures()}\n"
    )
    assert "File name too long" in refused(f"data={{source='my_pictures:data', cache='{LONG}', memory_bytes=1}}")


def test_arrays_of_a_function_are_not_resized_and_it_says_so(refused: Refused) -> None:
    source = "data={source='autokd.data.sources.digits:digits', image_size=32}"
    assert "data.image_size = 32, but only images of a folder or a map-style data set are resized" in refused(source)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("s3://no-such-bucket/x", "s3://no-such-bucket/x cannot be used: The specified bucket does not exist"),
        ("s3://key:hush@bucket/x", "must hold no password or key: give it to every machine by its environment"),
    ],
)
@pytest.mark.usefixtures("bucket")
def test_a_url_that_workers_cannot_use_is_refused(refused: Refused, url: str, reason: str) -> None:
    message = refused(f"workers.files={url}")
    assert message.endswith(f"workers.files: {reason}.\n")
    assert "hush" not in message


def test_the_text_says_what_is_under_way(invoke: Any, tiny: tuple[str, ...], tmp_path: Path) -> None:
    lines = invoke("search", "digits", *tiny, "--set", "trials=1", "--home", tmp_path / "new").out.splitlines()
    assert lines[0] == "reading data, decoding images ..."
    assert lines[1] == "asking the teacher about the validation samples ..."
