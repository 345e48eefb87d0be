"""What Prometheus sees."""

from prometheus_client.parser import text_string_to_metric_families

from service.telemetry.metrics import Metrics
from service.telemetry.requests import RequestRecord


def samples(metrics: Metrics) -> dict[str, float]:
    """Values by name and labels."""
    families = text_string_to_metric_families(metrics.exposition()[0].decode())
    return {
        " ".join([sample.name, *(f"{name}={value}" for name, value in sorted(sample.labels.items()))]): sample.value
        for family in families
        for sample in family.samples
    }


def test_requests_are_counted_by_route_and_status() -> None:
    metrics = Metrics()
    for seconds in (0.2, 0.4):
        metrics.observe_request(RequestRecord("POST", "/restore", 200, seconds))
    values = samples(metrics)
    assert values["rddm_requests_total method=POST route=/restore status=200"] == 2
    assert values["rddm_request_seconds_sum route=/restore"] == 0.2 + 0.4
    assert values["rddm_request_seconds_bucket le=0.25 route=/restore"] == 1


def test_milliseconds_become_seconds() -> None:
    metrics = Metrics()
    metrics.observe_timings("m", {"decode": 5.0, "sample": 250.0})
    assert samples(metrics)["rddm_part_seconds_sum model=m part=sample"] == 0.25


def test_calls_and_golden_answers_are_noted_by_model() -> None:
    metrics = Metrics()
    metrics.observe_call("m", 3, 0.5, 0.125)
    metrics.observe_readiness("m", True)
    metrics.observe_readiness("n", False)
    values = samples(metrics)
    assert values["rddm_batch_rows_bucket le=2.0 model=m"] == 0
    assert values["rddm_batch_rows_bucket le=4.0 model=m"] == 1
    assert (values["rddm_step_seconds_sum model=m"], values["rddm_wait_seconds_sum model=m"]) == (0.5, 0.125)
    assert (values["rddm_engine_ready model=m"], values["rddm_engine_ready model=n"]) == (1, 0)


def test_levels_are_read_when_prometheus_asks() -> None:
    metrics, level = Metrics(), [1.0]
    metrics.watch([("rddm_waiting", "Rows", lambda: level[0])], [("rddm_killed", "Workers", lambda: 2.0)])
    assert samples(metrics)["rddm_waiting"] == 1
    level[0] = 5
    assert (samples(metrics)["rddm_waiting"], samples(metrics)["rddm_killed_total"]) == (5, 2)


def test_each_gateway_counts_its_own() -> None:
    one, other = Metrics(), Metrics()
    one.observe_readiness("m", True)
    assert "rddm_engine_ready model=m" not in samples(other)
