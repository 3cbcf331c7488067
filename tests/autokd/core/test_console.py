import pytest
from rich.table import Table

from autokd.core.console import PlainConsole


def test_a_table_in_a_file_or_pipe_is_not_cut_to_the_width_of_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    PlainConsole().print(Table("x" * 70, "y" * 70))
    assert "y" * 70 in capsys.readouterr().out
