"""monitor: what a training reports, and an interrupt that asks it to stop instead of breaking off."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from fgkit.training.monitor import TrainingMonitor


def test_steps_and_the_time_that_is_left(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("fgkit.training.monitor.time.monotonic", lambda: now[0])
    shown = []
    monitor = TrainingMonitor(lambda monitor: shown.append((monitor.step, monitor.seconds_left)))
    monitor.begin(4, 10, [{"step": 4, "loss": 2.0}])  # goes on from a checkpoint
    now[0] += 6
    assert monitor.after_step(6) is False
    monitor.add_entry({"step": 6, "loss": 1.0})
    assert shown == [(4, None), (6, 12.0)] and [entry["loss"] for entry in monitor.log] == [
        2.0,
        1.0,
    ]
    monitor.stop = True
    assert monitor.after_step(7) is True and monitor.stopped_after == 7


def test_a_stop_at_the_last_step_stops_nothing():
    monitor = TrainingMonitor(lambda monitor: None)
    monitor.begin(0, 2, [])
    monitor.stop = True
    monitor.after_step(2)
    assert monitor.stopped_after is None


@pytest.fixture
def interrupts():
    """Python's own answer to Ctrl-C, which a process that was started in the background lacks."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def test_the_first_interrupt_asks_and_the_second_one_breaks_off(interrupts):
    monitor = TrainingMonitor(lambda monitor: None)
    with pytest.raises(KeyboardInterrupt), monitor.interruptible():
        os.kill(os.getpid(), signal.SIGINT)
        assert monitor.stop
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is interrupts


def test_in_a_thread_nothing_is_caught():
    seen = []

    def work():
        with TrainingMonitor(lambda monitor: None).interruptible():
            seen.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
