import threading

import pytest

from mdai_build.smoke.ahead import MadeAhead


def test_a_value_is_there_before_those_after_it_are_made():
    go_on = threading.Event()

    def second() -> str:
        assert go_on.wait(30)
        return "second"

    made = MadeAhead([lambda: "first", second])
    assert len(made) == 2  # nothing is waited for
    assert made[0] == "first"
    go_on.set()
    assert list(made) == ["first", "second"] == made[:]


def test_values_are_made_in_order_and_once():
    calls: list[int] = []
    made = MadeAhead([lambda number=number: calls.append(number) or number for number in range(20)])
    assert made[-1] == 19
    assert list(made) == list(range(20)) == calls


def test_what_making_raised_is_raised_to_whoever_takes_it_and_the_others_are_made():
    def broken() -> int:
        raise ValueError("no such phantom")

    made = MadeAhead([broken, lambda: 2])
    with pytest.raises(ValueError, match="no such phantom"):
        made[0]
    assert made[1] == 2
