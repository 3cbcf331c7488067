"""A recorded search that goes on with another configuration."""

from pathlib import Path

import pytest

from autokd.errors import InputError
from autokd.searches.api import find


def test_a_changed_configuration_is_checked_before_it_is_recorded(home: Path) -> None:
    result = find("digits", home)
    before = result.config
    with pytest.raises(InputError, match=r"^configuration: trials: input should be greater than 0, but got 0"):
        result.resume(before.model_copy(update={"trials": 0}))
    assert find("digits", home).config == before


def test_training_with_more_trials_leaves_a_search_to_be_resumed(home: Path) -> None:
    result = find("digits", home)
    result.train()
    assert result.progress.status == "finished"
    result.train(result.config.model_copy(update={"trials": result.config.trials + 5}))
    assert result.progress.status == "interrupted"
