"""Calls that fail: passed over, built again, ended."""

from __future__ import annotations

import pytest

from edge.errors import ModelFailed, ModelUnreadable
from edge.runtime.metrics import Metrics
from edge.runtime.retry import IN_A_ROW, RetryingCall


class Network:
    """Fails as often as `failures` asks, and is whole after it was loaded again unless `broken`."""

    def __init__(self) -> None:
        self.failures = self.built = 0
        self.broken = False
        self.metrics, self.said = Metrics("none"), list[str]()
        self.call = RetryingCall("network", self.build, self.metrics.count_fault, self.said.append)

    def build(self) -> None:
        self.built += 1
        if not self.broken:
            self.failures = 0

    def read(self, value: int) -> int:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("odd")
        return value


def test_what_works_is_passed_on() -> None:
    network = Network()
    assert network.call(network.read, 3) == 3
    assert (network.said, network.metrics.faults) == ([], {})


def test_a_call_that_fails_once_is_left_out_said_and_counted() -> None:
    network = Network()
    network.failures = 1
    assert [network.call(network.read, value) for value in (1, 2)] == [None, 2]
    assert network.said == ["network: RuntimeError: odd; left out"]
    assert network.metrics.faults == {"network": 1}
    assert network.built == 0


def test_one_that_fails_every_other_time_fills_no_journal() -> None:
    network = Network()
    for value in range(100):
        network.failures = value % 2
        network.call(network.read, value)
    assert network.metrics.faults == {"network": 50}
    assert len(network.said) == 1
    assert network.built == 0


def test_what_keeps_failing_is_built_again() -> None:
    network = Network()
    network.failures = 1000
    assert [network.call(network.read, value) for value in range(5)] == [None] * IN_A_ROW + [3, 4]
    assert network.built == 1
    assert network.said[-1] == "network: failed 3 times in a row; loading it again"


def test_where_that_is_no_help_it_ends_with_the_reason() -> None:
    network = Network()
    network.failures, network.broken = 1000, True
    with pytest.raises(ModelFailed, match="network: RuntimeError: odd; 3 times in a row after it was loaded again"):
        for value in range(10):
            assert network.call(network.read, value) is None
    assert network.metrics.faults == {"network": 2 * IN_A_ROW}


def test_what_cannot_be_built_again_ends_with_both_reasons() -> None:
    network = Network()
    network.failures = 1000

    def refuse() -> None:
        raise ModelUnreadable("cut short")

    call = RetryingCall("network", refuse, network.metrics.count_fault, network.said.append)
    with pytest.raises(ModelFailed, match="odd; and it cannot be loaded again: cut short; start again"):
        for value in range(10):
            call(network.read, value)
