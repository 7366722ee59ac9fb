"""What is counted, in the form that Prometheus reads."""

import re

from lrcn.serve.limits import Limits
from lrcn.serve.metrics import Counter, Histogram, Metrics

LINE = re.compile(r"[a-z_]+(\{[a-z]+=\"[^\"]*\"(,[a-z]+=\"[^\"]*\")*\})? [-+.e0-9]+")


def test_a_counter_counts_by_its_labels():
    counter = Counter("c_total", "Things.")
    counter.add(kind="a")
    counter.add(2, kind="b")
    counter.add(kind="a")
    assert list(counter.lines()) == [
        "# HELP c_total Things.",
        "# TYPE c_total counter",
        'c_total{kind="a"} 2',
        'c_total{kind="b"} 2',
    ]
    assert counter.value(kind="a") == 2 and counter.value(kind="c") == 0


def test_a_histogram_counts_up():
    one = Histogram("h", "Seconds.", (0.1, 1))
    assert one.mean() is None
    for value in (0.05, 0.1, 0.5, 7.0):
        one.tell(value)
    assert one.mean() == (0.05 + 0.1 + 0.5 + 7.0) / 4
    assert list(one.lines())[2:] == [
        'h_bucket{le="0.1"} 2',
        'h_bucket{le="1"} 3',
        'h_bucket{le="+Inf"} 4',
        "h_sum 7.65",
        "h_count 4",
    ]


def test_labels_are_escaped():
    counter = Counter("c", "x")
    counter.add(route='a"b\\c\nd')
    assert list(counter.lines())[-1] == 'c{route="a\\"b\\\\c\\nd"} 1'


def test_all_of_it_is_well_formed_and_no_name_is_there_twice():
    metrics = Metrics(Limits())
    metrics.requests.add(route="/", status="200")
    metrics.request_seconds.tell(0.2, route="/")
    metrics.gauge("more", "Another.", lambda: 1.5)
    lines = metrics.text().splitlines()
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(names) == len(set(names)) and "more" in names
    for line in lines:
        assert line.startswith("#") or LINE.fullmatch(line), line
    assert "lrcn_live_connections_limit 64" in lines
