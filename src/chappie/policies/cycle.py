"""The policy `cycle`, for tests: target +qty, 0, -qty, 0, and round again, a step each period."""

from chappie.model.view import View


class Cycle:
    """Counts its steps by the view's own time from its first question on.

    So a question that was skipped while data was stale does not shift the cycle.
    """

    def __init__(self, qty: int, period_s: float) -> None:
        self.period_s = period_s
        self._targets = (qty, 0, -qty, 0)
        self._first_at: float | None = None

    def decide(self, view: View) -> int:
        if self._first_at is None:
            self._first_at = view.at
        # The first question may be asked again a hair early, and wall time can step backwards.
        elapsed_s = max(0.0, view.at - self._first_at)
        step = int(elapsed_s / self.period_s + 0.01)
        return self._targets[step % len(self._targets)]
