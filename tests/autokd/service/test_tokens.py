import errno
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

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


def test_tokens_that_are_made_at_the_same_time_are_all_kept(tokens: Tokens) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: tokens.make("read"), range(8)))
    assert [tokens.caller(token) is not None for token in made] == 8 * [True]


@pytest.mark.parametrize("change", [lambda tokens: tokens.make("read"), Tokens.forget])
def test_tokens_on_a_disk_that_cannot_be_written_are_an_error_of_one_line(
    tokens: Tokens, monkeypatch: pytest.MonkeyPatch, change: Callable[[Tokens], object]
) -> None:
    tokens.make("read")
    monkeypatch.setattr(Path, "open", mock.Mock(side_effect=OSError(errno.EROFS, os.strerror(errno.EROFS))))
    with pytest.raises(InputError, match=r"tokens\.json cannot be changed: Read-only file system\.$"):
        change(tokens)
