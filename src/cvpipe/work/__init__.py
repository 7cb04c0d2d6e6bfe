"""What workers do with a task: claim it, do it, commit what follows. Plain functions; the actors only call them.

Every function may be called for any task at any time, any number of times: the store decides what happens.
"""

from cvpipe.work.bench import Bench
from cvpipe.work.camera import camera
from cvpipe.work.chunks import work
from cvpipe.work.finish import finish
from cvpipe.work.ingest import ingest
from cvpipe.work.media import media
from cvpipe.work.model import model
from cvpipe.work.notify import notify
from cvpipe.work.perform import perform
from cvpipe.work.sweep import sweep

__all__ = ["Bench", "camera", "finish", "ingest", "media", "model", "notify", "perform", "sweep", "work"]
