"""Waiting for what comes a moment later."""

import time


def wait_for(condition, what, seconds=60):
    """The first true value of condition(); fails with `what`, or what it says as a function, when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds} s still not so: {what() if callable(what) else what}")
        time.sleep(0.02)
    return found
