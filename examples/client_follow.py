"""Send a video and read what is found while the job runs.

python examples/client_follow.py VIDEO PIPELINE [URL]
"""

import sys

import cvpipe

with cvpipe.Client(*sys.argv[3:]) as client:
    video = client.upload(sys.argv[1], on_progress=lambda sent, size: print(f"sent {sent} of {size} bytes"))
    job = client.submit(sys.argv[2], video=video)
    for record in client.frames(job):
        print(f"{record.time:8.2f} s", *record.objects.label)
    print(client.job(job).state)
