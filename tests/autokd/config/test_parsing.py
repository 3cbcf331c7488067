import re
from typing import Any

import pytest

from autokd.config.parsing import checked_copy
from autokd.config.schema import SearchConfig
from autokd.errors import InputError
from autokd.recipes.catalogue import find_config

CONFIG = find_config("digits", [])


def test_a_copy_with_allowed_changes_is_as_it_was() -> None:
    changed = CONFIG.model_copy(update={"trials": 7, "final": CONFIG.final.model_copy(update={"epochs": 60})})
    assert checked_copy(changed) == changed
    assert checked_copy(CONFIG) == CONFIG


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trials": 0}, "configuration: trials: input should be greater than 0, but got 0."),
        ({"final": CONFIG.final.model_copy(update={"epochs": "ten"})}, "configuration: final.epochs: "),
        ({"final": {"epochs": 2}}, "configuration: final: unknown, or not as it would be read from a file; "),
        ({"trial": 100}, "configuration: trial: unknown, or not as "),
    ],
)
def test_what_pydantic_copies_unchecked_is_refused(changes: dict[str, Any], message: str) -> None:
    changed: SearchConfig = CONFIG.model_copy(update=changes)
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        checked_copy(changed)
