"""Cooldowns that several processes share: the database is asked once, or not at all, and may be away."""

from __future__ import annotations

from typing import Any

from bot.commands.limits import Allowed, Cooldowns, Wait
from bot.commands.request import Asker, Place, Role
from bot.replicas.quick_questions import QuickQuestions
from bot.replicas.shared_cooldowns import SharedCooldowns
from core.errors import StorageError

ANN = Asker(platform="twitch", id="1", name="ann")
BEN = Asker(platform="twitch", id="2", name="ben")
HERE, THERE = Place(platform="twitch", id="1"), Place(platform="twitch", id="9")
LIMITS: dict[str, Any] = {"user_s": 10.0, "place_s": 30.0, "place_asks": 2}


class Store:
    """The database, which says what it is told to say."""

    def __init__(self, *answers: tuple[float, bool]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str]] = []
        self.is_away = False

    async def ask(
        self, asker: str, place: str, *, asker_s: float, place_s: float, place_asks: int
    ) -> tuple[float, bool]:
        if self.is_away:
            raise StorageError("The database is away.")
        self.asked.append((asker, place))
        assert (asker_s, place_s, place_asks) == (10.0, 30.0, 2)
        return self.answers.pop(0) if self.answers else (0.0, False)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def shared(store: Store, clock: Clock) -> SharedCooldowns:
    questions = QuickQuestions(rest_s=0.0)
    return SharedCooldowns(store, Cooldowns(**LIMITS), **LIMITS, questions=questions, clock=clock)


async def test_the_database_decides() -> None:
    limits = shared(Store((0.0, False), (7.0, True)), Clock())
    assert await limits.ask(ANN, HERE) == Allowed()
    assert await limits.ask(ANN, HERE) == Wait(seconds=7.0, tell=True)


async def test_a_person_and_a_place_of_the_same_number_are_not_the_same() -> None:
    store = Store()
    await shared(store, Clock()).ask(ANN, HERE)
    ((asker, place),) = store.asked
    assert asker != place


async def test_who_was_told_to_wait_costs_nothing_until_it_is_over() -> None:
    store, clock = Store((7.0, True)), Clock()
    limits = shared(store, clock)
    await limits.ask(ANN, HERE)
    clock.now_s += 6.0
    assert await limits.ask(ANN, HERE) == Wait(seconds=1.0, tell=False)
    assert len(store.asked) == 1
    clock.now_s += 1.5
    assert await limits.ask(ANN, HERE) == Allowed()


async def test_who_waits_in_one_place_is_asked_about_in_another() -> None:
    store = Store((7.0, True), (0.0, False))
    limits = shared(store, Clock())
    await limits.ask(ANN, HERE)
    assert await limits.ask(ANN, THERE) == Allowed()


async def test_moderators_are_not_held_up_and_not_counted() -> None:
    store = Store((7.0, True))
    limits = shared(store, Clock())
    moderator = Asker(platform="twitch", id="3", role=Role.MODERATOR)
    assert await limits.ask(moderator, HERE) == Allowed()
    assert not store.asked


async def test_when_the_database_is_away_this_process_goes_by_what_it_allowed_itself() -> None:
    store, clock = Store(), Clock()
    limits = shared(store, clock)
    assert await limits.ask(ANN, HERE) == Allowed()
    store.is_away = True
    assert await limits.ask(ANN, HERE) == Wait(seconds=10.0, tell=True)
    assert await limits.ask(BEN, HERE) == Allowed()
    clock.now_s += 11.0
    assert isinstance(await limits.ask(ANN, HERE), Wait)
    assert await limits.ask(ANN, THERE) == Allowed()
    store.is_away = False
    assert await limits.ask(BEN, HERE) == Allowed()
