"""Interleaved timing: several callables take turns, so that whatever disturbs the machine disturbs
them alike, and medians forget the rest."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Clock = Callable[[], float]

# Shortest time worth reading a clock for, in seconds: 1,000 times the cost of two readings.
SHORTEST_SAMPLE = 2e-3
SAMPLES_PER_TURN = 6
LEAST_ROUNDS = 3
# While the samples of one of them spread by more than NOISY, measuring goes on, for up to PATIENCE
# times as long.
NOISY = 0.25
PATIENCE = 3
# Pause before a turn, in seconds: thread pools spin for a while after their last work (OpenBLAS
# for 2^28 cycles, 70 to 110 ms), and would take the next contender's cores.
SETTLE = 0.15
# Rounds left out for want of cores, over those counted, before all are counted.
MOST_LEFT_OUT = 4
# Untimed calls at the start of a turn fill the caches and wake the pool again, for this long: a
# woken thread may start on the caller's core, and some systems take 25 ms to move it.
WARM_UP = 0.03


@dataclass
class Measurement:
    """Times of one callable, in seconds per call.

    Args:
        calls: number of calls between two readings of the clock.
        samples: one time per call for each pair of readings.
        undisturbed: False when the machine did not have all its cores for the samples.
    """

    calls: int
    samples: list[float] = field(default_factory=list)
    undisturbed: bool = True

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def best(self) -> float:
        return min(self.samples)

    @property
    def spread(self) -> float:
        """Distance of the quartiles over the median: 0.1 means the middle half lies within 10 %."""
        if len(self.samples) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.samples, n=4, method="inclusive")
        return (high - low) / self.median

    def divided(self, parts: int) -> Measurement:
        """The times of each part, when a call does the same so many times."""
        samples = [sample / parts for sample in self.samples]
        return Measurement(self.calls * parts, samples, self.undisturbed)


def timed(function: Callable[[], object], calls: int, clock: Clock) -> float:
    """Seconds that so many calls take together."""
    repeat = range(calls)
    start = clock()
    for _ in repeat:
        function()
    return clock() - start


def calibrate(function: Callable[[], object], shortest: float, clock: Clock) -> int:
    """How many calls take at least `shortest` seconds; runs the function at least twice."""
    timed(function, 1, clock)  # the first call allocates and compiles
    calls = 1
    while (taken := timed(function, calls, clock)) < shortest:
        # Doubling at least, so that it ends; ten times at most, for one reading may be off.
        calls = max(2 * calls, min(10 * calls, int(calls * 1.1 * shortest / max(taken, 1e-9))))
    return calls


def take_turn(
    function: Callable[[], object], measurement: Measurement, settle: float, clock: Clock
) -> float:
    """One turn: pause, warm up, a few samples. Returns how long it took in all."""
    begin = clock()
    if settle > 0:
        time.sleep(settle)
    warm = clock()
    function()
    while clock() - warm < min(WARM_UP, settle):
        function()
    for _ in range(SAMPLES_PER_TURN):
        measurement.samples.append(timed(function, measurement.calls, clock) / measurement.calls)
    return clock() - begin


def measure(
    contenders: Mapping[str, Callable[[], object]],
    seconds: float = 1.0,
    settle: float | None = None,
    clock: Clock = time.perf_counter,
    has_cores: Callable[[], bool] = lambda: True,
) -> dict[str, Measurement]:
    """Measures callables in turns, round after round, each round starting with another one.

    Args:
        contenders: what to call, by name.
        seconds: about how long to measure each of them, up to three times that on a noisy
            machine; at least three rounds are run.
        settle: pause before each turn, in seconds; default 150 ms when there are several.
        clock: what reads the time, in seconds.
        has_cores: tells whether all cores are there now. A round between two answers of which one
            is no is measured again, unless that is so for four rounds of five.

    Returns:
        The measurement of each, by name.
    """
    if settle is None:
        settle = SETTLE if len(contenders) > 1 else 0.0
    shortest = min(SHORTEST_SAMPLE, seconds / (LEAST_ROUNDS * SAMPLES_PER_TURN))
    results = {
        name: Measurement(calibrate(function, shortest, clock))
        for name, function in contenders.items()
    }
    names = list(contenders)
    spent, round_number, left_out, budget = 0.0, 0, 0, seconds * len(names)

    def enough() -> bool:
        quiet = all(measurement.spread <= NOISY for measurement in results.values())
        return round_number >= LEAST_ROUNDS and spent >= budget * (1 if quiet else PATIENCE)

    before = has_cores()
    while not enough():
        first, taken = round_number % len(names), 0.0
        for name in names[first:] + names[:first]:
            taken += take_turn(contenders[name], results[name], settle, clock)
        time.sleep(settle)  # others still spin
        after = has_cores()
        if not (before and after) and left_out < MOST_LEFT_OUT * (round_number + 1):
            left_out += 1
            for measurement in results.values():
                del measurement.samples[-SAMPLES_PER_TURN:]
        else:
            for measurement in results.values():
                measurement.undisturbed &= before and after
            spent, round_number = spent + taken, round_number + 1
        before = after
    return results
