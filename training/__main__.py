"""`python -m training`: train the model that comes with cvpipe, and write its ONNX file and its card."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from training.course import train
from training.export import write_model
from training.facts import FOLDER, STEPS


def main() -> None:
    """Train, and write the files."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch; default: %(default)s")
    parser.add_argument(
        "--out", type=Path, default=FOLDER, help="folder of the files; default: where cvpipe ships them"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    write_model(train(options.steps), options.out)


if __name__ == "__main__":
    main()
