from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cvpipe
from cvpipe.client import following
from cvpipe.errors import ApiError, Unavailable, WaitTimeout
from cvpipe.job import JobState, Progress
from tests.client.conftest import Naps, OneClient
from tests.client.fake import BASE, JOB, Body, FakeService, make_job, make_record, problem

Connect = Callable[[Callable[[httpx.Request], httpx.Response]], OneClient]


def paths(service: FakeService) -> list[str]:
    return [request.url.path.rpartition("/")[2] for request in service.asked]


def test_frames_of_a_finished_job_come_by_pages_alone(connect: Connect) -> None:
    service = FakeService(total=1200, pace=1200)
    assert connect(service).frames(JOB) == [make_record(number) for number in range(1200)]
    assert paths(service) == ["frames", "frames", "frames"]


def test_frames_of_a_running_job_come_live_over_one_stream(connect: Connect) -> None:
    service = FakeService(total=20, pace=3)
    assert connect(service).frames(JOB) == [make_record(number) for number in range(20)]
    assert paths(service) == ["frames", "events", "frames"]
    assert service.asked[1].headers["last-event-id"] == "0-0_200-5"


def test_a_first_record_is_handed_out_before_the_second_exists(naps: Naps) -> None:
    service = FakeService(total=20, pace=1)
    with cvpipe.Client(BASE, transport=httpx.MockTransport(service)) as client:
        records = client.frames(JOB)
        for number in range(20):
            assert next(records).frame == number * 2
            assert service.known <= number + 2


@pytest.mark.parametrize("fault", ["cut:700", "end:700", "cut:1", "end:0", "cut:60"])
def test_a_stream_that_breaks_in_the_middle_of_an_event_is_resumed_behind_the_last_whole_one(
    connect: Connect, fault: str
) -> None:
    service = FakeService(total=20, pace=3, faults=["ok", fault])
    assert connect(service).frames(JOB) == [make_record(number) for number in range(20)]
    assert paths(service)[:3] == ["frames", "events", "events"]


def test_a_resumed_stream_starts_behind_the_last_record_that_arrived(connect: Connect) -> None:
    service = FakeService(total=20, pace=3, faults=["ok", "cut:1000"])
    connect(service).frames(JOB)
    first, second = (r.headers["last-event-id"] for r in service.asked if r.url.path.endswith("events"))
    assert first == "0-0_200-5"
    assert second == "0-0_500-11"


def test_a_stream_that_begins_anew_doubles_nothing(connect: Connect) -> None:
    service = FakeService(total=20, pace=3, faults=["ok", "cut:1000"])
    service.forgetful = True
    assert connect(service).frames(JOB) == [make_record(number) for number in range(20)]


def test_a_service_that_is_away_for_a_minute_is_waited_for(connect: Connect, naps: Naps) -> None:
    service = FakeService(total=20, faults=["ok", "cut:700", *["refuse"] * 22])
    assert len(connect(service).frames(JOB)) == 20
    assert 40 < sum(naps) < 90


def test_a_service_that_stays_away_ends_the_iteration_with_unavailable(connect: Connect) -> None:
    service = FakeService(total=20, faults=["ok", "cut:700", *["refuse"] * 500])
    with pytest.raises(Unavailable, match=r"nothing answers at http://service.test .*Connection refused.* `cvpipe up`"):
        connect(service).frames(JOB)


def test_frames_come_without_event_streams_too(connect: Connect, naps: Naps) -> None:
    service = FakeService(total=20, pace=3)
    service.streams = False
    assert connect(service).frames(JOB) == [make_record(number) for number in range(20)]
    assert paths(service).count("events") == 1
    assert max(naps) <= 0.5


def test_streams_that_never_bring_anything_are_given_up_for_pages(connect: Connect) -> None:
    service = FakeService(total=20, pace=1, faults=["ok", "quiet", "ok", "quiet", "ok", "quiet", "ok", "quiet"])
    assert connect(service).frames(JOB) == [make_record(number) for number in range(20)]


def test_streams_that_bring_something_before_they_break_are_opened_again_for_ever(connect: Connect) -> None:
    service = FakeService(total=200, pace=3, faults=["ok", *["cut:1000"] * 15])
    assert connect(service).frames(JOB) == [make_record(number) for number in range(200)]
    assert paths(service) == ["frames", *["events"] * 16, "frames"]


def test_the_first_page_fails_for_a_job_that_does_not_exist(connect: Connect) -> None:
    with pytest.raises(ApiError, match="told: not_found") as caught:
        connect(lambda _: problem(404, "not_found")).frames("nobody")
    assert (caught.value.status, caught.value.code) == (404, "not_found")


@pytest.mark.parametrize(
    ("start", "stop", "wanted"),
    [
        pytest.param(0.5, None, range(5, 20), id="from a time on"),
        pytest.param(None, 0.5, range(5), id="up to a time"),
        pytest.param(0.5, 1.0, range(5, 10), id="between two times"),
        pytest.param(1.95, None, range(0), id="behind the end"),
    ],
)
def test_a_range_of_time_is_half_open(connect: Connect, start: float | None, stop: float | None, wanted: range) -> None:
    service = FakeService(total=20, pace=3)
    found = connect(service).frames(JOB, start=start, stop=stop)
    assert found == [make_record(number) for number in wanted]


def test_a_range_ends_the_iteration_while_the_job_goes_on(connect: Connect) -> None:
    service = FakeService(total=2000, pace=3)
    assert len(connect(service).frames(JOB, stop=0.5)) == 5
    assert service.known < 50


@given(
    st.integers(0, 30),
    st.integers(1, 8),
    st.lists(
        st.sampled_from(["ok", "ok", "503", "reset", "refuse", "hang", "quiet"])
        | st.integers(0, 4000).map("cut:{}".format)
        | st.integers(0, 4000).map("end:{}".format),
        max_size=16,
    ),
    st.booleans(),
    st.sampled_from(["blocking", "async"]),
)
def test_every_record_comes_once_and_in_order_whatever_breaks(
    total: int, pace: int, faults: list[str], streams: bool, kind: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(following, "PAGE_RECORDS", 4)
        Naps.install(patch)
        service = FakeService(total=total, pace=pace, faults=faults)
        service.streams = streams
        assert OneClient(kind, BASE, service).frames(JOB) == [make_record(number) for number in range(total)]


def test_leaving_the_iteration_early_closes_the_stream(naps: Naps) -> None:
    closed = []

    class Stream(httpx.SyncByteStream):
        def __init__(self, inner: httpx.SyncByteStream) -> None:
            self.inner = inner

        def __iter__(self) -> Iterator[bytes]:
            return iter(self.inner)

        def close(self) -> None:
            closed.append(True)

    service = FakeService(total=1000, pace=1)

    def handler(request: httpx.Request) -> httpx.Response:
        response = service(request)
        if request.url.path.endswith("events"):
            response.stream = Stream(response.stream)  # type: ignore[arg-type]
        return response

    with cvpipe.Client(BASE, transport=httpx.MockTransport(handler)) as client:
        for record in client.frames(JOB):
            if record.frame == 10:
                break
    assert closed == [True]


def test_an_asynchronous_iteration_can_be_cancelled(naps: Naps) -> None:
    async def main() -> int:
        service = FakeService(total=1000, pace=1)
        seen = 0
        enough = asyncio.Event()

        async def follow() -> None:
            nonlocal seen
            async with cvpipe.AsyncClient(BASE, transport=httpx.MockTransport(service)) as client:
                async for _ in client.frames(JOB):
                    seen += 1
                    if seen == 10:
                        enough.set()
                    await asyncio.sleep(0)

        task = asyncio.create_task(follow())
        await enough.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return seen

    assert 10 <= asyncio.run(main()) < 100


def test_wait_returns_the_job_that_the_stream_ends_with(connect: Connect) -> None:
    service = FakeService(total=9, pace=3)
    reports: list[Progress] = []
    job = connect(service).wait(JOB, on_progress=reports.append)
    assert job.state is JobState.succeeded
    assert [report.frames_done for report in reports] == [0, 3, 6, 9, 9]
    assert paths(service) == [JOB, "events"]
    assert service.asked[1].url.params["frames"] == "false"


def test_wait_takes_up_a_broken_stream_behind_its_last_event(connect: Connect) -> None:
    service = FakeService(total=30, pace=3, faults=["ok", "cut:300"])
    assert connect(service).wait(JOB).state is JobState.succeeded
    assert paths(service) == [JOB, "events", JOB, "events"]
    assert service.asked[3].headers["last-event-id"].startswith(("3-0_", "6-0_"))


def test_wait_asks_again_and_again_where_there_is_no_stream(connect: Connect, naps: Naps) -> None:
    service = FakeService(total=1)
    service.streams = False
    looks = iter(range(5))

    def handler(request: httpx.Request) -> httpx.Response:
        if next(looks, None) is None:
            service.known = 1
        return service(request)

    assert connect(handler).wait(JOB).state is JobState.succeeded
    assert sum(naps) <= 5 * 0.5


def test_wait_gives_up_in_time_though_comments_keep_the_stream_alive(connect: Connect, naps: Naps) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("events"):
            return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=slow_comments(naps))
        return FakeService()(request)

    with pytest.raises(WaitTimeout, match=r"job job_1 is still running after 100 s"):
        connect(handler).wait(JOB, timeout_seconds=100)
    assert 100 <= sum(naps) < 101


def slow_comments(naps: Naps) -> Body:
    def pieces() -> Iterator[bytes]:
        while True:
            naps.append(15)
            yield b": ping\n\n"

    return Body(pieces())


def test_a_wait_without_patience_looks_once(connect: Connect, naps: Naps) -> None:
    service = FakeService()
    with pytest.raises(TimeoutError):
        connect(service).wait(JOB, timeout_seconds=0)
    assert paths(service) == [JOB]


def test_wait_tells_of_a_failed_job_by_its_state(connect: Connect) -> None:
    failed = make_job("failed", error={"code": "media_unreadable", "message": "not a video"})
    job = connect(lambda _: httpx.Response(200, json=failed)).wait(JOB)
    assert job.state is JobState.failed
    assert job.error is not None
    assert job.error.code == "media_unreadable"
