import json
import math
import sqlite3
import struct
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autokd.database.errors import DatabaseError
from autokd.database.lease import Lease
from autokd.database.store import Store
from autokd.database.types import Json, UtcDateTime, encoded, written

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
DIALECT = None


def bits(value: float) -> bytes:
    return struct.pack("d", value)


def through(value: object) -> object:
    """Through the column type and strict JSON text."""
    text = encoded(Json().process_bind_param(value, DIALECT))  # type: ignore[arg-type]
    json.loads(text, parse_constant=pytest.fail)
    return Json().process_result_value(text, DIALECT)  # type: ignore[arg-type]


@given(JSON)
def test_any_json_value_comes_back(value: object) -> None:
    assert repr(through(value)) == repr(value)


@given(JSON)
def test_what_a_column_is_given_in_place_of_a_value_is_stored_and_read_like_it(value: object) -> None:
    given_instead, read = written(value)
    bound, bound_instead = (Json().process_bind_param(each, DIALECT) for each in (value, given_instead))  # type: ignore[arg-type]
    assert encoded(bound_instead) == encoded(bound)
    assert repr(read) == repr(value)


@given(st.floats(allow_nan=False))
def test_a_float_comes_back_bit_for_bit(value: float) -> None:
    (back,) = through([value])  # type: ignore[misc]
    assert bits(back) == bits(value)  # type: ignore[has-type]


@pytest.mark.parametrize("value", [object(), {1: "a"}, {"a": {2}}, [b"x"], {"__float__": "nan"}])
def test_what_json_cannot_hold_is_rejected(value: object) -> None:
    with pytest.raises(DatabaseError, match="must be made of"):
        Json().process_bind_param(value, DIALECT)  # type: ignore[arg-type]


def test_a_rejected_value_names_its_place() -> None:
    with pytest.raises(DatabaseError, match=r"value\['a'\]\[1\] is set"):
        Json().process_bind_param({"a": [0, {1}]}, DIALECT)  # type: ignore[arg-type]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(value=st.floats() | st.sampled_from([math.nan, math.inf, -math.inf, 5e-324, 0.1 + 0.2, -0.0]))
def test_a_metric_comes_back_from_the_database_bit_for_bit(store: Store, lease: Lease, value: float) -> None:
    event = store.record_event(lease, "metric", {"loss": value})
    (read,) = store.events(lease.search_id, after=event.id - 1)
    back = read.payload["loss"]
    assert bits(back) == bits(value) or (math.isnan(back) and math.isnan(value))


def test_nan_is_valid_json_on_disk(tmp_path: Path) -> None:
    with Store(tmp_path / "db") as store:
        store.create_search("a", 0, {"loss": math.nan}, "d", {})
    with sqlite3.connect(tmp_path / "db") as connection:
        (text,) = connection.execute("SELECT config FROM searches").fetchone()
    connection.close()
    assert json.loads(text, parse_constant=pytest.fail) == {"loss": {"__float__": "nan"}}


def test_a_moment_without_a_zone_is_rejected() -> None:
    with pytest.raises(DatabaseError, match="time zone"):
        UtcDateTime().process_bind_param(datetime(2025, 1, 1), DIALECT)  # type: ignore[arg-type]


def test_a_moment_of_any_zone_comes_back_in_utc(store: Store) -> None:
    before = datetime.now(timezone(timedelta(hours=5)))
    created = store.create_search("a", 0, {}, "d", {}).created_at
    assert before <= created <= datetime.now(UTC)
    assert created.tzinfo is UTC
    assert store.search("a").created_at == created
