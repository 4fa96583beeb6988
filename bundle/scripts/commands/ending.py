"""Services that are told to end remove first what clients sent them."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def ending_in_order(stop: Callable[[], object]) -> Iterator[None]:
    """SIGTERM (systemd, a container) and SIGHUP (a terminal that was closed) call ``stop`` as long as this lasts.

    uvicorn answers the requests under way at a SIGTERM and then raises it again for whoever listened before; without
    a listener the process would end there, and leave its folders of uploads. What is started to outlive its terminal
    (nohup) does. For the main thread only.
    """
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    heard = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, lambda *_: stop()) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
