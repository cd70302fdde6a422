"""Make the tiny CLIP of the demo again: `python tools/make_demo_encoder.py` (see mdmf/encoders/tiny/README.md)."""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also where only the requirements are installed


def main() -> None:
    """Read the options, train, and print what was reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="folder of the weights; default: that of the shipped ones")
    parser.add_argument("--steps", type=int, help="training steps; default: those of the shipped encoder")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    from mdmf.resources import resource_folder
    from mdmf.shapes.make_encoder import make_demo_encoder

    out = arguments.out or resource_folder("tiny")
    print(json.dumps(make_demo_encoder(out, n_steps=arguments.steps, seed=arguments.seed), indent=2))


if __name__ == "__main__":
    main()
