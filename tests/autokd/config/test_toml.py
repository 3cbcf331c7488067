from pathlib import Path

import pytest

from autokd.config.flat import depth
from autokd.config.toml import override_config, read_config
from autokd.errors import InputError

TEXT = "[data]\nsource = 'digits'\n[teacher]\nfactory = 'm:t'\n[budget]\nparams = 1000\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(TEXT)
    return path


@pytest.mark.parametrize("name", ["2024", "1e5", "true", "nan", "0x10", "1979-05-27", "a.b_c-d"])
def test_a_name_is_text_whatever_toml_would_make_of_it(file: Path, name: str) -> None:
    assert read_config(file, name=name).name == name


@pytest.mark.parametrize("name", ["", "'x'", '"x"', "a b", "../x", ".hidden"])
def test_a_name_that_no_folder_should_have_is_refused(file: Path, name: str) -> None:
    with pytest.raises(InputError, match="command line: name: string should match pattern"):
        read_config(file, name=name)


@pytest.mark.parametrize(
    ("stem", "name"), [("my search (2)", "my-search-2-"), ("größe", "gr-e"), (".a b", "a-b"), ("a.b_c-d", "a.b_c-d")]
)
def test_a_search_is_named_after_its_file_with_hyphens_for_what_no_name_has(file: Path, stem: str, name: str) -> None:
    assert read_config(file.rename(file.with_name(f"{stem}.toml"))).name == name


def test_a_file_without_anything_a_name_may_have_needs_a_name(file: Path) -> None:
    with pytest.raises(InputError, match="name: string should match pattern"):
        read_config(file.rename(file.with_name("探索.toml")))


def test_a_name_has_at_most_100_characters(file: Path) -> None:
    assert len(read_config(file, name="a" * 100).name) == 100
    with pytest.raises(InputError, match="name: must have at most 100 characters, but has 200"):
        read_config(file, name="a" * 200)


def test_an_empty_method_is_refused(file: Path) -> None:
    file.write_text(f"{TEXT}[distillation]\nmethod = ''\n")
    with pytest.raises(InputError, match=r"distillation\.method: must be a name, but is empty: omit the key"):
        read_config(file)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"a = {'[' * 1000}{']' * 1000}", "is not TOML: it is nested too deep"),
        (f"a = {'9' * 5000}", "is not TOML: Exceeds the limit"),
        (f"[{'.'.join(['a'] * 1000)}]", "sections and lists are nested more than 20 deep"),
    ],
)
def test_a_file_beyond_what_python_takes_is_refused_in_one_line(file: Path, line: str, message: str) -> None:
    file.write_text(f"{line}\n{TEXT}" if line.startswith("a") else f"{TEXT}{line}\n")
    with pytest.raises(InputError) as caught:
        read_config(file)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("value", ["[" * 1000 + "]" * 1000, "9" * 5000])
def test_an_override_beyond_what_python_takes_is_refused_in_one_line(file: Path, value: str) -> None:
    with pytest.raises(InputError, match=r"override 'trials': "):
        override_config(read_config(file), [f"trials={value}"])


@pytest.mark.parametrize("path", ["x" * 300, "x" * 300 + ".toml"])
def test_a_file_whose_name_is_too_long_is_no_traceback(path: str) -> None:
    with pytest.raises(InputError):
        read_config(Path(path))


def test_a_source_whose_name_is_too_long_is_left_to_the_data(file: Path) -> None:
    assert read_config(file, [f"data.source={'x' * 300}"]).data.source == "x" * 300


@pytest.mark.parametrize("override", ["a.b.c=3", "training.rung=3", "distillation.methods=['kd', 'kd']"])
def test_what_the_command_line_says_wrong_is_said_to_be_there(file: Path, override: str) -> None:
    with pytest.raises(InputError, match=r"^command line: "):
        read_config(file, [override])


def test_depth_counts_what_is_within_each_other() -> None:
    assert [depth(value) for value in (3, {}, {"a": 1}, {"a": [{"b": 2}], "c": {}})] == [0, 1, 1, 3]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("timm:models/mine", "timm:{folder}/models/mine"),
        ("transformers:models/mine", "transformers:{folder}/models/mine"),
        ("transformers:google/vit", "transformers:google/vit"),
        ("timm:resnet18", "timm:resnet18"),
        ("models:mine", "models:mine"),
        ("timm:", "timm:"),
    ],
)
def test_the_folder_of_a_model_is_relative_to_the_file(file: Path, name: str, expected: str) -> None:
    for folder in ("models/mine", "mine"):
        (file.parent / folder).mkdir(parents=True)
    file.write_text(TEXT.replace("m:t", name))
    assert read_config(file).teacher.factory == expected.format(folder=file.parent)
