"""`cvpipe jobs`: the jobs of a running service."""

from __future__ import annotations

import re
import sys
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from cvpipe.cli import output
from cvpipe.cli.doors import open_client
from cvpipe.cli.exits import ExitCode, exit_code_of_state
from cvpipe.cli.options import DEFAULT_URL, From, Json, StopWhen, To, Url
from cvpipe.cli.run import read_range
from cvpipe.errors import InvalidRequest
from cvpipe.webhooks import new_secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cvpipe.client import Client
    from cvpipe.events import Event
    from cvpipe.job import DeliveryLog, Job, Message, Outcome, Prediction, Progress

app = typer.Typer(name="jobs", help="Jobs of a running service.", no_args_is_help=True)

JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]
MessageId = Annotated[str | None, typer.Argument(metavar="[MESSAGE]", help="As `deliveries` lists it.")]
Timeout = Annotated[float | None, typer.Option(min=0, help="Seconds to wait; the job goes on. Default: for ever.")]


@app.command()
def ls(
    *,
    state: Annotated[str | None, typer.Option(help="Only jobs in this state.")] = None,
    label: Annotated[str | None, typer.Option(metavar="KEY=VALUE", help="Only jobs with this label.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 50,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """List jobs, the newest first."""
    with open_client(url) as client:
        jobs = list(islice(client.jobs(state=state, label=label), limit))
    if as_json:
        output.as_json([job.model_dump(mode="json") for job in jobs])
        return
    output.columns(
        ("JOB", "STATE", "DONE", "PIPELINE", "CREATED"),
        [(job.id, job.state, _done(job.progress), _pipeline(job), _clock(job.created_at)) for job in jobs],
    )


@app.command()
def show(job: JobId, url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """Show a job."""
    with open_client(url) as client:
        _show(client.job(job), as_json=as_json)


@app.command()
def submit(
    *,
    pipeline: Annotated[
        str | None, typer.Option("--pipeline", "-p", help="Name of a pipeline, or a YAML or JSON file.")
    ] = None,
    video: Annotated[str | None, typer.Argument(metavar="[VIDEO]", help="A file to upload, or a video's id.")] = None,
    path: Annotated[str | None, typer.Option(help="A file on the server, instead of VIDEO.")] = None,
    start: From = None,
    stop: To = None,
    stop_when: StopWhen = None,
    priority: Annotated[int | None, typer.Option(min=0, max=9, help="9 goes first. Default: 4.")] = None,
    label: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Your words; may be repeated.")] = None,
    webhook: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Where to tell of the job's end.")] = None,
    webhook_secret: Annotated[
        str | None,
        typer.Option(
            metavar="SECRET",
            help="Signs what is told: `whsec_...`; `new` makes one, and shows it this once. Default: the service's.",
        ),
    ] = None,
    webhook_event: Annotated[
        list[str] | None,
        typer.Option(metavar="EVENT", help="What to tell of; may be repeated. Default: the job's end."),
    ] = None,
    annotate: Annotated[bool, typer.Option("--annotate", help="Also make a copy with the findings drawn.")] = False,
    chunk_seconds: Annotated[float | None, typer.Option(min=0.2, max=120, help="Length of a unit of work.")] = None,
    time_limit: Annotated[float | None, typer.Option(min=1, help="Seconds that the job may run. Default: any.")] = None,
    from_job: Annotated[
        str | None, typer.Option(metavar="JOB", help="A job that is done, of which to take over what is the same.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do two seconds of it, and tell what all takes.")] = False,
    change: Annotated[
        list[str] | None, typer.Option("--set", metavar="STAGE.OPTION=VALUE", help="Another value; may be repeated.")
    ] = None,
    starts_at: Annotated[
        str | None, typer.Option(metavar="TIME", help="When the first frame was taken: 2026-01-01T10:00:00Z.")
    ] = None,
    camera: Annotated[
        str | None, typer.Option(help="The camera that recorded it, for stages that name none: a name, or a file.")
    ] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="Submitting again with it gives the same job.")] = None,
    wait_for_it: Annotated[bool, typer.Option("--wait", help="Wait; the exit code tells how it ended.")] = False,
    timeout: Timeout = None,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> ExitCode:
    """Submit a job, and show its id; with --wait, show how it ended."""
    # All that can be wrong here is told before a video is sent.
    time_range = read_range(start, stop)
    if video is not None and path is not None:
        raise InvalidRequest("give either VIDEO or --path")
    if from_job is None and video is None and path is None:
        raise InvalidRequest("give either VIDEO or --path, or a job to begin with (--from-job)")
    if pipeline is None and from_job is None:
        raise InvalidRequest("give a pipeline, or a job to start from", field="--pipeline")
    options = _options(change or ())
    secret = new_secret() if webhook_secret == "new" else webhook_secret  # noqa: S105 - the word for none
    target = _webhook(webhook, secret, webhook_event)
    labels = dict(_pair(text) for text in label or ())
    if pipeline is not None and _is_file_name(pipeline) and not Path(pipeline).is_file():
        raise InvalidRequest(f"no pipeline file {pipeline!r}", field="--pipeline")
    with open_client(url) as client:
        job = client.submit(
            Path(pipeline) if pipeline is not None and _is_file_name(pipeline) else pipeline,
            video=_video_id(client, video),
            path=path,
            range=time_range,
            priority=priority,
            labels=labels or None,
            webhook=target,
            annotate=annotate or None,
            chunk_seconds=chunk_seconds,
            timeout_seconds=time_limit,
            stop_when=stop_when,
            from_job=from_job,
            dry_run=dry_run or None,
            options=options or None,
            starts_at=starts_at,
            camera=Path(camera) if camera is not None and _is_file_name(camera) else camera,
            idempotency_key=idempotency_key,
        )
        if webhook_secret == "new" and not as_json:  # noqa: S105 - see above
            output.note(f"webhook secret, shown this once: {secret}")
        if wait_for_it or dry_run:
            return _wait(client, job.id, timeout, as_json=as_json)
    if as_json:
        made = {"webhook_secret": secret} if webhook_secret == "new" else {}  # noqa: S105 - see above
        output.as_json(job.model_dump(mode="json") | made)
    else:
        output.line(job.id)
    return ExitCode.ok


@app.command()
def wait(job: JobId, timeout: Timeout = None, url: Url = DEFAULT_URL, as_json: Json = False) -> ExitCode:
    """Wait for a job's end; the exit code tells how it ended."""
    with open_client(url) as client:
        return _wait(client, job, timeout, as_json=as_json)


@app.command()
def cancel(job: JobId, url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """Have a job stop. What it found so far stays."""
    with open_client(url) as client:
        _show(client.cancel(job), as_json=as_json)


@app.command()
def pause(job: JobId, url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """Have a job wait until it is resumed. What it found so far stays."""
    with open_client(url) as client:
        _show(client.pause(job), as_json=as_json)


@app.command()
def resume(job: JobId, url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """Have a paused job go on."""
    with open_client(url) as client:
        _show(client.resume(job), as_json=as_json)


@app.command()
def retry(job: JobId, url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """Have a failed job go on from what is done."""
    with open_client(url) as client:
        _show(client.retry(job), as_json=as_json)


@app.command()
def repair(job: JobId, url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """Look again at the frames of a job that have no results. What is good stays."""
    with open_client(url) as client:
        _show(client.repair(job), as_json=as_json)


@app.command()
def deliveries(job: JobId, url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """What a job's webhook was told, and how that went."""
    with open_client(url) as client:
        log = client.deliveries(job)
    if as_json:
        output.as_json(log.model_dump(mode="json"))
        return
    output.columns(
        ("MESSAGE", "EVENT", "HAPPENED", "STATE", "ATTEMPTS", "LAST ANSWER"),
        [(m.id, m.event, _clock(m.at), m.state, m.attempts, _last_word(log, m)) for m in log.messages],
    )


@app.command()
def redeliver(job: JobId, message: MessageId = None, url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """Have a job's webhook told of a message again; without one, of a `webhook.test`."""
    with open_client(url) as client:
        told = client.test_webhook(job) if message is None else client.redeliver(job, message)
    if as_json:
        output.as_json(told.model_dump(mode="json"))
    else:
        output.line(told.id)


@app.command()
def delete(job: JobId, url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """Remove a job that has ended, with its records and files."""
    with open_client(url) as client:
        client.delete(job)
    if as_json:
        output.as_json({"deleted": job})


@app.command()
def frames(job: JobId, start: From = None, stop: To = None, url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """Show a job's records as NDJSON, in order; those of a running job as they come, until its end."""
    del as_json  # it is JSON anyway; the option is there so that `--json` works everywhere
    read_range(start, stop)
    follows = sys.stdout.isatty()
    with open_client(url) as client:
        for record in client.frames(job, start=start, stop=stop):
            output.line(record.to_json())
            if follows:
                output.flush()


@app.command()
def events(
    *,
    job: JobId,
    kind: Annotated[list[str] | None, typer.Option(help="Only this kind; may be repeated.")] = None,
    start: From = None,
    stop: To = None,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Show what has happened in a job's video by now; as NDJSON with --json."""
    read_range(start, stop)
    with open_client(url) as client:
        found = client.events(job, start=start, stop=stop, kinds=kind or ())
        if as_json:
            for event in found:
                output.line(event.to_json())
            return
        rows = [_event_row(event) for event in found]
    output.columns(("START", "END", "KIND", "STAGE", "TRACKS", "EVIDENCE", "VALUES"), rows)


def _event_row(event: Event) -> tuple[str, ...]:
    return (
        f"{event.start.time:.2f}",
        f"{event.end.time:.2f}" if event.is_over else f"{event.end.time:.2f}+",
        event.kind,
        event.stage,
        " ".join(map(str, event.tracks)),
        str(event.evidence.frame),
        " ".join(f"{name}={value}" for name, value in event.values.items()),
    )


@app.command()
def search(
    *,
    job: JobId,
    like: Annotated[str, typer.Option(metavar="FRAME:OBJECT", help="Number of a frame, place in its objects, from 0.")],
    stage: Annotated[str | None, typer.Option(metavar="NAME", help="The `embed` stage. Default: the first.")] = None,
    top: Annotated[int, typer.Option(min=1, max=1000, help="How many, at most.")] = 10,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Show what else in a job looks like one of its objects, or frames (FRAME); the most alike first."""
    with open_client(url) as client:
        matches = client.search(job, like, stage=stage, top=top)
    if as_json:
        output.as_json([match.to_dict() for match in matches])
        return
    output.columns(
        ("SCORE", "FRAME:OBJECT", "TIME", "LABEL", "TRACK", "BOX"),
        [
            (
                f"{match.score:.4f}",
                str(match.place),
                f"{match.time:.2f}",
                match.label or "",
                "" if match.track is None else str(match.track),
                " ".join(f"{edge:g}" for edge in match.box or ()),
            )
            for match in matches
        ],
    )


@app.command()
def download(
    job: JobId,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to save them in; made where it is missing.")],
    name: Annotated[list[str] | None, typer.Argument(help="Names of exports. Default: all.")] = None,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Save the files that a job made."""
    with open_client(url) as client:
        names = name or client.job(job).exports
        out.mkdir(parents=True, exist_ok=True)
        saved = []
        for each in names:
            with output.progress(each, unit="bytes") as on_progress:
                saved.append(str(client.download(job, each, out, on_progress=on_progress)))
    if as_json:
        output.as_json({"saved": saved})
        return
    for each in saved:
        output.line(each)


def _wait(client: Client, job_id: str, timeout: float | None, *, as_json: bool) -> ExitCode:
    with output.progress(job_id) as on_progress:

        def tell(progress: Progress) -> None:
            if progress.frames_total is not None:
                on_progress(progress.frames_done, progress.frames_total)

        job = client.wait(job_id, timeout_seconds=timeout, on_progress=tell)
    _show(job, as_json=as_json)
    return exit_code_of_state(job.state)


def _show(job: Job, *, as_json: bool) -> None:
    if as_json:
        output.as_json(job.model_dump(mode="json"))
        return
    for text in _lines(job):
        output.line(text)


def _lines(job: Job) -> Iterator[str]:
    speed = f", {job.progress.fps:.1f} frames/s" if job.progress.fps else ""
    yield f"{job.id}  {job.state}  {_done(job.progress)} frames{speed}"
    yield f"  pipeline  {_pipeline(job)}"
    yield f"  video     {job.path or job.video}"
    if job.stopped is not None:
        yield f"  stopped   at frame {job.stopped.frame}, {job.stopped.time:.1f} s: {job.stopped.condition}"
    if job.prediction is not None:
        yield from _predicted(job.prediction, job.outcome)
    if job.reused:
        yield f"  reused    {', '.join(job.reused)}, of {job.from_job}"
    if job.progress.waiting is not None:
        yield f"  waits for {job.progress.waiting}"
    if job.error is not None:
        yield f"  error     {job.error.message} ({job.error.code})"
    if job.exports:
        yield f"  exports   {', '.join(job.exports)}"
    for name, why in job.exports_failed.items():
        yield f"  not made  {name}: {why.message} ({why.code})"
    if job.deliveries:
        last = job.deliveries[-1]
        how = "delivered" if last.delivered else f"not delivered: {last.error or last.status}"
        yield f"  webhook   {how}, attempt {last.attempt}"


def _last_word(log: DeliveryLog, message: Message) -> str:
    last = next((attempt for attempt in reversed(log.attempts) if attempt.message == message.id), None)
    return "" if last is None else last.error or str(last.status)


def _predicted(prediction: Prediction, outcome: Outcome | None) -> Iterator[str]:
    for name, unit, scale in (("seconds", "s", 1.0), ("memory_bytes", "MB", 1e6), ("output_bytes", "MB", 1e6)):
        estimate = getattr(prediction, name)
        low, likely, high = (f"{value / scale:.3g}" for value in (estimate.low, estimate.likely, estimate.high))
        came = None if outcome is None else getattr(outcome, name)
        was = "" if came is None else f"; it was {came / scale:.3g} {unit}"
        word = name.removesuffix("_bytes").replace("seconds", "time")
        yield f"  {word:<9} {likely} {unit} ({low} to {high}){was}"


def _pipeline(job: Job) -> str:
    return str(job.pipeline.get("name", ""))


def _done(progress: Progress) -> str:
    return f"{progress.frames_done}/{'?' if progress.frames_total is None else progress.frames_total}"


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(sep=" ", timespec="seconds")


def _video_id(client: Client, video: str | None) -> str | None:
    """The id that VIDEO is, or that of the file it names, uploaded."""
    if video is None or (re.fullmatch(r"[0-9a-f]{64}", video) and not Path(video).exists()):
        return video
    file = Path(video)
    with output.progress(file.name, unit="bytes") as on_progress:
        return client.upload(file, on_progress=on_progress).id


def _webhook(url: str | None, secret: str | None, events: Sequence[str] | None) -> dict[str, Any] | None:
    """What is asked for with --webhook and what belongs to it. Raises: InvalidRequest."""
    if url is None:
        if secret is not None or events:
            name = "--webhook-event" if secret is None else "--webhook-secret"
            raise InvalidRequest("belongs to a --webhook, and there is none", field=name)
        return None
    return {"url": url} | ({"secret": secret} if secret is not None else {}) | ({"events": events} if events else {})


def _is_file_name(pipeline: str) -> bool:
    return pipeline.endswith((".yaml", ".yml", ".json")) or "/" in pipeline


def _options(changes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Options by stage, from texts `STAGE.OPTION=VALUE`; a value is read as YAML, of which JSON is a part."""
    found: dict[str, dict[str, Any]] = {}
    for text in changes:
        place, equals, value = text.partition("=")
        stage, dot, option = place.partition(".")
        if not (equals and dot and stage and option):
            raise InvalidRequest(f"wanted STAGE.OPTION=VALUE, got {text!r}", field="--set")
        try:
            found.setdefault(stage, {})[option] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise InvalidRequest(f"can't read the value of {text!r}", field="--set") from None
    return found


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise InvalidRequest(f"wanted KEY=VALUE, got {text!r}", field="--label")
    return key, value
