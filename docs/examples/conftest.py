"""Lets the tests of the example import it when they are run by themselves."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
