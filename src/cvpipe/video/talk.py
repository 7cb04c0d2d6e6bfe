"""What a parent hears from a decoder, and tells it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Sequence

from cvpipe.errors import CvpipeError, DecoderCrashed, DecodeTimeout
from cvpipe.video import untrusted, wire
from cvpipe.video.limits import Limits
from cvpipe.video.spawning import Process


class Talk:
    """What the parent hears from a decoder, with its silence and its end made into errors."""

    def __init__(self, process: Process, limits: Limits) -> None:
        self.process = process
        self._limits = limits
        process.socket.settimeout(limits.timeout_seconds)
        self._poll = select.poll()
        self._poll.register(process.socket, select.POLLIN)

    def has_message(self) -> bool:
        """Whether `receive` would not have to wait."""
        return bool(self._poll.poll(0))

    def receive(self) -> bytes:
        """The next message that is neither a sign of life nor an error."""
        # Signs of life cost nothing: who has taken the decoder over could send them for ever, where processor time
        # runs out. A busy machine gives a decoder half a core.
        last_call = time.monotonic() + 2 * self._limits.cpu_seconds
        while True:
            try:
                message = self.process.socket.recv(wire.MESSAGE_BYTES)
            except TimeoutError:
                seconds = self._limits.timeout_seconds
                raise DecodeTimeout(f"the decoder said nothing for {seconds:g} s and was ended") from None
            except ConnectionResetError:
                # It ended before it read all we sent. The kernel says so once, before it gives us its last messages.
                continue
            if not message:
                raise DecoderCrashed("the decoder has ended without a word")
            if message[0] == wire.ERROR:
                raise untrusted.error(message[1:])
            if message[0] == wire.EXITED:
                raise self._exited(message)
            if message[0] != wire.ALIVE:
                return message
            if time.monotonic() > last_call:
                raise DecodeTimeout(f"decoding it takes more than {2 * self._limits.cpu_seconds} s")

    def give_back(self, slots: Sequence[int]) -> None:
        """Tell the decoder that slots are free."""
        # It has ended: whoever waits for its next frame gets to know. Or it has not read what it was told before, which
        # is all that the socket holds, more than there are slots: it is not ours any more, and nobody waits for it.
        with contextlib.suppress(OSError):
            # Not socket.send: that waits for room, up to the socket's time limit.
            os.write(self.process.socket.fileno(), wire.pack_slots(slots))

    def broken(self) -> DecoderCrashed:
        """The error for a decoder that says what it can't mean: it is not ours any more."""
        return DecoderCrashed("the decoder broke the protocol and was ended")

    def _exited(self, message: bytes) -> CvpipeError:
        if len(message) != wire.exit_message.size:
            return self.broken()
        status = wire.exit_message.unpack(message)[1]
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            if number == signal.SIGXCPU:
                return DecodeTimeout(f"decoding it takes more than {self._limits.cpu_seconds} s of processor time")
            return DecoderCrashed(f"the decoder was ended by {_signal_name(number)}")
        if not os.WIFEXITED(status):  # not a status of something that has ended: the decoder made it up
            return self.broken()
        return DecoderCrashed(f"the decoder ended with status {os.WEXITSTATUS(status)}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
