import subprocess
import sys


def test_importing_the_package_or_an_architecture_imports_nothing_heavy() -> None:
    code = (
        "import sys, search_spaces, search_spaces.architecture.format, search_spaces.architecture.cost;"
        "print([name for name in ('torch', 'networkx', 'optuna') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
