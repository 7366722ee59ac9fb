"""Heavy work: a queue with an end, a time limit, and no work that nobody waits for."""

import threading
import time

import pytest

from lrcn.serve import jobs as jobs_module
from lrcn.serve.jobs import Jobs
from lrcn.serve.limits import Limits
from lrcn.serve.metrics import Metrics
from lrcn.serve.problem import RefusedError


@pytest.fixture
def make():
    made = []

    def jobs(**limits):
        limits = Limits(**limits)
        made.append(Jobs(limits, Metrics(limits)))
        return made[-1]

    yield jobs
    for one in made:
        one.close()


def endless():
    """What is set when the work begins, and the work, which goes on until it is stopped."""
    began = threading.Event()

    def work(job):
        began.set()
        while True:
            job.check()
            time.sleep(0.01)

    return began, work


def test_work_is_done_in_order_and_counted(make):
    jobs = make(workers=1)
    done = []
    results = [jobs.add("count", lambda job, k=k: done.append(k) or k).result for k in range(5)]
    assert [one.result(5) for one in results] == done == [0, 1, 2, 3, 4]
    until = time.monotonic() + 5
    while jobs._metrics.jobs.value(kind="count", result="done") < 5 and time.monotonic() < until:
        time.sleep(0.01)
    assert jobs._metrics.jobs.value(kind="count", result="done") == 5


def test_what_goes_wrong_is_told_and_the_thread_goes_on(make):
    jobs = make(workers=1)
    with pytest.raises(ZeroDivisionError):
        jobs.add("wrong", lambda job: 1 / 0).result.result(5)
    assert jobs.add("right", lambda job: 2).result.result(5) == 2


def test_a_full_queue_refuses_and_says_when_to_ask_again(make):
    jobs = make(workers=1, queue=2)
    gate, began = threading.Event(), threading.Event()
    first = jobs.add("wait", lambda job: began.set() or gate.wait(10))
    assert began.wait(5)
    rest = [jobs.add("wait", lambda job: 1) for _ in range(2)]
    with pytest.raises(RefusedError) as seen:
        jobs.add("wait", lambda job: 1)
    assert seen.value.status == 503 and int(seen.value.headers["Retry-After"]) >= 1
    with pytest.raises(RefusedError):
        jobs.check_room()
    gate.set()
    assert first.result.result(5) is True
    assert [one.result.result(5) for one in rest] == [1, 1]
    jobs.check_room()


def test_work_that_takes_too_long_ends_itself(make):
    jobs = make(workers=1, seconds=0.1)

    def work(job):
        while True:
            job.check(1.0, None)
            time.sleep(0.01)

    with pytest.raises(RefusedError, match=r"longer than the 0\.1 seconds") as seen:
        jobs.add("long", work).result.result(5)
    assert seen.value.status == 504
    assert jobs.add("short", lambda job: 3).result.result(5) == 3


def test_work_that_is_stopped_ends_itself_or_never_begins(make):
    jobs = make(workers=1)
    began, work = endless()
    running, waiting = jobs.add("one", work), jobs.add("two", work)
    assert began.wait(5)
    waiting.stop("gone")
    running.stop("gone")
    for job in (running, waiting):
        with pytest.raises(RefusedError, match="gone"):
            job.result.result(5)


def test_a_thread_that_never_looks_up_is_replaced_once(make, monkeypatch):
    monkeypatch.setattr(jobs_module, "_GRACE", 0.05)
    jobs = make(workers=1, seconds=0.05)
    gate = threading.Event()
    stuck = jobs.add("stuck", lambda job: gate.wait(10))
    until = time.monotonic() + 5
    while not stuck.hopeless() and time.monotonic() < until:
        time.sleep(0.01)
    jobs.replace(stuck)
    assert stuck.give_up().status == 504
    assert jobs.add("next", lambda job: 4).result.result(5) == 4
    second = jobs.add("stuck", lambda job: gate.wait(10))
    time.sleep(0.2)
    jobs.replace(second)
    assert len(jobs._threads) == 2
    gate.set()
    assert second.result.result(5) is True


def test_the_end_ends_what_runs_and_what_waits(make):
    jobs = make(workers=1)
    began, work = endless()
    both = [jobs.add("one", work), jobs.add("two", work)]
    assert began.wait(5)
    jobs.close()
    for job in both:
        with pytest.raises(RefusedError, match="stopping"):
            job.result.result(0)
    with pytest.raises(RefusedError, match="stopping"):
        jobs.add("late", work)
