"""watching: what a watch tells, and an interrupt that asks instead of breaking off."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from fgkit.training.monitor import Watch


def test_steps_and_the_time_that_is_left(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("fgkit.training.monitor.time.monotonic", lambda: now[0])
    shown = []
    watch = Watch(lambda watch: shown.append((watch.step, watch.seconds_left)))
    watch.begin(4, 10, [{"step": 4, "loss": 2.0}])  # goes on from a checkpoint
    now[0] += 6
    assert watch.after_step(6) is False
    watch.entry({"step": 6, "loss": 1.0})
    assert shown == [(4, None), (6, 12.0)] and [entry["loss"] for entry in watch.log] == [2.0, 1.0]
    watch.stop = True
    assert watch.after_step(7) is True and watch.stopped_after == 7


def test_a_stop_at_the_last_step_stops_nothing():
    watch = Watch(lambda watch: None)
    watch.begin(0, 2, [])
    watch.stop = True
    watch.after_step(2)
    assert watch.stopped_after is None


@pytest.fixture
def interrupts():
    """Python's own answer to Ctrl-C, which a process that was started in the background lacks."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def test_the_first_interrupt_asks_and_the_second_one_breaks_off(interrupts):
    watch = Watch(lambda watch: None)
    with pytest.raises(KeyboardInterrupt), watch.interruptible():
        os.kill(os.getpid(), signal.SIGINT)
        assert watch.stop
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is interrupts


def test_in_a_thread_nothing_is_caught():
    seen = []

    def work():
        with Watch(lambda watch: None).interruptible():
            seen.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
