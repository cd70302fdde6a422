"""Train the tiny CLIP of the demo: `python tools/make_demo_encoder.py` (see mdmf/encoders/tiny/README.md)."""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without an installed mdmf


def main() -> None:
    """Train the encoder and print its record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="folder of the weights; default: the folder of the included encoder")
    parser.add_argument("--steps", type=int, help="training steps; default: as for the included encoder")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    from mdmf.resources import resource_folder
    from mdmf.shapes.make_encoder import make_demo_encoder

    out = arguments.out or resource_folder("tiny")
    print(json.dumps(make_demo_encoder(out, n_steps=arguments.steps, seed=arguments.seed), indent=2))


if __name__ == "__main__":
    main()
