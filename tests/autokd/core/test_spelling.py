from autokd.core.spelling import free_name


def test_a_name_that_is_taken_gets_the_first_free_number() -> None:
    taken = {"b", "c", "c-2", "c-4"}
    assert [free_name(name, taken) for name in "abc"] == ["a", "b-2", "c-3"]
