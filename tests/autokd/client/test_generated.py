from client_code import CALLS, TYPES, calls_code, digest, document


def test_the_generated_code_is_that_of_the_service() -> None:
    assert CALLS.read_text() == calls_code(document()), "run `make client`"
    assert digest(document()) in TYPES.read_text(), "run `make client`"
