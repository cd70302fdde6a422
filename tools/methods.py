"""`mdmf methods` from a checkout: `python tools/methods.py …`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without an installed mdmf

from mdmf.cli import main

if __name__ == "__main__":
    sys.exit(main(["methods", *sys.argv[1:]]))
