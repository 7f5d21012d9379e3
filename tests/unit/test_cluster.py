"""Workers that are gone for good are noticed, and begun anew where that is flatcore's to do."""

import pytest

pytest.importorskip("distributed")

from flatcore.nights import cluster as module
from flatcore.nights.cluster import Cluster


class PretendClient:
    """A client of a cluster whose workers come and go."""

    status = "running"

    def __init__(self, workers):
        self.workers = workers
        self.scheduler = type("Scheduler", (), {"address": "tcp://head:8786"})

    def scheduler_info(self, n_workers=5):
        return {"workers": self.workers if n_workers == -1 else {}}


class PretendFuture:
    def done(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by a minute whenever it is looked at."""
    minutes = iter(range(0, 60_000, 60))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(minutes)))


@pytest.mark.usefixtures("clock")
def test_workers_that_are_gone_are_begun_anew_and_told_of(caplog):
    kept = []
    client = PretendClient({"tcp://a": {}, "tcp://b": {}})
    crew = Cluster(client, 2, keep=lambda: kept.append(len(client.workers)))
    crew.wait([PretendFuture()])
    assert kept == [] and not caplog.text
    del client.workers["tcp://a"]
    crew.wait([PretendFuture()])
    assert kept == [1] and not caplog.text
    del client.workers["tcp://b"]
    crew.wait([PretendFuture()])
    crew.wait([PretendFuture()])
    assert kept == [1, 0, 0]
    assert caplog.text.count("tcp://head:8786 has no worker; waiting for one") == 1


def test_workers_are_not_counted_all_the_time():
    client = PretendClient({})
    crew = Cluster(client, 2, keep=lambda: pytest.fail("counted"))
    for _ in range(5):
        crew.wait([PretendFuture()])
