"""The benchmark is a script whose modules import each other by their plain names, as Python lets a script do."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
