"""Have several videos understood at once.

python examples/client_async.py URL PIPELINE VIDEO...
"""

import asyncio
import sys

import cvpipe


async def main(url: str, pipeline: str, *videos: str) -> None:
    """Count what is found in each video."""

    async def understand(path: str) -> None:
        job = await client.submit(pipeline, video=await client.upload(path))
        counts = [len(record.objects) async for record in client.frames(job)]
        print(f"{path}: {sum(counts)} objects on {len(counts)} frames")

    async with cvpipe.AsyncClient(url) as client, asyncio.TaskGroup() as group:
        for path in videos:
            group.create_task(understand(path))


asyncio.run(main(*sys.argv[1:]))
