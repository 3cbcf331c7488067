import json
from pathlib import Path

import pytest

from autokd.errors import InputError
from autokd.service.tokens import Caller, Tokens


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(tmp_path / "service" / "tokens.json")


def test_a_token_is_known_by_its_digest_alone(tokens: Tokens) -> None:
    token = tokens.make("run")
    caller = tokens.caller(token)
    assert caller is not None
    assert caller.role == "run"
    assert token not in tokens.file.read_text()
    assert json.loads(tokens.file.read_text())[0]["digest"].startswith(caller.name)


@pytest.mark.parametrize("change", [str.upper, lambda token: token[:-1], lambda token: token + "x", lambda token: ""])
def test_no_other_text_is_a_token(tokens: Tokens, change) -> None:
    assert tokens.caller(change(tokens.make("admin"))) is None


def test_all_tokens_are_void_once_they_are_forgotten(tokens: Tokens) -> None:
    made = [tokens.make("read"), tokens.make("admin")]
    assert (tokens.exist, tokens.forget(), tokens.exist) == (True, 2, False)
    assert [tokens.caller(token) for token in made] == [None, None]


def test_a_role_may_do_what_the_lesser_ones_may() -> None:
    may = {
        role: [Caller("", role).may(other) for other in ("read", "run", "admin")] for role in ("read", "run", "admin")
    }
    assert may == {"read": [True, False, False], "run": [True, True, False], "admin": [True, True, True]}


def test_a_file_that_holds_no_tokens_lets_nobody_in(tokens: Tokens) -> None:
    tokens.file.parent.mkdir()
    tokens.file.write_text('[{"role": "admin"}]')
    with pytest.raises(InputError, match="cannot be read"):
        tokens.caller("")
