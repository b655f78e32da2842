"""A queue in which callers take turns by what their items cost. Pure.

Start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996) over two classes of each caller: the
caller that was served least has the next turn, interactive items of a caller go before its bulk
ones, and bulk has its turn by right once enough of them passed it. Whatever one caller queues,
each of n callers that wait gets an n-th of the engines; one that asks for less gets what it asks
for at once. Nothing here waits, so a scheduler may hold it or stand behind it.
"""

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")

# Withdrawn items that a caller may leave in its queue beside as many living ones.
_MAX_WITHDRAWN = 64
# Callers that are remembered although they have nothing here.
_MAX_AWAY = 10_000


@dataclass(slots=True, eq=False)
class Entry(Generic[Item]):
    """An item that waits, or has had its turn and is not finished.

    Attributes:
        item: What waits.
        caller: Whose turn it takes.
        cost: Of serving it, in any unit above 0, as it was known when it was queued.
        bulk: Whether interactive items of the same caller go first.
        withdrawn: It is to be left out.
        under_way: It had its turn.
        charged: Cost that its caller was charged with then.
    """

    item: Item
    caller: Hashable
    cost: float
    bulk: bool
    withdrawn: bool = False
    under_way: bool = False
    charged: float = 0.0


@dataclass(slots=True)
class _Account(Generic[Item]):
    """What is known of a caller that has items here or under way."""

    served: float
    queues: tuple[deque[Entry[Item]], deque[Entry[Item]]] = field(
        default_factory=lambda: (deque(), deque())
    )
    # Of each class, interactive and bulk: living entries that wait, and their costs.
    waiting: list[int] = field(default_factory=lambda: [0, 0])
    costs: list[float] = field(default_factory=lambda: [0.0, 0.0])
    under_way: list[int] = field(default_factory=lambda: [0, 0])
    bulk_owed: float = 0.0

    @property
    def items(self) -> int:
        return sum(self.waiting) + sum(self.under_way)


class FairQueue(Generic[Item]):
    """Items of many callers; for one thread."""

    def __init__(
        self, bulk_ratio: float, price: Callable[[Entry[Item]], float] = lambda entry: entry.cost
    ) -> None:
        """Nobody waits yet.

        Args:
            bulk_ratio: Cost of bulk for each of interactive, while one caller has both.
            price: Of an entry that has its turn, as it is known by then.
        """
        self._bulk_ratio = bulk_ratio
        self._price = price
        self._accounts: dict[Hashable, _Account[Item]] = {}
        # What those got that left ahead of their share; good as long as anybody waits.
        self._away: dict[Hashable, float] = {}
        # Callers with living entries that wait.
        self._waiting: dict[Hashable, None] = {}
        self._virtual = 0.0
        self._costs = [0.0, 0.0]
        self._counts = [0, 0]

    def __len__(self) -> int:
        return sum(self._counts)

    def waiting(self, *, bulk: bool) -> int:
        """Items of a class that wait."""
        return self._counts[bulk]

    def callers(self, besides: Hashable) -> int:
        """Callers with items that wait or are under way, ``besides`` always among them."""
        return len(self._accounts) + (besides not in self._accounts)

    def items_of(self, caller: Hashable) -> int:
        """Items of a caller that wait or are under way."""
        account = self._accounts.get(caller)
        return 0 if account is None else account.items

    def goes_past(self, caller: Hashable, items: int, cost: float, few: int) -> bool:
        """Whether interactive items may go at once, although there is no room for others.

        Only a few at a time, and beside others only those of a caller that is not ahead of them.
        """
        account = self._accounts.get(caller)
        if account is None:
            served = max(self._virtual, self._away.get(caller, 0.0))
            return items <= few and served <= self._least_of_others(caller) + cost
        if account.waiting[0] or account.under_way[0] + items > few:
            return False
        return account.served <= self._least_of_others(caller) + cost

    def behind(self, caller: Hashable, cost: float, *, bulk: bool) -> float:
        """Cost of what waits of other callers and comes after items of ``cost``, by turns."""
        account = self._accounts.get(caller)
        mine = [0.0, 0.0] if account is None else account.costs
        others = [whole - own for whole, own in zip(self._costs, mine, strict=True)]
        waiting = sum(others) if bulk else others[0]
        before = (sum(mine) if bulk else mine[0]) + cost
        return max(0.0, waiting - self._others(caller) * before)

    def push(self, entry: Entry[Item]) -> None:
        """Queues an item."""
        account = self._account(entry.caller)
        if not sum(account.waiting):
            self._catch_up(account)
        account.queues[entry.bulk].append(entry)
        self._count(entry, account, 1)

    def pass_by(self, entry: Entry[Item]) -> None:
        """Counts an item that goes at once, see ``goes_past``."""
        account = self._account(entry.caller)
        self._catch_up(account)
        if not self._others(entry.caller):
            self._virtual = max(self._virtual, account.served)
        self._serve(entry, account)

    def pop(self) -> Entry[Item] | None:
        """The item whose turn it is; it is under way until ``finish``. None when none waits."""
        if not self._waiting:
            return None
        caller = min(self._waiting, key=lambda each: self._accounts[each].served)
        account = self._accounts[caller]
        entry = self._next(account)
        self._virtual = max(self._virtual, account.served)
        self._serve(entry, account)
        self._count(entry, account, -1)
        return entry

    def withdraw(self, entry: Entry[Item]) -> None:
        """Takes back an item that waits."""
        entry.withdrawn = True
        account = self._accounts[entry.caller]
        self._count(entry, account, -1)
        queue = account.queues[entry.bulk]
        if len(queue) > 2 * account.waiting[entry.bulk] + _MAX_WITHDRAWN:
            living = [each for each in queue if not each.withdrawn]
            queue.clear()
            queue.extend(living)
        self._forget_idle(entry.caller)

    def finish(self, entry: Entry[Item]) -> None:
        """An item that had its turn is done."""
        self._accounts[entry.caller].under_way[entry.bulk] -= 1
        self._forget_idle(entry.caller)

    def _least_of_others(self, caller: Hashable) -> float:
        """What that other caller got that got least; infinite where there is none."""
        others = (account.served for name, account in self._accounts.items() if name != caller)
        return min(others, default=float("inf"))

    def _others(self, caller: Hashable) -> int:
        """Callers that wait, besides this one."""
        return len(self._waiting) - (caller in self._waiting)

    def _next(self, account: _Account[Item]) -> Entry[Item]:
        interactive, bulk = (bool(count) for count in account.waiting)
        queue = account.queues[bulk and (not interactive or account.bulk_owed > 0)]
        while (entry := queue.popleft()).withdrawn:
            pass
        if entry.bulk:
            account.bulk_owed -= entry.cost if interactive else account.bulk_owed
        elif bulk:
            account.bulk_owed += entry.cost * self._bulk_ratio
        return entry

    def _account(self, caller: Hashable) -> _Account[Item]:
        account = self._accounts.get(caller)
        if account is None:
            served = max(self._virtual, self._away.pop(caller, 0.0))
            account = self._accounts[caller] = _Account(served)
        return account

    def _catch_up(self, account: _Account[Item]) -> None:
        """One that had nothing waiting has not saved up turns."""
        account.served = max(account.served, self._virtual)

    def _serve(self, entry: Entry[Item], account: _Account[Item]) -> None:
        entry.charged = self._price(entry)
        account.served += entry.charged
        account.under_way[entry.bulk] += 1
        entry.under_way = True

    def _count(self, entry: Entry[Item], account: _Account[Item], by: int) -> None:
        account.waiting[entry.bulk] += by
        self._counts[entry.bulk] += by
        account.costs[entry.bulk] += by * entry.cost
        self._costs[entry.bulk] += by * entry.cost
        if sum(account.waiting):
            self._waiting.setdefault(entry.caller)
        else:
            self._waiting.pop(entry.caller, None)
            account.costs[:] = [0.0, 0.0]
        if not self._waiting:
            self._costs = [0.0, 0.0]  # no rounding errors are kept
            self._away.clear()

    def _forget_idle(self, caller: Hashable) -> None:
        account = self._accounts[caller]
        if account.items:
            return
        del self._accounts[caller]
        if self._waiting and account.served > self._virtual:
            self._away[caller] = account.served
            if len(self._away) > _MAX_AWAY:
                del self._away[next(iter(self._away))]
