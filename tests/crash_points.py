"""Kill a piece of work before each file operation that it does, one after the other, and look at what is left each time.

>>> for left in crash_points(work=lambda: files.write_text(path, "new"), prepare=lambda: path.write_text("old")):
...     assert path.read_text() in ("old", "new")
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from itertools import count

_CHANGES = {
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "shutil.rmtree",
}


def crash_points(
    work: Callable[[], object], prepare: Callable[[], object] = lambda: None
) -> Iterator[int]:
    """Give 1, 2, ... after the work was killed before its first, second, ... change of the disk, until it got to its end.

    Args:
        work: what is killed; it runs in a forked process.
        prepare: what comes before each try, in this process.
    """
    for number in count(1):
        prepare()
        process = os.fork()
        if not process:
            try:
                _kill_before(number)
                work()
            except BaseException:
                os._exit(3)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        assert status in (0, -signal.SIGKILL), (
            f"change {number}: the work failed instead of being killed"
        )
        if status == 0:
            assert number > 1, "the work changed nothing on the disk"
            return
        yield number


def _kill_before(number: int) -> None:
    left = number

    def hook(event: str, arguments: tuple) -> None:
        nonlocal left
        writes = (
            event == "open"
            and len(arguments) > 2
            and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        )
        if writes or event in _CHANGES:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
