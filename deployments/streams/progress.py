"""What of a partition is read, acknowledged, and so may be committed. Pure.

Results come back in any order; an offset may be committed only when everything before it is
acknowledged, or a crash would lose what lies between.
"""

from collections import deque


class Progress:
    """One partition while one replica owns it. Not thread-safe.

    Attributes:
        committed: The offset that was last committed, or None.
    """

    __slots__ = ("_acknowledged", "_pending", "_position", "_read", "committed")

    def __init__(self) -> None:
        self._pending: deque[int] = deque()
        self._acknowledged: set[int] = set()
        self._read: int | None = None
        self._position: int | None = None
        self.committed: int | None = None

    def read(self, offset: int) -> bool:
        """Notes a message that was read; False if it is not after those read before."""
        if self._read is not None and offset <= self._read:
            return False
        self._read = offset
        self._pending.append(offset)
        return True

    def acknowledge(self, offset: int) -> None:
        """Notes that a message's result, or its dead letter, is in Kafka."""
        self._acknowledged.add(offset)
        # Offsets may have gaps: compaction and transactions leave some.
        while self._pending and self._pending[0] in self._acknowledged:
            done = self._pending.popleft()
            self._acknowledged.discard(done)
            self._position = done + 1

    @property
    def to_commit(self) -> int | None:
        """The offset to go on from after a crash; None if that is committed already."""
        return None if self._position == self.committed else self._position

    @property
    def unfinished(self) -> int | None:
        """The first offset that is not acknowledged; None before any message was read."""
        if self._pending:
            return self._pending[0]
        return None if self._read is None else self._read + 1
