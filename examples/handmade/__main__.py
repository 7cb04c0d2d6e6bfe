"""`python -m examples.handmade MODELS`: writes the models into a folder of models (CVPIPE_MODELS_DIR)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from examples.handmade.folder import MODELS, write_models


def main() -> int:
    """Write the models and say what each does."""
    parser = argparse.ArgumentParser(prog="python -m examples.handmade", description=__doc__)
    parser.add_argument("models", type=Path, help="the folder of models; it is made if need be")
    folder = parser.parse_args().models
    try:
        write_models(folder)
    except OSError as error:
        print(f"can't write to {folder}: {error.strerror}", file=sys.stderr)
        return 1
    for name, model in MODELS.items():
        print(f"{folder / name}: {model.card['task']}; {model.card['source']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
