"""Whether stages that choose crops, and those that look at them, fit together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cvpipe.stages import CropStage, FrameStage, SequenceStage, Stage


def ill_cropped(stage: Stage[Any], earlier: Mapping[str, Stage[Any]]) -> str | None:
    """Why a stage can't choose or look at crops as it says, as the end of a sentence about it; None: it can.

    earlier: the stages before it, by name.
    """
    if stage.scope == "outside":  # it makes its pictures from frames, as they are to be sent
        return None
    if isinstance(stage, CropStage):
        return _ill_chosen(stage, earlier)
    crops = [known for name in stage.references() if isinstance(known := earlier.get(name), CropStage)]
    return _ill_shown(stage, crops[0]) if crops else None


def _ill_chosen(stage: CropStage[Any], earlier: Mapping[str, Stage[Any]]) -> str | None:
    for name in stage.references():
        if isinstance(earlier.get(name), CropStage):
            return f"can't make crops of the crops of {name!r}; name the stage that found the objects"
        numbered = any(
            isinstance(known, SequenceStage) and known.gives_tracks and name in (known.references() or (name,))
            for known in earlier.values()
        )
        if stage.needs_tracks and not numbered:
            return (
                f"chooses the best of each track of {name!r}, which has none: put a stage `track` before it, or give "
                "`every`"
            )
    others = [known for known in earlier.values() if isinstance(known, CropStage)]
    if others and others[0].options.queue != stage.options.queue:
        return f"shares a decode with {others[0].name!r}: give both the same `queue`"
    return None


def _ill_shown(stage: Stage[Any], crops: CropStage[Any]) -> str | None:
    if not isinstance(stage, FrameStage) or not stage.sees_crops:
        return f"can't look at crops, which {crops.name!r} makes; name the stage that found the objects"
    if len(stage.references()) > 1:
        return f"looks at the crops of {crops.name!r}, and so at nothing else"
    if stage.boundaries():
        return f"looks at the crops of {crops.name!r}, which know nothing of scenes"
    if stage.memory:
        return f"looks back at earlier frames, which crops of {crops.name!r} are not"
    if stage.tells_masks and crops.is_turned:
        return (
            f"tells masks in pixels of the frame, but the crops of {crops.name!r} are turned: leave `align` out there"
        )
    if stage.options.queue not in (None, crops.options.queue):
        return f"runs where the crops of {crops.name!r} are made: leave `queue` out, or give both the same"
    return None
