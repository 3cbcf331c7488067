"""A client names teachers and data; it sends no code, path, address or reference."""

import tomllib
from pathlib import Path

import pytest

from autokd.errors import InputError
from autokd.recipes.catalogue import find_config
from autokd.service.registered import Registered, read_registered

PLAIN = """
[data]
name = "digits"
[teacher]
name = "digits"
[budget]
params = 7_700
"""


@pytest.fixture(scope="module")
def registered() -> Registered:
    return read_registered(None)


@pytest.mark.parametrize("recipe", ["digits", "fashion-mnist"])
def test_a_recipe_by_its_names_is_the_recipe(registered: Registered, recipe: str) -> None:
    assert registered.config(registered.recipe(recipe)) == find_config(recipe, [])


def test_what_a_client_may_set_is_set(registered: Registered) -> None:
    more = {"trials": 3, "workers": {"count": 1}, "space": {"name": "nago"}, "optimizer": {"learn_from": ["first"]}}
    config = registered.config(tomllib.loads(PLAIN) | more | {"teacher": {"name": "digits", "floor": 0.5}})
    assert (config.trials, config.workers.count, config.space.name) == (3, 1, "nago")
    assert (config.teacher.floor, config.optimizer.learn_from) == (0.5, ("first",))


SMUGGLED = [
    *('[data]\nsource = "os:getcwd"', '[data]\nname = "digits"\nfolder = "/etc"', '[data]\nname = "/etc/passwd"'),
    *('[data]\nname = "digits"\ncache = "x"', '[data]\nname = ["digits"]', "[data]", "data = 5", 'data = "digits"'),
    *('[data]\nname = "digits"\ndownload = true', '[data]\nname = "hf:user/name"', '[data]\nname = "my_data:load"'),
    *(
        '[teacher]\nfactory = "os:getcwd"',
        '[teacher]\nname = "digits"\nweights = "x.pth"',
        '[teacher]\nonnx = "x.onnx"',
    ),
    *('[teacher]\nname = "os:getcwd"', '[teacher]\nname = "digits"\npreprocess = "os:system"', "teacher = []"),
    *('[teacher]\nname = "digits"\ndisk_bytes = 9', '[teacher]\nname = "digits"\nfactory = "timm:resnet18"'),
    *('[space]\nname = "my_space:Space"', '[space]\nnames = ["nago", "a.b:C"]', '[space]\nranges = {"a:b" = 1}'),
    *(
        '[distillation]\nmethod = "a:B"',
        '[distillation]\nmethod = "ctkd+a:B"',
        '[distillation]\nmethods = ["kd", "a:B"]',
    ),
    *('[optimizer]\nname = "a:B"', '[optimizer]\npruner = "a:B"', '[optimizer]\noptions = {file = "/etc/passwd"}'),
    *(
        '[optimizer]\nlearn_from = ["x.json"]',
        '[optimizer]\nlearn_from = ["../x"]',
        '[optimizer]\noptions = {x = "a\\\\b"}',
    ),
    *('[workers]\naddress = "tcp://10.0.0.1:8786"', '[workers]\nengine = "dask"', '[workers]\nengine = "ray"'),
    *(
        '[workers]\ndevice = "cuda"',
        "workers = 1",
        "[evil]\nx = 1",
        'home = "/etc"',
        'name = "../../etc"',
        'name = "a/b"',
    ),
    *('name = "<script>"', 'name = ".hidden"', f'name = "{101 * "a"}"', "trials = 0", "trials = 1e99"),
    *(
        f"[optimizer]\noptions = {{x = {30 * '['}{30 * ']'}}}",
        '[training]\noptimizer = "\\u0000"',
        f'name = "{10**4 * "a"}"',
    ),
]


@pytest.mark.parametrize("text", SMUGGLED, ids=lambda text: text.replace("\n", " ")[:60])
def test_what_is_more_than_names_and_numbers_is_refused_in_one_line(registered: Registered, text: str) -> None:
    values = tomllib.loads(PLAIN) | tomllib.loads(text)
    with pytest.raises(InputError) as refused:
        registered.config(values)
    assert "\n" not in str(refused.value)


def test_a_server_registers_names_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "names.toml"
    file.write_text(
        '[teachers.large]\nfactory = "autokd.recipes.teachers:digits"\nweights = "large.pth"\n'
        '[data.mine]\nsource = "mine.npz"'
    )
    registered = read_registered(file)
    config = registered.config({"data": {"name": "mine"}, "teacher": {"name": "large"}, "budget": {"params": 9}})
    assert (config.data.source, config.teacher.weights) == (str(tmp_path / "mine.npz"), str(tmp_path / "large.pth"))
    assert {"digits", "fashion-mnist", "large"} == registered.teachers.keys()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "is not TOML"),
        ("[workers]\ncount = 1", "workers: must be one of data, teachers"),
        ("[teachers.a]\nfactry = 'x'", "teacher a: unknown key 'factry'; the nearest known is 'factory'"),
        ("[teachers.a]\npruning = { shares = [0.3], epohs = 3 }", "teacher a: unknown key 'pruning.epohs'.*'epochs'"),
        (
            "[data.a]\nsource = 'hf:x'\nsplits = { train = 't', valdation = 'v' }",
            "data a: unknown key 'splits.valdation'.*'validation'",
        ),
        ("teachers = 3", r"teachers: must be tables \[teachers.NAME\], but got 3"),
        ("[data.a]\nfolder = 'x'", "data a: "),
        ("[data.'a/b']\nsource = 'digits'", "a name must be made of"),
    ],
)
def test_a_file_of_names_that_makes_no_sense_is_one_clear_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "names.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=said):
        read_registered(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"names\.toml: No such file"):
        read_registered(tmp_path / "names.toml")
