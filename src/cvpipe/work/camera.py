"""Camera: find a lens in the video of a chessboard, and calibrate the camera with it."""

from __future__ import annotations

from cvpipe.calibration import calibrate
from cvpipe.camera import CameraSpec
from cvpipe.engine.chessboard import FoundLens, find_lens
from cvpipe.errors import NotFound
from cvpipe.job import JobError
from cvpipe.store import Ring
from cvpipe.tenants import owned, tenant_of
from cvpipe.work.bench import Bench, Lease, leased
from cvpipe.work.source import index_of, video_file


def camera(bench: Bench, task: str) -> None:
    """Task `camera:<camera>@<version>`: finds the lens of that version, or says why there is none."""
    name, _, version = task.partition(":")[2].rpartition("@")

    def refuse(lease: Lease, error: JobError) -> list[Ring]:
        bench.store.end_camera(lease.claim, name, int(version), error=error)
        return []

    with leased(bench, task, on_given_up=refuse) as lease:
        if lease is None:
            return
        try:
            spec = bench.store.camera(name, int(version)).spec
        except NotFound:
            bench.store.drop(lease.claim)  # it was removed meanwhile
            return
        if spec.chessboard is None:
            bench.store.drop(lease.claim)
            return
        video = owned(tenant_of(name), spec.chessboard.video)
        file = video_file(bench, video, lease)
        found = with_lens(
            spec,
            find_lens(
                bench.decoders,
                file,
                index_of(bench, video, file),
                bench.tools.cv2,
                columns=spec.chessboard.columns,
                rows=spec.chessboard.rows,
                on_progress=lambda _done, _total: lease.check(),
            ),
        )
        if found.sees_ground:
            calibrate(found)
        bench.store.end_camera(lease.claim, name, int(version), found=found)


def with_lens(spec: CameraSpec, found: FoundLens) -> CameraSpec:
    """The camera with the lens that was found, in the pixels in which its points were counted."""
    width, height = found.size
    alone = CameraSpec(lens=found.lens, width=width, height=height)
    if spec.width is not None and spec.height is not None:
        alone = alone.scaled(spec.width, spec.height)
    taken = {"lens": alone.lens, "width": alone.width, "height": alone.height, "chessboard": None}
    return CameraSpec.model_validate(spec.model_copy(update=taken).model_dump(mode="json"))
