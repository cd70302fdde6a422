"""`python tools/methods.py …` is `mdmf methods …`, from a checkout."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also where only the requirements are installed

from mdmf.cli import main

if __name__ == "__main__":
    sys.exit(main(["methods", *sys.argv[1:]]))
