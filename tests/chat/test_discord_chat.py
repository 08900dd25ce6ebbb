"""What people on Discord see, with the unmodified client against the stand-in."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pytest

from bot.chat.discord_chat import DiscordLimits
from bot.commands.parser import COMMANDS, CommandWords
from bot.commands.request import (
    Choice,
    Flag,
    FlagLook,
    Help,
    Identify,
    ListFlags,
    ListGames,
    OptOut,
    Place,
    Reply,
    Role,
    ShowModel,
    Timeline,
    Unrecognised,
    Watch,
    Withdraw,
)
from core.games import UNKNOWN
from tests.chat.discord_conversation import LOOK, Answerer, chatting, fields, seen
from tests.chat.discord_stand_in import (
    CHANNEL_ID,
    ELSEWHERE_ID,
    EPHEMERAL,
    GUILD_ID,
    MANAGE_MESSAGES,
    MESSAGE_CONTENT,
    MODERATORS_ROLE_ID,
    OTHER_ROLE_ID,
    DiscordStandIn,
    Person,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bot.commands.request import Command

JPEG = b"\xff\xd8 a picture"


@pytest.fixture
async def discord() -> AsyncIterator[DiscordStandIn]:
    async with DiscordStandIn() as stand_in:
        yield stand_in
        assert stand_in.violations == []


def is_private(message: dict[str, Any]) -> bool:
    return bool(message["flags"] & EPHEMERAL)


# Commands


@pytest.mark.parametrize(
    ("name", "options", "command"),
    [
        ("game", {"channel": "Some_Channel"}, Identify(channel="Some_Channel")),
        ("flag", {"channel": "x_y", "game": "Chess"}, Flag(channel="x_y", game="Chess")),
        ("unflag", {"number": "12"}, Withdraw(flag="12")),
        ("flags", {}, ListFlags()),
        ("flags", {"channel": "x_y"}, ListFlags(channel="x_y")),
        ("games", {}, ListGames()),
        ("games", {"filter": "val"}, ListGames(wanted="val")),
        ("timeline", {"channel": "x_y"}, Timeline(channel="x_y")),
        ("watch", {}, Watch(channel="", on=None)),
        ("watch", {"channel": "x_y"}, Watch(channel="x_y", on=True)),
        ("watch", {"channel": "x_y", "on": False}, Watch(channel="x_y", on=False)),
        ("model", {}, ShowModel()),
        ("help", {}, Help()),
        ("optout", {}, OptOut(channel="")),
        ("optout", {"channel": "x_y"}, OptOut(channel="x_y")),
    ],
)
async def test_every_slash_command_is_asked_and_answered(
    discord: DiscordStandIn, name: str, options: dict[str, Any], command: Command
) -> None:
    answerer = Answerer()
    async with chatting(discord, answerer):
        asked = await discord.slash(name, **options)

        assert (await asked.answered())["content"] == "an answer"
    assert [request.command for request in answerer.requests] == [command]
    assert asked.callback is not None
    assert asked.callback["type"] == 5


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("!game Some_Channel", Identify(channel="Some_Channel")),
        ("!game -v x_y", Identify(channel="x_y", verbose=True)),
        ("!flag x_y Rocket League", Flag(channel="x_y", game="Rocket League")),
        ("!unflag 12", Withdraw(flag="12")),
        ("!flags", ListFlags()),
        ("!games val", ListGames(wanted="val")),
        ("!timeline x_y", Timeline(channel="x_y")),
        ("!watch x_y off", Watch(channel="x_y", on=False)),
        ("!model", ShowModel()),
        ("!help", Help()),
        ("!optout x_y", OptOut(channel="x_y")),
        ("!nonsense", Unrecognised(word="nonsense")),
    ],
)
async def test_every_command_is_heard_with_its_prefix(discord: DiscordStandIn, text: str, command: Command) -> None:
    answerer = Answerer()
    async with chatting(discord, answerer):
        message = await discord.say(text)
        (reply,) = await discord.replies_to(message)

    assert reply["content"] == "an answer"
    assert [request.command for request in answerer.requests] == [command]


async def test_what_is_no_command_and_what_bots_say_is_not_answered(discord: DiscordStandIn) -> None:
    answerer = Answerer()
    async with chatting(discord, answerer):
        await discord.say("which game is that?")
        last = await discord.say("!game last_one")
        await discord.replies_to(last)

    assert [request.command for request in answerer.requests] == [Identify(channel="last_one")]


async def test_a_request_says_who_asks_and_where(discord: DiscordStandIn) -> None:
    answerer = Answerer()
    person = Person(name="Ada", locale="de")
    async with chatting(discord, answerer):
        await (await discord.slash("help", person=person)).answered()

    (request,) = answerer.requests
    assert (request.asker.platform, request.asker.id, request.asker.name) == ("discord", str(person.id), "Ada")
    assert request.asker.language == "de"
    assert request.place == Place(platform="discord", id=str(CHANNEL_ID), server=str(GUILD_ID), name="general")


@pytest.mark.parametrize(("where", "server"), [("dm", ""), ("elsewhere", str(ELSEWHERE_ID))])
async def test_who_has_the_bot_installed_asks_where_it_is_no_member(
    discord: DiscordStandIn, where: str, server: str
) -> None:
    answerer = Answerer(Reply(text="x", answer=seen()))
    async with chatting(discord, answerer):
        message = await (await discord.slash("game", where=where, channel="some_channel")).answered()

    assert fields(message)["Seen"] == "VALORANT 97 %"
    assert answerer.requests[0].place.server == server
    assert answerer.requests[0].asker.role is Role.VIEWER


async def test_a_command_that_is_gone_is_not_left_without_an_answer(discord: DiscordStandIn) -> None:
    answerer = Answerer()
    async with chatting(discord, answerer):
        await discord.connected()
        discord.commands.append({"id": "1234", "name": "earlier", "type": 1})
        message = await (await discord.slash("earlier")).answered()

    assert is_private(message)
    assert answerer.requests == []


async def test_a_command_that_is_off_is_not_offered(discord: DiscordStandIn) -> None:
    words = CommandWords(names={**COMMANDS, "watch": (), "flag": ()})
    async with chatting(discord, Answerer(), words=words):
        await discord.connected()

    names = {command["name"] for command in discord.commands}
    assert {"watch", "flag", "Flag as misclassified"}.isdisjoint(names)
    assert "game" in names


# What Discord is told of the commands


async def test_commands_are_told_of_once_and_again_only_when_they_change(discord: DiscordStandIn) -> None:
    for _ in range(2):
        async with chatting(discord, Answerer()):
            await discord.connected()
        discord.sessions.clear()
    assert discord.count("PUT", r"/applications/\d+/commands") == 1

    discord.commands[0]["description"] = "what an earlier version said"
    async with chatting(discord, Answerer()):
        await discord.connected()
    assert discord.count("PUT", r"/applications/\d+/commands") == 2


async def test_commands_are_named_in_two_languages(discord: DiscordStandIn) -> None:
    async with chatting(discord, Answerer()):
        await discord.connected()

    game = next(command for command in discord.commands if command["name"] == "game")
    assert game["name_localizations"] == {"de": "spiel"}
    assert set(game["description_localizations"]) == {"de"}
    assert game["options"][0]["name_localizations"] == {"de": "kanal"}


async def test_commands_can_be_installed_by_people_and_moderating_ones_are_hidden(discord: DiscordStandIn) -> None:
    async with chatting(discord, Answerer()):
        await discord.connected()

    by_name = {command["name"]: command for command in discord.commands}
    assert sorted(by_name["game"]["integration_types"]) == [0, 1]
    assert sorted(by_name["game"]["contexts"]) == [0, 1, 2]
    # What is watched is said in the server where it was asked for.
    assert by_name["watch"]["integration_types"] == [0]
    hidden = {name for name, row in by_name.items() if row["default_member_permissions"] == str(MANAGE_MESSAGES)}
    assert hidden == {"flag", "unflag", "flags", "watch", "Flag as misclassified"}


async def test_suggestions_are_25_at_most_and_never_too_long(discord: DiscordStandIn) -> None:
    typed: list[str] = []

    def channels(text: str) -> list[str]:
        typed.append(text)
        return ["x" * 101, "", *(f"channel_{number}" for number in range(40)), "channel_0"]

    async def games(text: str) -> list[str]:
        return [f"{text} 2"]

    async with chatting(discord, Answerer(), channels=channels, games=games):
        offered = await discord.suggestions("game", focused="channel", channel="cha")
        assert offered == [f"channel_{number}" for number in range(25)]
        assert typed == ["cha"]
        assert await discord.suggestions("flag", focused="game", channel="x_y", game="Portal") == ["Portal 2"]


async def test_without_a_source_nothing_is_suggested(discord: DiscordStandIn) -> None:
    async with chatting(discord, Answerer()):
        assert await discord.suggestions("game", focused="channel", channel="cha") == []


# Who may


@pytest.mark.parametrize(
    ("person", "role"),
    [
        (Person(), Role.VIEWER),
        (Person(permissions=MANAGE_MESSAGES), Role.MODERATOR),
        (Person(roles=(OTHER_ROLE_ID,)), Role.MODERATOR),
        (Person(id=77_000_000_000_000_000), Role.OPERATOR),
    ],
)
async def test_roles_are_told_by_permission_role_or_settings(
    discord: DiscordStandIn, person: Person, role: Role
) -> None:
    answerer = Answerer()
    options = {"moderator_roles": [OTHER_ROLE_ID], "operators": [77_000_000_000_000_000]}
    async with chatting(discord, answerer, **options):
        await (await discord.slash("help", person=person)).answered()

    assert answerer.requests[0].asker.role is role


@pytest.mark.parametrize(("roles", "role"), [((), Role.VIEWER), ((MODERATORS_ROLE_ID,), Role.MODERATOR)])
async def test_roles_are_told_by_the_servers_roles_in_messages(
    discord: DiscordStandIn, roles: tuple[int, ...], role: Role
) -> None:
    answerer = Answerer()
    async with chatting(discord, answerer):
        await discord.replies_to(await discord.say("!help", person=Person(roles=roles)))

    assert answerer.requests[0].asker.role is role


# What an answer looks like


async def test_an_answer_is_an_embed_with_the_evidence(discord: DiscordStandIn) -> None:
    drawn: list[tuple[str, str]] = []

    def draw(answer: Any, language: str) -> bytes:
        drawn.append((answer.channel, language))
        return JPEG

    async with chatting(discord, Answerer(Reply(text="Seen: x", answer=seen())), draw=draw):
        message = await (await discord.slash("game", channel="some_channel")).answered()

    (embed,) = message["embeds"]
    assert embed["url"] == "https://www.twitch.tv/some_channel"
    assert fields(message) == {"Seen": "VALORANT 97 %", "Declared": "Just Chatting", "Frames": "12/13"}
    assert embed["footer"]["text"] == "Model test-1"
    assert embed["image"]["url"].endswith("/evidence.jpg")
    assert discord.files[int(message["id"])] == [JPEG]
    assert [part["label"] for part in discord.components(message)] == ["Right", "Wrong…", "Again"]
    assert drawn == [("some_channel", "en-US")]
    assert message["content"] == ""


async def test_an_answer_is_in_the_askers_language(discord: DiscordStandIn) -> None:
    async with chatting(discord, Answerer(Reply(text="x", answer=seen(game=UNKNOWN, declared=None)))):
        message = await (await discord.slash("game", channel="x_y", person=Person(locale="de"))).answered()

    assert [part["label"] for part in discord.components(message)] == ["Richtig", "Falsch…", "Nochmal"]
    assert set(fields(message)) == {"Zu sehen", "Angegeben", "Bilder"}


async def test_an_answer_to_a_message_shows_the_same(discord: DiscordStandIn) -> None:
    async with chatting(discord, Answerer(Reply(text="x", answer=seen())), draw=lambda *_: JPEG):
        message = await discord.say("!game some_channel")
        (reply,) = await discord.replies_to(message)

    assert fields(reply)["Seen"] == "VALORANT 97 %"
    assert discord.files[int(reply["id"])] == [JPEG]


@pytest.mark.parametrize("picture", [None, b"x" * 300_001])
async def test_an_answer_without_a_usable_picture_is_still_given(
    discord: DiscordStandIn, picture: bytes | None
) -> None:
    def draw(*_: Any) -> bytes:
        if picture is None:
            raise OSError("no font")
        return picture

    async with chatting(discord, Answerer(Reply(text="x", answer=seen())), draw=draw):
        message = await (await discord.slash("game", channel="some_channel")).answered()

    assert fields(message)["Seen"] == "VALORANT 97 %"
    assert message["attachments"] == []


async def test_frame_by_frame_is_said_in_lines(discord: DiscordStandIn) -> None:
    async with chatting(discord, Answerer(Reply(text="Frame 1\nFrame 2\nSeen", answer=seen()))):
        (reply,) = await discord.replies_to(await discord.say("!game -v some_channel"))

    assert reply["embeds"][0]["description"] == "Frame 1\nFrame 2\nSeen"


async def test_a_long_list_is_cut_at_a_line(discord: DiscordStandIn) -> None:
    text = "\n".join(f"Game number {number}" for number in range(400))
    async with chatting(discord, Answerer(Reply(text=text, private=True))):
        message = await (await discord.slash("games")).answered()

    description = message["embeds"][0]["description"]
    assert len(description) <= 4096
    assert description.endswith("…")
    assert description.removesuffix("…").splitlines()[-1] in text.splitlines()


async def test_nothing_that_people_wrote_mentions_or_formats(discord: DiscordStandIn) -> None:
    hostile = "@everyone @here <@123456789012345678> **bold** ||spoiler||"
    answer = seen(channel="@everyone", declared=hostile)

    def reply(request: Any) -> Reply:
        return Reply(text=hostile, answer=answer if isinstance(request.command, Identify) else None)

    async with chatting(discord, Answerer(reply)) as chat:
        plain = await (await discord.slash("model")).answered()
        embed = await (await discord.slash("game", channel="@everyone")).answered()
        await discord.replies_to(await discord.say("!model"))
        assert await chat.announce(Place(platform="discord", id=str(CHANNEL_ID)), Reply(text=hostile))

    for text in (plain["content"], fields(embed)["Declared"], embed["embeds"][0]["title"]):
        assert "@everyone" not in text
        assert "**bold**" not in text
    assert "<@1" not in plain["content"]
    assert len(discord.allowed_mentions) == 4
    assert all(mentions["parse"] == [] for mentions in discord.allowed_mentions)
    assert all(not mentions.get("replied_user") for mentions in discord.allowed_mentions)


# Private, silent, failing


async def test_lists_are_for_the_asker_alone(discord: DiscordStandIn) -> None:
    async with chatting(discord, Answerer(Reply(text="a list", private=True))):
        assert is_private(await (await discord.slash("games")).answered())


async def test_a_mistake_in_a_public_command_is_for_the_asker_alone(discord: DiscordStandIn) -> None:
    async with chatting(discord, Answerer(Reply(text="no such channel", private=True))):
        asked = await discord.slash("game", channel="x")
        message = await asked.answered()

    assert is_private(message)
    assert message["content"] == "no such channel"
    assert asked.was_deleted
    assert len(asked.messages) == 1


async def test_silence_takes_the_waiting_sign_away(discord: DiscordStandIn) -> None:
    async with chatting(discord, Answerer(Reply(text=""))):
        asked = await (await discord.slash("game", channel="x")).gone()
        silent = await discord.say("!game x")
        await asyncio.sleep(0.05)

    assert asked.messages == []
    assert [sent for sent in discord.sent if sent.get("message_reference", {}).get("message_id") == silent["id"]] == []


async def test_a_failure_is_one_neutral_sentence_for_the_asker_alone(
    discord: DiscordStandIn, caplog: pytest.LogCaptureFixture
) -> None:
    answerer = Answerer()
    answerer.problem = RuntimeError("a secret detail")
    async with chatting(discord, answerer):
        message = await (await discord.slash("game", channel="x")).answered()

    assert is_private(message)
    assert message["content"].startswith("Something went wrong")
    assert "a secret detail" in caplog.text


async def test_an_answer_that_cannot_be_shown_ends_no_other(
    discord: DiscordStandIn, caplog: pytest.LogCaptureFixture
) -> None:
    def reply(request: Any) -> Any:
        return "no Reply at all" if isinstance(request.command, Identify) else Reply(text="fine")

    answerer = Answerer(reply)
    async with chatting(discord, answerer):
        await discord.slash("game", channel="x")
        await answerer.asked.wait()
        assert (await (await discord.slash("model")).answered())["content"] == "fine"

    assert "a Discord reply failed" in caplog.text


# Buttons


@pytest.mark.parametrize(
    ("label", "command"), [("Right", FlagLook(look=LOOK)), ("Again", Identify(channel="some_channel"))]
)
async def test_a_button_stands_for_a_command(discord: DiscordStandIn, label: str, command: Command) -> None:
    answerer = Answerer(Reply(text="x", answer=seen()))
    async with chatting(discord, answerer):
        message = await (await discord.slash("game", channel="some_channel")).answered()
        pressed = await discord.press(message, label)
        assert is_private(await pressed.answered()) is (label == "Right")

    assert answerer.requests[-1].command == command


async def test_wrong_asks_for_the_right_game_in_a_form(discord: DiscordStandIn) -> None:
    answerer = Answerer(Reply(text="x", answer=seen()))
    async with chatting(discord, answerer):
        message = await (await discord.slash("game", channel="some_channel")).answered()
        form = await (await discord.press(message, "Wrong…")).acknowledged()
        assert form.callback is not None
        assert form.callback["type"] == 9
        sent_in = await discord.send_in(form, "Rocket League")
        assert is_private(await sent_in.answered())

    assert answerer.requests[-1].command == FlagLook(look=LOOK, game="Rocket League")
    assert len(answerer.requests) == 2


async def test_blanks_in_the_form_do_not_say_that_the_answer_was_right(discord: DiscordStandIn) -> None:
    answerer = Answerer(Reply(text="x", answer=seen()))
    async with chatting(discord, answerer):
        message = await (await discord.slash("game", channel="some_channel")).answered()
        form = await (await discord.press(message, "Wrong…")).acknowledged()
        answer = await (await discord.send_in(form, "   ")).answered()

    assert is_private(answer)
    assert answer["content"] == "Which game is right?"
    assert len(answerer.requests) == 1


async def test_the_message_command_asks_the_same_of_our_own_answers(discord: DiscordStandIn) -> None:
    answerer = Answerer(Reply(text="x", answer=seen()))
    async with chatting(discord, answerer):
        message = await (await discord.slash("game", channel="some_channel")).answered()
        form = await (await discord.message_command("Flag as misclassified", message)).acknowledged()
        await (await discord.send_in(form, "Chess")).answered()

    assert answerer.requests[-1].command == FlagLook(look=LOOK, game="Chess")


async def test_the_message_command_refuses_other_messages(discord: DiscordStandIn) -> None:
    answerer = Answerer()
    async with chatting(discord, answerer):
        ours = await (await discord.slash("help")).answered()
        theirs = await discord.say("look at this")
        for message in (ours, theirs):
            asked = await discord.message_command("Flag as misclassified", message)
            answer = await asked.answered()
            assert is_private(answer)
            assert "can be flagged" in answer["content"]

    assert len(answerer.requests) == 1


async def test_what_may_have_been_meant_can_be_chosen(discord: DiscordStandIn) -> None:
    choices = (
        Choice(label="Portal", command=FlagLook(look=LOOK, game="Portal")),
        Choice(label="Portal 2", command=FlagLook(look=LOOK, game="Portal 2")),
        Choice(label="too long to carry", command=FlagLook(look=LOOK, game="x" * 100)),
    )

    def reply(request: Any) -> Reply:
        if isinstance(request.command, Flag):
            return Reply(text="Which one?", private=True, choices=choices)
        return Reply(text="flagged")

    answerer = Answerer(reply)
    async with chatting(discord, answerer):
        asked = await discord.slash("flag", channel="x_y", game="portl")
        message = await asked.answered()
        (select,) = discord.components(message)
        assert [option["label"] for option in select["options"]] == ["Portal", "Portal 2"]
        chosen = await discord.choose(message, "Portal 2")
        assert (await chosen.answered())["content"] == "flagged"

    assert answerer.requests[-1].command == FlagLook(look=LOOK, game="Portal 2")


async def test_a_restart_in_the_middle_leaves_buttons_forms_and_choices_working(discord: DiscordStandIn) -> None:
    choices = (Choice(label="Portal", command=Flag(channel="x_y", game="Portal")),)
    before = Answerer(Reply(text="x", answer=seen(), choices=choices))
    async with chatting(discord, before):
        message = await (await discord.slash("game", channel="some_channel")).answered()
        form = await (await discord.press(message, "Wrong…")).acknowledged()
    discord.sessions.clear()

    after = Answerer()
    async with chatting(discord, after):
        await (await discord.press(message, "Right")).answered()
        await (await discord.send_in(form, "Chess")).answered()
        await (await discord.choose(message, "Portal")).answered()
        await (await discord.press(message, "Again")).answered()

    assert [request.command for request in before.requests] == [Identify(channel="some_channel")]
    assert [request.command for request in after.requests] == [
        FlagLook(look=LOOK),
        FlagLook(look=LOOK, game="Chess"),
        Flag(channel="x_y", game="Portal"),
        Identify(channel="some_channel"),
    ]


async def test_an_event_that_arrives_twice_is_answered_once(discord: DiscordStandIn) -> None:
    answerer = Answerer(Reply(text="x", answer=seen()))
    async with chatting(discord, answerer):
        asked = await discord.slash("game", channel="some_channel")
        message = await asked.answered()
        await discord.repeat(asked)
        form = await (await discord.press(message, "Wrong…")).acknowledged()
        await discord.repeat(form)
        said = await discord.say("!model")
        await discord.say("!model", message_id=int(said["id"]))
        await (await discord.slash("help")).answered()
        replies = await discord.replies_to(said)

    assert len(replies) == 1
    assert [type(request.command) for request in answerer.requests] == [Identify, ShowModel, Help]


# Where message content is not granted


async def test_without_the_intent_commands_are_heard_by_mention(caplog: pytest.LogCaptureFixture) -> None:
    answerer = Answerer()
    async with DiscordStandIn(granted=0, content_allowed=False) as discord, chatting(discord, answerer):
        session = await discord.connected()
        assert not session.intents & MESSAGE_CONTENT
        await discord.say("!game unheard_of")
        heard = await discord.say("<@900000000000000001> game some_channel", mentions_bot=True)
        with_prefix = await discord.say("<@900000000000000001> !model", mentions_bot=True)
        await discord.replies_to(heard)
        await discord.replies_to(with_prefix)

    assert [request.command for request in answerer.requests] == [Identify(channel="some_channel"), ShowModel()]
    assert discord.violations == []
    assert "message-content intent is not granted" in caplog.text


async def test_who_does_not_read_messages_does_not_ask_for_the_intent(discord: DiscordStandIn) -> None:
    async with chatting(discord, Answerer(), reads_messages=False):
        assert not (await discord.connected()).intents & MESSAGE_CONTENT


# Announcements


async def test_an_announcement_says_what_it_is_about(discord: DiscordStandIn) -> None:
    place = Place(platform="discord", id=str(CHANNEL_ID), server=str(GUILD_ID))
    reply = Reply(text="some_channel shows VALORANT, and declares Just Chatting.", answer=seen())
    async with chatting(discord, Answerer(), draw=lambda *_: JPEG) as chat:
        await discord.connected()
        assert await chat.announce(place, reply)

    (message,) = discord.sent
    assert message["embeds"][0]["description"].startswith("some\\_channel shows VALORANT")
    assert discord.files[int(message["id"])] == [JPEG]
    assert len(discord.components(message)) == 3


async def test_an_announcement_that_nobody_can_hear_is_not_made(
    discord: DiscordStandIn, caplog: pytest.LogCaptureFixture
) -> None:
    async with chatting(discord, Answerer()) as chat:
        assert not await chat.announce(Place(platform="discord", id=str(CHANNEL_ID)), Reply(text="x"))
        await (await discord.slash("help")).answered()
        assert not await chat.announce(Place(platform="discord", id="1234"), Reply(text="x"))
    assert not await chat.announce(Place(platform="discord", id=str(CHANNEL_ID)), Reply(text="x"))

    assert "code 10003" in caplog.text


# Many at once


async def test_fifty_askers_at_once_are_acknowledged_in_time(discord: DiscordStandIn) -> None:
    answerer = Answerer(Reply(text="x", answer=seen()), takes_s=2.0)
    async with chatting(discord, answerer, draw=lambda *_: JPEG):
        await discord.connected()
        asked = await asyncio.gather(*(discord.slash("game", channel="some_channel") for _ in range(50)))
        await asyncio.gather(*(one.answered() for one in asked))

    slowest_s = max(one.acknowledged_s or 99.0 for one in asked)
    assert slowest_s < 3.0
    assert len(answerer.requests) == 50
    assert all(len(one.messages) == 1 for one in asked)


async def test_a_burst_of_messages_breaks_no_limit_and_leaves_none_unanswered(discord: DiscordStandIn) -> None:
    discord.channels = [CHANNEL_ID + number for number in range(100, 120)]
    answerer = Answerer()
    async with chatting(discord, answerer, limits=DiscordLimits(identify_gap_s=0.0)):
        messages = [
            await discord.say("!game some_channel", channel_id=channel_id)
            for channel_id in discord.channels
            for _ in range(5)
        ]
        for message in messages:
            assert len(await discord.replies_to(message, within_s=20)) == 1

    assert len(answerer.requests) == 100


async def test_the_conversation_is_held_against_discords_own_description(discord: DiscordStandIn) -> None:
    if "GAMESPOTTER_DISCORD_OPENAPI" not in os.environ:
        pytest.skip("GAMESPOTTER_DISCORD_OPENAPI names no copy of Discord's OpenAPI document")
    async with chatting(discord, Answerer(Reply(text="x", answer=seen())), draw=lambda *_: JPEG):
        message = await (await discord.slash("game", channel="some_channel")).answered()
        form = await (await discord.press(message, "Wrong…")).acknowledged()
        await (await discord.send_in(form, "Chess")).answered()
        await discord.replies_to(await discord.say("!game some_channel"))

    assert discord.bodies_checked >= 6
    assert discord.answers_checked >= 8
