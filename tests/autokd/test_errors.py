from autokd.errors import first_line


def test_the_first_line_of_a_message_is_the_first_that_says_something() -> None:
    assert first_line(ValueError("\n  no room.\nmore")) == "no room"
    assert first_line(ValueError("")) == "ValueError"
