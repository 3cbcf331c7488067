import sys

import pytest

from autokd.core.extras import EXTRAS, needs
from autokd.errors import InputError


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_missing_package_names_the_extra_to_install(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "colorsys", None)
    expected = rf"^This needs {EXTRAS[extra]}: pip install 'autokd\[{extra}\]'\.$"
    with pytest.raises(InputError, match=expected), needs(extra, "This"):
        import colorsys  # noqa: F401


def test_what_is_installed_is_imported() -> None:
    with needs("plot", "This"):
        import colorsys
    assert colorsys.rgb_to_hsv(0, 0, 0) == (0, 0, 0)
