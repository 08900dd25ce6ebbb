from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import resources

import pytest
from fluent.syntax import FluentParser, ast
from fluent.syntax.visitor import Visitor
from hypothesis import given
from hypothesis import strategies as st

from bot.commands import wording
from bot.commands.answer import Answer, LastSeen, Status, to_json
from bot.languages import sentences
from bot.models.promotion import compared
from core.collection.directory import Category
from core.errors import ReferenceFault
from core.games import NOT_A_GAME, UNKNOWN, Game
from core.recognition.verdict import FrameVerdict, GenreLikeness, Likelihood, Verdict
from core.storage.records import FlagReason, FlagRecord, FlagState, ModelAnswer, Moderator, Sighting
from tests.fakes import GAMES, RULE

VALORANT, CHESS, _ = GAMES
NOW = datetime(2026, 11, 5, 21, 30, tzinfo=UTC)

PAIR = compared(
    "m-1",
    [ModelAnswer(look=look, game="chess", confidence=0.9, frame_ms=2.0, is_right=None) for look in ("a", "b")],
    "m-2",
    [
        ModelAnswer(look="a", game="chess", confidence=0.9, frame_ms=3.0, is_right=None),
        ModelAnswer(look="b", game="", confidence=0.9, frame_ms=3.0, is_right=None),
    ],
)

VERDICT = Verdict(
    game=VALORANT,
    confidence=0.9714,
    best=Likelihood(game=VALORANT, confidence=0.9714),
    runners_up=(Likelihood(game=CHESS, confidence=0.02),),
    frames=(
        FrameVerdict(game=VALORANT, confidence=0.99589, at_s=0.0),
        FrameVerdict(game=CHESS, confidence=0.5, at_s=2.0),
        FrameVerdict(game=VALORANT, confidence=1.0, at_s=4.0),
    ),
    votes=2,
    score=5.649,
    novelty=-5.649,
    model="m-1",
)
ANSWER = Answer(
    channel="some_channel",
    status=Status.ANSWERED,
    verdict=VERDICT,
    elapsed_ms={"resolve": 12.345, "total": 456.0},
    fetched_bytes=123,
)


def test_the_answer_says_how_sure_and_how_many_frames_agree() -> None:
    assert wording.answer_text(ANSWER, verbose=False) == "Seen: VALORANT 97 % (2/3)"


def test_one_frame_is_one_frame() -> None:
    verdict = replace(VERDICT, game=UNKNOWN, frames=VERDICT.frames[:1], votes=1)

    assert wording.seen(verdict).endswith("; 1 frame)")


def test_what_is_declared_stands_beside_what_is_seen() -> None:
    answer = replace(ANSWER, declared=Category(id="1", name="Just Chatting"))

    assert wording.answer_text(answer, verbose=False) == "Seen: VALORANT 97 % (2/3) · Declared: Just Chatting"
    assert (
        wording.answer_text(answer, verbose=False, language="de")
        == "Zu sehen: VALORANT 97 % (2/3) · Angegeben: Just Chatting"
    )


def test_an_answer_from_memory_says_how_old_it_is_when_it_is_old() -> None:
    assert wording.answer_text(replace(ANSWER, age_s=2.0), verbose=False) == "Seen: VALORANT 97 % (2/3)"
    assert wording.answer_text(replace(ANSWER, age_s=17.4), verbose=False) == "Seen: VALORANT 97 % (2/3) · 17 s ago"


def test_of_an_offline_channel_is_said_what_is_known() -> None:
    offline = Answer(channel="sam", status=Status.OFFLINE)
    declared = replace(offline, declared=Category(id="1", name="Chess"))
    both = replace(declared, last_seen=LastSeen(game=Game(id="pingus", name="Pingus"), at=NOW - timedelta(hours=3)))

    assert wording.answer_text(offline, verbose=False, now=NOW) == "sam is offline."
    assert wording.answer_text(declared, verbose=False, now=NOW) == "sam is offline (last declared: Chess)."
    assert (
        wording.answer_text(both, verbose=False, now=NOW)
        == "sam is offline (last seen: Pingus, 3 h ago; last declared: Chess)."
    )
    assert "last seen: Pingus;" in wording.answer_text(both, verbose=False)


def test_who_is_busy_says_when_to_try_again() -> None:
    busy = Answer(channel="sam", status=Status.BUSY)

    assert "try again in 12 s." in wording.answer_text(busy, verbose=False, wait_s=11.6)
    assert "try again in a moment." in wording.answer_text(busy, verbose=False)


def test_no_answer_is_ever_a_hundred_per_cent_sure() -> None:
    assert "99 %" in wording.seen(replace(VERDICT, confidence=1.0))


def test_the_verbose_answer_has_every_frame_and_the_score_in_the_well_known_words() -> None:
    assert wording.answer_text(ANSWER, verbose=True).splitlines() == [
        "Frame 1: VALORANT with a 99.59% confidence.",
        "Frame 2: Chess with a 50.00% confidence.",
        "Frame 3: VALORANT with a 100.00% confidence.",
        "VALORANT with a score of 5.6",
        "Seen: VALORANT 97 % (2/3)",
    ]


def test_an_unknown_game_is_said_to_be_unknown_with_what_it_is_nearest_to() -> None:
    text = wording.seen(replace(VERDICT, game=UNKNOWN))

    assert text == "Seen: no game that I know (nearest: VALORANT; 3 frames)"


def test_an_unknown_game_is_said_to_look_like_what_it_looks_like() -> None:
    genres = (
        GenreLikeness(id="platformer", name="platformer", confidence=0.9),
        GenreLikeness(id="pixel_art", name="pixel art", confidence=0.7),
        GenreLikeness(id="of_this_model_alone", name="walking \x1b simulator", confidence=0.6),
    )
    verdict = replace(VERDICT, game=UNKNOWN, genres=genres)

    assert wording.seen(verdict) == "Not a game I know; looks like: platformer, pixel art, walking � simulator"
    assert wording.seen(verdict, language="de").startswith("Kein Spiel, das ich kenne; sieht aus wie: Jump ’n’ Run, ")
    assert wording.seen(replace(verdict, game=VALORANT)) == wording.seen(VERDICT)


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.ANSWERED])
def test_every_other_outcome_has_one_sentence_of_its_own(status: Status) -> None:
    text = wording.answer_text(Answer(channel="some_channel", status=status), verbose=True)

    assert text.endswith((".", "!"))
    assert "\n" not in text
    assert status is Status.FAILED or "some_channel" in text


def test_no_two_outcomes_share_a_sentence() -> None:
    statuses = [status for status in Status if status is not Status.ANSWERED]

    assert len({wording.answer_text(Answer(channel="x", status=status), verbose=False) for status in statuses}) == len(
        statuses
    )


@given(text=st.text(), fault=st.sampled_from(ReferenceFault))
def test_what_was_typed_is_quoted_short_and_harmless_to_a_terminal(text: str, fault: ReferenceFault) -> None:
    sentence = wording.bad_reference(fault, text, prefix="!")

    assert sentence.isprintable()
    assert len(sentence) < 200


def test_the_json_holds_all_of_the_verdict_under_the_promised_keys() -> None:
    content = to_json(ANSWER)

    assert list(content) == [
        "channel",
        "status",
        "game",
        "confidence",
        "best",
        "votes",
        "frames",
        "genres",
        "runners_up",
        "score",
        "novelty",
        "model",
        "elapsed_ms",
        "bytes",
        "adverts",
        "age_s",
        "declared",
    ]
    assert content["game"] == {"id": "valorant", "name": "VALORANT"}
    assert content["frames"][1] == {  # type: ignore[index,call-overload]
        "game": {"id": "chess", "name": "Chess"},
        "confidence": 0.5,
        "at_s": 2.0,
    }
    assert content["runners_up"] == [{"game": {"id": "chess", "name": "Chess"}, "confidence": 0.02}]
    assert content["elapsed_ms"] == {"resolve": 12.3, "total": 456.0}
    assert content["bytes"] == 123
    assert content["model"] == "m-1"


def test_the_json_of_a_failure_has_the_same_keys() -> None:
    content = to_json(Answer(channel="some_channel", status=Status.OFFLINE))

    assert list(content) == list(to_json(ANSWER))
    assert content["status"] == "offline"
    assert content["game"] is None
    assert content["frames"] == []


def test_the_model_is_named_with_how_much_it_knows() -> None:
    assert wording.model_text(RULE) == "Model test-1, which knows 3 games."


FLAG = FlagRecord(
    id=1234,
    look="k",
    channel="some_channel",
    recognised=VALORANT,
    model="m-1",
    game=CHESS,
    state=FlagState.OPEN,
    reason=FlagReason.WAITING,
    by=Moderator(platform="twitch", id="1", name="mona"),
    place="1",
    server="",
    at=NOW,
    state_at=NOW,
    used_by=None,
)
SIGHTINGS = (
    Sighting(game=VALORANT, first_at=NOW, last_at=NOW + timedelta(minutes=40), confidence=0.9, looks=3),
    Sighting(game=CHESS, first_at=NOW + timedelta(hours=1), last_at=NOW + timedelta(hours=1), confidence=None, looks=1),
)

Said = Callable[[str], str]
CONVERSATION: dict[str, tuple[Said, str]] = {
    "flag_accepted": (
        lambda language: wording.flag_accepted(1234, channel="sam", game=CHESS, language=language),
        "Flag 1234: sam showed Chess. Thank you, the next model learns from it.",
    ),
    "flag_waits": (
        lambda language: wording.flag_waits(7, channel="sam", game=CHESS, missing=1, language=language),
        "Flag 7: sam showed Chess. One more moderator has to say so before I learn from it.",
    ),
    "flag_disputed": (
        lambda language: wording.flag_disputed(7, channel="sam", game=CHESS, language=language),
        "Flag 7: sam showed Chess. Another moderator says otherwise; it stays open until you agree.",
    ),
    "flag_changed": (
        lambda language: wording.flag_changed(7, game=CHESS, before=VALORANT, language=language),
        "Flag 7 now says Chess instead of VALORANT.",
    ),
    "flag_withdrawn": (
        lambda language: wording.flag_withdrawn(7, channel="sam", game=CHESS, language=language),
        "Flag 7 is withdrawn: sam as Chess.",
    ),
    "flag_not_found": (
        lambda language: wording.flag_not_found("#x", language=language),
        "There is no flag #x here.",
    ),
    "flag_of_another": (
        lambda language: wording.flag_of_another(7, language=language),
        "Flag 7 is another moderator's; only they, or whoever runs me, may withdraw it.",
    ),
    "nothing_to_flag": (
        lambda language: wording.nothing_to_flag("sam", prefix="!", language=language),
        "I have not looked at sam lately, so there is nothing to put right. Ask !game sam first.",
    ),
    "look_is_gone": (
        lambda language: wording.look_is_gone(language=language),
        "I keep nothing of that look any more; look again, and flag that.",
    ),
    "which_game": (
        lambda language: wording.which_game(prefix="!", language=language),
        "Which game is it? !flag <channel> <right game>",
    ),
    "written_like": (
        lambda language: wording.written_like("watch", prefix="!", language=language),
        "Write it like this: !watch on|off [channel]",
    ),
    "only_moderators_flag": (
        lambda language: wording.only_moderators_flag(language=language),
        "Only moderators can put me right.",
    ),
    "did_you_mean": (
        lambda language: wording.did_you_mean("ches", [CHESS, VALORANT, GAMES[2]], language=language),
        "Which game do you mean by “ches”: Chess, VALORANT or Freedoom?",
    ),
    "game_not_known": (
        lambda language: wording.game_not_known("xyzzy", prefix="!", language=language),
        "I know no game like “xyzzy”; !games lists those that I know.",
    ),
    "flags_list": (
        lambda language: wording.flags_list([FLAG, replace(FLAG, recognised=None)], language=language),
        (
            "2 flags:\n"
            "1234: some_channel is Chess, not VALORANT (open; mona, 2026-11-05)\n"
            "1234: some_channel is Chess, not an unknown game (open; mona, 2026-11-05)"
        ),
    ),
    "flag_line": (
        lambda language: wording.flag_line(replace(FLAG, game=VALORANT, state=FlagState.ACCEPTED), language=language),
        "1234: some_channel is VALORANT (accepted; mona, 2026-11-05)",
    ),
    "notice_learnt": (
        lambda language: wording.notice_learnt(7, channel="sam", game=CHESS, model="m-2", language=language),
        "Model m-2 has learnt from your flag 7: sam as Chess.",
    ),
    "watch_on": (
        lambda language: wording.watch_on("sam", every_s=300, language=language),
        "I look at sam every 5 min now, and say here when it shows another game than it declares.",
    ),
    "watch_on_already": (
        lambda language: wording.watch_on_already("sam", language=language),
        "I watch sam already.",
    ),
    "watch_off": (lambda language: wording.watch_off("sam", language=language), "I no longer watch sam."),
    "watch_off_already": (
        lambda language: wording.watch_off_already("sam", language=language),
        "I do not watch sam here.",
    ),
    "watch_list": (
        lambda language: wording.watch_list({"sam", "ann"}, language=language),
        "Watched here: ann, sam.",
    ),
    "watch_full": (
        lambda language: wording.watch_full(10, language=language),
        "So many channels are watched here that I take no more: 10.",
    ),
    "watch_nowhere": (
        lambda language: wording.watch_nowhere(language=language),
        "What a watch notices is said in a chat; ask for it there, on Discord or Twitch.",
    ),
    "only_moderators_watch": (
        lambda language: wording.only_moderators_watch(language=language),
        "Only moderators can have a channel watched.",
    ),
    "mismatch": (
        lambda language: wording.mismatch("sam", declared="Chess", shown=VALORANT, since=NOW, language=language),
        "sam declares Chess, but shows VALORANT since 21:30 UTC.",
    ),
    "cooldown": (
        lambda language: wording.cooldown(4.2, language=language),
        "Slowly, please: ask me again in 4 s.",
    ),
    "command_off": (
        lambda language: wording.command_off("watch", prefix="!", language=language),
        "!watch is off here.",
    ),
    "only_the_operator": (
        lambda language: wording.only_the_operator(language=language),
        "Only whoever runs me can do that.",
    ),
    "nothing_is_kept": (
        lambda language: wording.nothing_is_kept(language=language),
        "I keep nothing of any channel here.",
    ),
    "opted_out": (
        lambda language: wording.opted_out("sam", frames=1234, language=language),
        "I leave sam alone from now on; 1,234 frames of it removed.",
    ),
    "only_the_broadcaster": (
        lambda language: wording.only_the_broadcaster("sam", prefix="!", language=language),
        "Only sam can say that, in Twitch chat, or whoever runs me.",
    ),
    "unrecognised": (
        lambda language: wording.unrecognised("gmae", prefix="!", language=language),
        "I do not know “!gmae”; !help lists what I do.",
    ),
    "bad_reference": (
        lambda language: wording.bad_reference(ReferenceFault.EMPTY, "", prefix="?", word="seen", language=language),
        "Name a channel, for example: ?seen some_channel",
    ),
    "model_text": (
        lambda language: wording.model_text(RULE, language=language),
        "Model test-1, which knows 3 games.",
    ),
    "model_taken_over": (
        lambda language: wording.model_taken_over("m-2", before="m-1", language=language),
        "Model m-2 answers now, in the place of m-1.",
    ),
    "model_tried": (
        lambda language: wording.model_tried(PAIR, why="It was shown 2 of 200 looks.", language=language),
        (
            "Tried beside it: m-2, the same answer at 1 of 2 looks, 3.0 ms a frame instead of 2.0 ms. "
            "It was shown 2 of 200 looks."
        ),
    ),
    "model_is_refused": (
        lambda language: wording.model_is_refused("m-2", why="It is too slow.", language=language),
        "m-2 is refused: It is too slow.",
    ),
    "model_promoted": (
        lambda language: wording.model_promoted("m-2", before="m-1", why="It is good.", language=language),
        "Model m-2 is promoted over m-1. It is good.",
    ),
    "model_dropped": (
        lambda language: wording.model_dropped("m-2", answering="m-1", why="It is slow.", language=language),
        "Model m-2 is tried no longer, and m-1 goes on answering. It is slow.",
    ),
    "model_rolled_back": (
        lambda language: wording.model_rolled_back("m-2", answering="m-1", why="It errs.", language=language),
        "Model m-2 is taken back, and m-1 answers again. It errs.",
    ),
    "model_refused": (
        lambda language: wording.model_refused("m-2", answering="m-1", why="It is too slow.", language=language),
        "Model m-2 is refused, and m-1 goes on answering. It is too slow.",
    ),
    "games_list": (
        lambda language: wording.games_list(GAMES, count=1234, language=language),
        "1,234 games: VALORANT, Chess, Freedoom … and 1,231 more",
    ),
    "timeline_text": (
        lambda language: wording.timeline_text("sam", SIGHTINGS, language=language),
        "Seen on sam tonight (UTC):\n21:30–22:10 VALORANT\n22:30 Chess",
    ),
    "help_text": (
        lambda language: wording.help_text(prefix="!", words={"game": "seen", "help": "help"}, language=language),
        (
            "!seen <channel>     which game the channel's live stream really shows\n"
            "!seen -v <channel>  the same, frame by frame\n"
            "!help               this list"
        ),
    ),
    "restarting": (
        lambda language: wording.restarting(language=language),
        "I am being restarted; please ask again in a minute.",
    ),
    "something_went_wrong": (
        lambda language: wording.something_went_wrong(language=language),
        "Something went wrong on my side. It has been logged; please try again.",
    ),
    "answer_text": (
        lambda language: wording.answer_text(ANSWER, verbose=False, language=language),
        "Seen: VALORANT 97 % (2/3)",
    ),
    "seen": (lambda language: wording.seen(VERDICT, language=language), "Seen: VALORANT 97 % (2/3)"),
    "game_name": (
        lambda language: wording.game_name(NOT_A_GAME, language=language),
        "no game (a desktop, a webcam, a waiting screen)",
    ),
    "genre_name": (
        lambda language: wording.genre_name(GenreLikeness(id="pixel_art", name="?", confidence=1.0), language=language),
        "pixel art",
    ),
    "duration": (lambda language: wording.duration(86400 * 3, language=language), "3 days"),
    "ago": (lambda language: wording.ago(0.2, language=language), "just now"),
    "label": (lambda language: wording.label("choose", language=language), "Which one is meant?"),
    "rejected_tile": (lambda language: wording.rejected_tile("advert", count=3, language=language), "3 adverts"),
    "usage": (
        lambda language: wording.usage("flag", prefix="/", word="wrong", language=language),
        "/wrong <channel> <right game>",
    ),
}
LOCALISED = {
    name
    for name, function in inspect.getmembers(wording, inspect.isfunction)
    if function.__module__ == wording.__name__
    and not name.startswith("_")
    and "language" in inspect.signature(function).parameters
}


def test_a_model_answers_since_a_moment() -> None:
    text = wording.model_text(RULE, since=NOW)

    assert text == "Model test-1, which knows 3 games; it answers since 2026-11-05 21:30 UTC."


def test_the_table_of_sentences_has_all_of_them() -> None:
    assert set(CONVERSATION) == LOCALISED


@pytest.mark.parametrize("name", CONVERSATION)
def test_the_english_sentence_is_this_one(name: str) -> None:
    say, text = CONVERSATION[name]

    assert say("en") == text


@pytest.mark.parametrize("name", sorted(set(CONVERSATION) - {"label"}))
def test_it_is_said_in_german_too(name: str) -> None:
    say, text = CONVERSATION[name]

    assert say("de-AT") == say("de")
    assert say("de") != text or name == "usage"
    assert "\u2068" not in say("de")


@pytest.mark.parametrize("name", CONVERSATION)
def test_who_reads_another_language_is_answered_in_english(name: str) -> None:
    say, text = CONVERSATION[name]

    assert {say(language) for language in ("fr", "en-GB", "xx", "", "../de", "EN_us")} == {text}


def test_numbers_are_written_as_the_language_does_but_the_number_of_a_flag_is_a_name() -> None:
    assert "1.234 Bilder" in wording.opted_out("sam", frames=1234, language="de")
    assert "Meldung 1234" in wording.flag_accepted(1234, channel="sam", game=CHESS, language="de")


def test_an_empty_list_is_a_sentence() -> None:
    assert wording.flags_list([]) == "There are no flags."
    assert wording.flags_list([], channel="sam") == "There are no flags of sam."
    assert wording.games_list([], wanted="x") == "I know no game like “x”."
    assert wording.timeline_text("sam", []) == "Nothing has been seen on sam tonight."
    assert wording.watch_list([]) == "No channel is watched here."
    assert wording.mismatch("sam", declared=None, shown=CHESS, since=NOW).startswith("sam declares nothing")


def test_no_more_games_are_named_than_anybody_reads() -> None:
    games = [Game(id=str(number), name=f"Game {number}") for number in range(100)]

    assert wording.games_list(games).startswith("100 games: Game 0, ")
    assert wording.games_list(games).endswith("Game 39 … and 60 more")


def test_all_that_can_be_asked_fits_in_one_line_of_chat() -> None:
    words = {name: name for name in ("game", "flag", "unflag", "flags", "games", "timeline", "watch", "model", "help")}
    for language in sentences.languages():
        line = wording.help_text(prefix="!", words=words, brief=True, language=language)
        assert wording.single_line(line) == line


def test_one_line_is_one_line() -> None:
    assert wording.single_line("a  b\n\n c\r\nd\te") == "a b · c · d e"
    assert wording.single_line("a" * 500) == "a" * 449 + "…"


@given(text=st.text(), limit=st.integers(1, 600))
def test_one_line_never_is_too_long_nor_has_anything_unprintable(text: str, limit: int) -> None:
    line = wording.single_line(text, limit=limit)

    assert len(line) <= limit
    assert line.isprintable()


@given(name=st.text(), status=st.sampled_from(Status), language=st.sampled_from(["en", "de"]))
def test_what_others_named_does_no_harm(name: str, status: Status, language: str) -> None:
    game = Game(id="g", name=name)
    answer = Answer(
        channel=name,
        status=status,
        verdict=replace(VERDICT, game=game) if status is Status.ANSWERED else None,
        declared=Category(id="1", name=name),
        last_seen=LastSeen(game=game, at=NOW),
    )

    assert wording.answer_text(answer, verbose=False, language=language, now=NOW).isprintable()


class Places(Visitor):
    """Collects what a message refers to."""

    def __init__(self) -> None:
        self.found: set[str] = set()

    def visit_VariableReference(self, node: ast.VariableReference) -> None:  # noqa: N802
        self.found.add(f"${node.id.name}")

    def visit_MessageReference(self, node: ast.MessageReference) -> None:  # noqa: N802
        self.found.add(node.id.name)


def messages(language: str) -> dict[str, set[str]]:
    text = resources.files("bot.languages").joinpath(f"{language}.ftl").read_text(encoding="utf-8")
    found: dict[str, set[str]] = {}
    for entry in FluentParser().parse(text).body:
        assert not isinstance(entry, ast.Junk), entry.content
        if isinstance(entry, ast.Message):
            assert entry.id.name not in found, entry.id.name
            places = Places()
            places.visit(entry)
            found[entry.id.name] = places.found
    return found


def test_there_are_two_languages() -> None:
    assert sentences.languages() == ("de", "en")


@pytest.mark.parametrize("language", sentences.languages())
def test_every_language_has_the_same_messages_with_the_same_places(language: str) -> None:
    assert messages(language) == messages(sentences.FALLBACK)


def test_no_sentence_is_left_over() -> None:
    source = inspect.getsource(wording)
    used = set(re.findall(r'"([a-z]+(?:-[a-z]+)*)"', source))
    built = {"about-", "genre-", "label-", "tile-", "no-game-known"}

    assert {name for name in messages("en") if name not in used and not name.startswith(tuple(built))} == set()


@pytest.mark.parametrize("language", sentences.languages())
def test_discord_takes_every_label(language: str) -> None:
    """Names of commands are lower case of 32 letters at most, descriptions have 100, buttons 80."""
    for name in messages(language):
        if name.startswith(("label-command-", "label-option-")):
            text = wording.label(name.removeprefix("label-"), language=language)
            assert 1 <= len(text) <= 100, name
            if not name.endswith(("-about", "-misclassified")):
                assert re.fullmatch(r"[\w-]{1,32}", text), name
                assert text == text.lower()
        elif name.startswith("label-button-"):
            assert len(wording.label(name.removeprefix("label-"), language=language)) <= 80
