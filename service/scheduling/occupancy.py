"""When an engine began each call, which it does not tell: a call that finds every instance busy begins when one is free."""

from bisect import insort

KEPT = 1024  # ends that are remembered


class Occupancy:
    """Calls of an engine that takes them in the order in which they came and runs some side by side. Moments are of any one clock.

    The n-th call begins once all but `instances` - 1 of the n before it have ended.
    """

    def __init__(self) -> None:
        self._came = 0
        self._forgotten = 0
        self._ends: list[float] = []  # in order

    def enter(self) -> int:
        """Another call comes; its number, which `began` wants."""
        self._came += 1
        return self._came - 1

    def leave(self, moment: float) -> None:
        """A call has ended, in whatever way."""
        insort(self._ends, moment)
        if len(self._ends) > 2 * KEPT:
            self._ends, self._forgotten = self._ends[KEPT:], self._forgotten + KEPT

    def began(self, number: int, came: float, instances: int) -> float:
        """When that call began. It must not have left yet; came: when it entered."""
        freed = number - instances - self._forgotten
        return max(came, self._ends[freed]) if 0 <= freed < len(self._ends) else came
