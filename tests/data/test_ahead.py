"""`ahead`: same items, same order, one ahead and no more, errors where they belong."""

from __future__ import annotations

import threading

import pytest

from scripts.data.ahead import ahead


def test_items_come_in_order_and_one_is_made_ahead() -> None:
    made: list[int] = []
    second = threading.Event()

    def items():
        for number in range(5):
            made.append(number)
            if number == 1:
                second.set()
            yield number

    found = []
    for item in ahead(items()):
        if item == 0:
            assert second.wait(60)  # the next is begun while this one is worked on
        assert len(made) <= item + 2
        found.append(item)
    assert found == list(range(5))


def test_an_error_comes_after_the_items_before_it() -> None:
    def items():
        yield 1
        raise ValueError("damaged")

    found = []
    with pytest.raises(ValueError, match="damaged"):
        for item in ahead(items()):
            found.append(item)
    assert found == [1]
    assert list(ahead([])) == []


def test_a_consumer_may_stop_early() -> None:
    for item in ahead(iter(range(10**9))):
        if item == 3:
            break
    assert item == 3
