"""`python other_ultralytics.py export|square|rectangular NETWORK FOLDER VIDEO`: prints one line of JSON.

Runs by itself, in an environment that has `ultralytics`: it imports nothing of cvpipe. Weights are random: for speed
they do as well. `predict(stream=True)` as in its documentation, on PyTorch, its default, and with all cores.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from importlib import metadata
from pathlib import Path

os.environ["YOLO_AUTOINSTALL"] = "false"
os.environ["YOLO_OFFLINE"] = "true"
SIZE = 640


def main() -> int:
    """Export the network as ONNX, or read a video with it."""
    from ultralytics import YOLO

    way, network, folder, video = sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4]
    weights = folder / f"{network}-random.pt"
    if way == "export":
        import torch

        torch.manual_seed(0)
        model = YOLO(f"{network}.yaml", task="detect")
        model.save(str(weights))
        for shape in ("square", "rectangular"):  # exported at one size, its anchors are written into the graph
            made = YOLO(str(weights)).export(
                format="onnx", imgsz=SIZE, simplify=False, opset=17, device="cpu", dynamic=shape == "rectangular"
            )
            shutil.move(str(made), folder / f"{network}-{shape}.onnx")
        said = {"folder": str(folder)}
    else:
        model = YOLO(str(weights))
        results = model.predict(
            video, stream=True, imgsz=SIZE, rect=way == "rectangular", device="cpu", verbose=False, save=False
        )
        frames, started, shape = 0, 0.0, ()
        for result in results:
            started = started or time.perf_counter()  # loading and warming up are no part of it
            frames += 1
            shape = tuple(result.orig_shape)
        said = {"frames": frames, "fps": (frames - 1) / (time.perf_counter() - started), "shape": shape}
    said["versions"] = {name: metadata.version(name) for name in ("ultralytics", "torch")}
    sys.stdout.write("\n" + json.dumps(said) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
