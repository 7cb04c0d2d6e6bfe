"""A card that decodes videos, tried before it is used: the parent's side."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field

from cvpipe.errors import CvpipeError, DeviceUnavailable
from cvpipe.log import fields
from cvpipe.video import hardware, untrusted, wire
from cvpipe.video.hardware import Decode, Refused
from cvpipe.video.index import VideoFacts
from cvpipe.video.limits import Limits
from cvpipe.video.spawning import ForkServer
from cvpipe.video.talk import Talk

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CardServer:
    """number: CUDA's, of the card. server: forks the decoders that may use it. refused: what it could not open."""

    number: int
    server: ForkServer
    refused: Refused = field(default_factory=Refused)

    def why_not(self, facts: VideoFacts) -> str | None:
        """Why a video is decoded on the CPU; None where the card is asked."""
        return hardware.FAILURES[hardware.OPEN] if facts in self.refused else hardware.why_not(facts)

    def try_out(self, limits: Limits) -> str | None:
        """Why it does not decode; None where it gave the picture that the CPU gives."""
        try:
            if self.server.lacks:
                return f"the driver is not whole: {untrusted.words(self.server.lacks)}"
            memory, _ = wire.share({"do": "try", "limits": limits.to_dict(), "card": self.number}, (), (), 0)
            try:
                process = self.server.fork(memory, memory)
            finally:
                os.close(memory)
            try:
                said = Talk(process, limits).receive()
            finally:
                process.end()
        except CvpipeError as error:
            return str(error)
        return None if said[0] == wire.END else untrusted.words(said[wire.card_message.size :])


def open_card(decode: Decode, number: int, limits: Limits) -> CardServer | None:
    """The card that `nvdec` or `auto` means; None where `auto` finds none that works.

    Raises: DeviceUnavailable where it was asked for by name and does not work.
    """
    reason, card = hardware.no_driver(), None
    if reason is None:
        card = CardServer(number, ForkServer(card=True))
        if (reason := card.try_out(limits)) is not None:
            card.server.close()
            card = None
    _log.info("decoder chosen %s", fields(wanted=decode, card=number, reason=repr(reason or "it works")))
    if reason is not None and decode == "nvdec":
        raise DeviceUnavailable(
            f"decode=nvdec was asked for, but {reason}. It needs an NVIDIA card and its driver with video decoding (in "
            "a container: NVIDIA_DRIVER_CAPABILITIES=compute,utility,video); or set CVPIPE_DECODE to `cpu` or `auto`"
        )
    return card
