"""The policy `hold`: whatever the position is, it stays."""

from chappie.model.view import View


class Hold:
    """Wants the position that it sees, so nothing is ever ordered."""

    period_s = 1.0

    def decide(self, view: View) -> int:
        return view.position
