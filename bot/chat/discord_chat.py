"""Discord as a chat, through discord.py: slash commands first, ``!game`` where its text may be read, or by mention.

discord.py keeps a session alive and resumes it after most losses. What it leaves open is here: everything that needs
a new session goes through one back-off, whichever way it was lost, and what will not get better ends the run with a
sentence.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import re
import time
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakValueDictionary

import aiohttp
import discord
import yarl
from cachetools import TTLCache
from discord import app_commands
from tenacity import AsyncRetrying, retry_if_exception, wait_random_exponential

from bot.chat import discord_commands, discord_views
from bot.chat.sharing import Alone
from bot.commands import wording
from bot.commands.parser import CommandWords, parse_command
from bot.commands.request import DEFAULT_LANGUAGE, Asker, FlagLook, Place, Reply, Request, Role
from core.errors import ChatProblem, ChatRefused

if TYPE_CHECKING:
    from collections.abc import Collection, Coroutine, Iterator
    from types import SimpleNamespace

    from tenacity import RetryCallState

    from bot.chat.discord_views import Pressed, Shown
    from bot.chat.platform import Handle
    from bot.chat.sharing import Sharing
    from bot.commands.answer import Answer
    from bot.commands.request import Command

log = logging.getLogger(__name__)

Completes: TypeAlias = Callable[[str], Sequence[str] | Awaitable[Sequence[str]]]
"""What has been typed so far -> what it could become, best first."""

_NAME = "discord"
_PICTURE_BYTES = 300_000
_SUGGESTIONS = 25
_SUGGESTION = 100
_REMEMBERED = 10_000
"""Ids of events that were taken. Discord repeats what a resumed session has missed."""
_REMEMBERED_S = 900.0
"""As long as the token of an interaction is good for."""

_NOT_TAKEN = (discord.DiscordException, aiohttp.ClientError, OSError, RuntimeError)
"""What the library raises of a request; a RuntimeError is aiohttp's, of a session that was closed meanwhile."""

_INTERACTION_PATH = re.compile(r"/(?:interactions|webhooks)/")

_BAD_TOKEN = 4004
_CLOSED_FOR_GOOD = {
    _BAD_TOKEN: "Discord does not accept the bot's token; it was changed or is mistyped.",
    4012: "Discord does not speak this version of its interface any more; a newer discord.py is needed.",
    4013: "Discord does not know the intents that were asked for; a newer discord.py is needed.",
}
_WRONG_SHARDS = frozenset({4010, 4011})
"""What the gateway closes with when there must be more shards."""

_CONTENT_MISSING = (
    "The message-content intent is not granted to this bot in Discord's developer portal: "
    "commands with a prefix are only heard where the bot is mentioned. Slash commands are not touched by that."
)


@dataclass(kw_only=True, slots=True, eq=False)
class _Part:
    """What one session hears, and that session.

    Attributes:
        name: of a shard, as all processes call it.
        shard: the only one that it hears, and how many there are; None for all, where nobody shares them.
        speaks_only: whether it hears nothing: with it one speaks where one has no shard.
        client: the session, while there is one.
        hears: whether it has been heard over it.
        is_over: whether no other session is to follow.
        task: what keeps a session up.
    """

    name: str = ""
    shard: tuple[int, int] | None = None
    speaks_only: bool = False
    client: _Client | None = None
    hears: bool = False
    is_over: bool = False
    task: asyncio.Task[None] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DiscordLimits:
    """How patient the adapter is.

    Attributes:
        first_wait_s: before the second attempt at a session, at most; it doubles from there.
        longest_wait_s: between any two attempts.
        steady_s: a session that lasted so long was a good one: the back-off starts anew after it.
        identify_gap_s: between two new sessions; Discord wants 5.
        request_gap_s: between any two requests but those for interactions; Discord allows 50 a second of them.
        connect_s: for a shard's connection, until the gateway's greeting.
        connects: attempts at a shard's first connection before all begin anew; the library waits 5 s after each.
        hang_ups: so many of one shard within ``hang_ups_s`` are no accident: the session is given up.
        hang_ups_s: see there.
        drain_s: how long a session that is given up waits for answers that are under way.
    """

    first_wait_s: float = 5.0
    longest_wait_s: float = 300.0
    steady_s: float = 60.0
    identify_gap_s: float = 5.0
    request_gap_s: float = 1 / 40
    connect_s: float = 60.0
    connects: int = 3
    hang_ups: int = 10
    hang_ups_s: float = 60.0
    drain_s: float = 20.0


class DiscordChat:
    """Takes commands on Discord and answers them."""

    def __init__(
        self,
        token: str,
        *,
        words: CommandWords | None = None,
        languages: Sequence[str] = (DEFAULT_LANGUAGE,),
        reads_messages: bool = True,
        moderator_roles: Collection[int] = (),
        operators: Collection[int] = (),
        channels: Completes | None = None,
        games: Completes | None = None,
        draw: Callable[[Answer, str], bytes] | None = None,
        channel_url: str = "https://www.twitch.tv/{channel}",
        limits: DiscordLimits | None = None,
        sharing: Sharing | None = None,
        api_url: str | None = None,
        gateway_url: str | None = None,
    ) -> None:
        """Keep the settings; nothing is opened yet.

        Args:
            token: of the bot; it is sent to Discord alone and appears in no sentence.
            words: how commands are written in messages; what is off there is off as a slash command too.
            languages: that commands and buttons are translated to, as two letters.
            reads_messages: ask for the privileged message-content intent, where it is granted, to hear commands
                without a mention.
            moderator_roles: ids of roles that moderate, besides everybody who may delete messages.
            operators: ids of the people whose bot this is.
            channels: suggestions for a channel's name.
            games: suggestions for a game's name.
            draw: an answer and a language to the evidence mosaic, JPEG or WebP; called in a thread.
            channel_url: of a channel's page, with ``{channel}`` in it.
            limits: how patient to be.
            sharing: divides the shards among processes; None where there is but this one.
            api_url: in place of ``https://discord.com/api/v10``.
            gateway_url: in place of ``wss://gateway.discord.gg/``.
        """
        self._token = token
        self._words = words if words is not None else CommandWords()
        self._languages = tuple(languages)
        self._reads_messages = reads_messages
        self._moderator_roles = frozenset(moderator_roles)
        self._operators = frozenset(operators)
        self._channels = channels
        self._games = games
        self._draw = draw
        self._channel_url = channel_url
        self._limits = limits if limits is not None else DiscordLimits()
        self._api_url = api_url
        self._gateway_url = gateway_url
        self._sharing: Sharing = sharing if sharing is not None else Alone()
        self._parts: dict[str, _Part] = {}
        self._shards: int | None = None
        self._at_once = 1
        self._more_shards = False
        self._redivide = asyncio.Event()
        self._handle: Handle | None = None
        self._answers: asyncio.TaskGroup | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self._taken: TTLCache[int, None] = TTLCache(maxsize=_REMEMBERED, ttl=_REMEMBERED_S)
        self._identifies = _Turns(self._limits.identify_gap_s)
        self._requests = _Turns(self._limits.request_gap_s)
        self._speaking: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    @property
    def name(self) -> str:
        """As in a Place."""
        return _NAME

    @property
    def is_ready(self) -> bool:
        """Whether all shards, of those that are this process's, have a session."""
        return bool(self._parts) and all(
            part.client is not None and (part.client.user is not None if part.speaks_only else part.client.is_ready())
            for part in self._parts.values()
        )

    async def run(self, handle: Handle) -> None:
        """Take commands and answer them until the task is cancelled.

        Raises:
            ChatRefused: Discord does not accept the token, or what the bot wants to hear.
        """
        self._handle = handle
        refused: ChatRefused | None
        with _led_to(self._api_url, self._gateway_url), _in_sentences():
            async with asyncio.TaskGroup() as self._answers:
                # Raised inside, it would come out wrapped in a group.
                if self._sharing.is_shared:
                    refused = await self._share()
                else:
                    part = self._parts[""] = _Part()
                    refused = await self._stay(part)
        if refused is not None:
            raise refused

    async def announce(self, place: Place, reply: Reply) -> bool:
        """Say something that nobody asked for just now."""
        clients = [part.client for part in self._parts.values() if part.client is not None]
        client = next((client for client in clients if client.user is not None), None)
        if client is None or reply.is_silent:
            return False
        if place.platform != _NAME or not place.id.isdecimal():
            return False
        guilds = (one.get_guild(int(place.server)) for one in clients) if place.server.isdecimal() else iter(())
        guild = next((guild for guild in guilds if guild is not None), None)
        language = guild.preferred_locale.value if guild is not None else DEFAULT_LANGUAGE
        shown = await self._shown(reply, language, with_text=True)
        try:
            async with self._alone_in(int(place.id)):
                await client.get_partial_messageable(int(place.id)).send(**shown.arguments())
        except _NOT_TAKEN as error:
            log.warning("Discord did not take a message for %s: %s", place.name or place.id, _sentence(error))
            return False
        return True

    # Sessions

    async def _share(self) -> ChatRefused:
        """Hear the shards that are this process's, each over a session of its own; returns when Discord refuses us.

        With one session for all of them, each that comes or goes would take the others down.
        """
        end: asyncio.Future[ChatRefused] = asyncio.get_running_loop().create_future()
        speaker = _Part(speaks_only=True)
        self._parts = {"": speaker}

        async def stay(part: _Part) -> None:
            refused = await self._stay(part)
            if refused is not None and not end.done():
                end.set_result(refused)

        async with asyncio.TaskGroup() as group:
            speaker.task = group.create_task(stay(speaker), name="discord")
            dividing = [
                group.create_task(self._divide(group, stay), name="discord shards"),
                group.create_task(self._follow(), name="discord sharing"),
            ]
            refused = await end
            for task in (*dividing, *(part.task for part in self._parts.values())):
                if task is not None:
                    task.cancel()
        return refused

    async def _follow(self) -> None:
        since = 0
        while True:
            since = await self._sharing.changed(since)
            # What all processes ask counts together.
            self._requests.gap_s = self._limits.request_gap_s * self._sharing.count
            self._redivide.set()

    async def _divide(self, group: asyncio.TaskGroup, stay: Callable[[_Part], Coroutine[Any, Any, None]]) -> None:
        """Begin and end sessions as shards become this process's, and others'."""
        while True:
            await self._redivide.wait()
            self._redivide.clear()
            if self._shards is None:
                continue
            self._shards = shards = self._sharing.agreed("discord shards", self._shards)
            named = {f"{_NAME}:{shard}/{shards}": shard for shard in range(shards)}
            mine = self._sharing.mine(named.keys())
            for name in [name for name in self._parts if name and name not in mine]:
                part = self._parts.pop(name)
                part.is_over = True
                group.create_task(self._leave(part), name=f"leaving {name}")
            for name in sorted(mine - self._parts.keys(), key=lambda name: named[name]):
                part = self._parts[name] = _Part(name=name, shard=(named[name], shards))
                part.task = group.create_task(stay(part), name=name)
            self._tell_what_is_heard()

    async def _leave(self, part: _Part) -> None:
        """End a session when its answers are given."""
        if part.client is not None:
            await part.client.close()
        if part.task is not None:
            part.task.cancel()

    def heard(self, part: _Part) -> None:
        """Something comes in over a session."""
        part.hears = True
        self._tell_what_is_heard()

    def learn(self, *, shards: int, at_once: int) -> None:
        """Go by what Discord says of shards, and of how many sessions may be begun at once.

        How many there are is kept to while Discord takes it: each time that it is another, all sessions begin anew.
        """
        self._at_once = max(1, at_once)
        if self._shards is None or self._more_shards:
            self._shards = self._sharing.agreed("discord shards", shards, insists=self._more_shards)
            self._more_shards = False
            self._redivide.set()

    def _tell_what_is_heard(self) -> None:
        self._sharing.serves(_NAME, [part.name for part in self._parts.values() if part.hears])

    async def _stay(self, part: _Part) -> ChatRefused | None:
        while not part.is_over:
            attempts = AsyncRetrying(
                retry=retry_if_exception(lambda e: isinstance(e, ChatProblem) and not isinstance(e, ChatRefused)),
                wait=wait_random_exponential(multiplier=self._limits.first_wait_s, max=self._limits.longest_wait_s),
                before_sleep=_say_why,
            )
            try:
                await attempts(self._session, part)
            except ChatRefused as refused:
                return refused
        return None

    async def _session(self, part: _Part) -> None:
        """One session from its start to its end; returns when it was a good one.

        Raises:
            ChatProblem: it did not come about, or did not last.
            ChatRefused: and never will.
        """
        client = _Client(self, part, content=self._reads_messages)
        try:
            problem = await self._ended(client, part)
        finally:
            part.client = None
            part.hears = False
            self._tell_what_is_heard()
        if part.is_over:
            return
        if isinstance(problem, ChatRefused) or not client.was_steady:
            raise problem
        log.warning("%s", problem)

    async def _ended(self, client: _Client, part: _Part) -> ChatProblem:
        """Why a session ended, or did not begin."""
        try:
            async with client:
                part.client = client
                try:
                    # Resuming is the library's; whatever needs a new session is ours, with one back-off for all.
                    await client.stay(self._token)
                except asyncio.CancelledError:
                    client.drains = False
                    raise
        except _ContentMissing as missing:
            self._reads_messages = False
            return missing
        except discord.PrivilegedIntentsRequired:
            if not self._reads_messages:
                return ChatRefused("Discord refuses the intents that the bot asks for.")
            self._reads_messages = False
            return _ContentMissing(_CONTENT_MISSING)
        except discord.LoginFailure:
            return ChatRefused(_CLOSED_FOR_GOOD[_BAD_TOKEN])
        except discord.ConnectionClosed as closed:
            if closed.code in _CLOSED_FOR_GOOD:
                return ChatRefused(_CLOSED_FOR_GOOD[closed.code])
            self._more_shards = self._more_shards or closed.code in _WRONG_SHARDS
            return ChatProblem(f"Discord ended the session with code {closed.code}.")
        except ChatProblem as problem:
            return problem
        except (discord.DiscordException, aiohttp.ClientError, OSError) as error:
            return ChatProblem(f"Discord cannot be reached: {_sentence(error)}")
        except Exception as error:
            # One event that the library cannot read ends its session, whatever it was about.
            log.exception("a session with Discord failed")
            return ChatProblem(f"Discord was not understood: {type(error).__name__}.")
        return client.problem or ChatProblem("Discord ended the session.")

    async def identify_turn(self, shard_id: int) -> None:
        """Wait until a new session may be asked for."""
        await self._identifies.wait()
        # A little more, because the way there takes now longer and now shorter.
        gap_s = self._limits.identify_gap_s * 1.1
        await self._sharing.turn(f"discord identify {shard_id % self._at_once}", gap_s=gap_s)

    async def request_turn(self, path: str) -> None:
        """Wait until a request may be sent. Discord counts those for interactions apart."""
        if not _INTERACTION_PATH.search(path):
            await self._requests.wait()

    async def drained(self) -> None:
        """Wait for the answers that are under way, for a while."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=self._limits.drain_s)

    # What comes in

    def take(self, interaction: Pressed, command: Command, *, private: bool) -> None:
        """Answer a command, once."""
        if self._is_first(interaction):
            self._start(self._answer(interaction, command, private=private), interaction.id)

    async def ask_for_game(self, interaction: Pressed, look: str) -> None:
        """Open the form for the right game, once."""
        if self._is_first(interaction) and await self._is_mine(interaction.id):
            with _lost("form"):
                await interaction.response.send_modal(
                    discord_views.right_game_form(look, language=interaction.locale.value)
                )

    async def ask_about_message(self, interaction: Pressed, message: discord.Message) -> None:
        """Open the form for the look that one of our own messages is from."""
        ours = interaction.client.user is not None and message.author.id == interaction.client.user.id
        look = discord_views.look_of(message) if ours else None
        if look is not None:
            await self.ask_for_game(interaction, look)
        elif self._is_first(interaction) and await self._is_mine(interaction.id):
            await self._tell(interaction, wording.label("no-answer-of-mine", language=interaction.locale.value))

    def take_form(self, interaction: Pressed) -> None:
        """Answer a form that was sent in, whichever process opened it."""
        data: dict[str, Any] = dict(interaction.data or {})
        look = discord_views.look_of_form(str(data.get("custom_id")))
        if look is None:
            return
        game = discord_views.sent_in(data.get("components")).strip()
        if game:
            self.take(interaction, FlagLook(look=look, game=game), private=True)
        elif self._is_first(interaction):
            # Blanks are no game; and no game would say that what was recognised is right.
            text = wording.label("form-title", language=interaction.locale.value)
            self._start(self._tell(interaction, text), interaction.id)

    def take_message(self, message: discord.Message, *, me: int) -> None:
        """Answer a message, if it is a command."""
        if message.author.bot or message.webhook_id is not None:
            return
        text, mentions = re.subn(rf"^\s*<@!?{me}>\s*", "", message.content)
        if mentions and not text.startswith(self._words.prefix):
            text = f"{self._words.prefix}{text}"
        command = parse_command(text, words=self._words)
        if command is not None and self._is_new(message.id):
            self._start(self._answer_message(message, command), message.id)

    async def completes(self, interaction: Pressed) -> bool:
        """Whether suggestions are this process's to make."""
        return not _leaves(interaction.client) and await self._is_mine(interaction.id)

    async def suggestions(self, typed: str, *, games: bool) -> list[app_commands.Choice[str]]:
        """What may be typed on; nothing when that cannot be told just now."""
        complete = self._games if games else self._channels
        if complete is None:
            return []
        found = complete(typed)
        names = await found if inspect.isawaitable(found) else found
        fitting = [name for name in dict.fromkeys(names) if 0 < len(name) <= _SUGGESTION]
        return [app_commands.Choice(name=name, value=name) for name in fitting[:_SUGGESTIONS]]

    def _is_first(self, interaction: Pressed) -> bool:
        return not _leaves(interaction.client) and self._is_new(interaction.id)

    def _is_new(self, event_id: int) -> bool:
        if event_id in self._taken:
            return False
        self._taken[event_id] = None
        return True

    async def _is_mine(self, event_id: int) -> bool:
        """Whether no other process has taken it, which hears the same shard while that moves."""
        return await self._sharing.take(f"{_NAME}:{event_id}")

    def _start(self, answering: Coroutine[Any, Any, None], event_id: int) -> None:
        async def once() -> None:
            if await self._is_mine(event_id):
                await answering
            else:
                answering.close()

        if self._answers is None:
            answering.close()
            return
        task = self._answers.create_task(once())
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    # What goes out

    async def _answer(self, interaction: Pressed, command: Command, *, private: bool) -> None:
        with _lost("reply"):
            await interaction.response.defer(ephemeral=private, thinking=True)
            language = interaction.locale.value
            reply = await self._reply(
                Request(
                    command=command,
                    asker=self._asker(interaction.user, interaction.permissions, language),
                    place=_place(interaction.channel, interaction.guild_id, channel_id=interaction.channel_id),
                )
            )
            if reply.is_silent:
                await interaction.delete_original_response()
                return
            shown = await self._shown(reply, language)
            if reply.private and not private:
                # What is to come was announced to everybody; only after that is gone can it be for one alone.
                await interaction.delete_original_response()
                await interaction.followup.send(**shown.arguments(), ephemeral=True)
                return
            arguments = shown.arguments()
            if "file" in arguments:
                arguments["attachments"] = [arguments.pop("file")]
            await interaction.edit_original_response(**arguments)

    async def _tell(self, interaction: Pressed, text: str) -> None:
        with _lost("reply"):
            await interaction.response.send_message(text, ephemeral=True)

    async def _answer_message(self, message: discord.Message, command: Command) -> None:
        with _lost("reply"):
            member = message.author if isinstance(message.author, discord.Member) else None
            permissions = member.guild_permissions if member is not None else discord.Permissions.none()
            language = message.guild.preferred_locale.value if message.guild is not None else DEFAULT_LANGUAGE
            reply = await self._reply(
                Request(
                    command=command,
                    asker=self._asker(message.author, permissions, language),
                    place=_place(
                        message.channel, message.guild.id if message.guild else None, channel_id=message.channel.id
                    ),
                )
            )
            if reply.is_silent:
                return
            shown = await self._shown(reply, language)
            async with self._alone_in(message.channel.id):
                await message.channel.send(
                    **shown.arguments(),
                    reference=message.to_reference(fail_if_not_exists=False),
                    # Sent again after a fault of the network, it is still one message.
                    nonce=str(message.id),
                )

    def _alone_in(self, channel_id: int) -> asyncio.Lock:
        """For one message at a time to a channel.

        With several on the way, the library now and then lets one too many go: the answer to the first says how many
        are left without those that have not arrived.
        """
        return self._speaking.setdefault(channel_id, asyncio.Lock())

    async def _reply(self, request: Request) -> Reply:
        if self._handle is None:
            raise RuntimeError("nobody handles commands yet")
        try:
            return await self._handle(request)
        except Exception:
            log.exception("answering %s failed", type(request.command).__name__)
            return Reply(text=wording.label("went-wrong", language=request.asker.language), private=True)

    async def _shown(self, reply: Reply, language: str, *, with_text: bool = False) -> Shown:
        return discord_views.shown(
            reply,
            picture=await self._picture(reply.answer, language),
            channel_url=self._channel_url,
            language=language,
            with_text=with_text,
        )

    async def _picture(self, answer: Answer | None, language: str) -> bytes | None:
        if self._draw is None or answer is None or answer.verdict is None or not answer.evidence:
            return None
        try:
            picture = await asyncio.to_thread(self._draw, answer, language)
        except Exception:
            log.exception("drawing the evidence of %s failed", answer.channel)
            return None
        if len(picture) > _PICTURE_BYTES:
            log.warning("The evidence of %s is left out: %d bytes are too many.", answer.channel, len(picture))
            return None
        return picture

    def _asker(self, user: discord.User | discord.Member, permissions: discord.Permissions, language: str) -> Asker:
        role = Role.VIEWER
        if user.id in self._operators:
            role = Role.OPERATOR
        elif permissions.manage_messages or (
            isinstance(user, discord.Member) and any(user.get_role(role_id) for role_id in self._moderator_roles)
        ):
            role = Role.MODERATOR
        return Asker(platform=_NAME, id=str(user.id), name=user.display_name, role=role, language=language)

    @property
    def limits(self) -> DiscordLimits:
        """How patient the adapter is."""
        return self._limits

    @property
    def words(self) -> CommandWords:
        """How commands are written."""
        return self._words

    @property
    def languages(self) -> tuple[str, ...]:
        """That commands are translated to."""
        return self._languages


class _Turns:
    """Lets one after the other go on, with a gap between them."""

    def __init__(self, gap_s: float) -> None:
        self.gap_s = gap_s
        self._lock = asyncio.Lock()
        self._next_s = 0.0

    async def wait(self) -> None:
        """Return when it is one's turn."""
        async with self._lock:
            await asyncio.sleep(self._next_s - time.monotonic())
            self._next_s = time.monotonic() + self.gap_s


class _ContentMissing(ChatProblem):
    """The message-content intent is not granted: the next session does without."""


class _Client(discord.AutoShardedClient):
    """One session of its shards; it hands on what comes in, and ends when it is not worth going on with."""

    def __init__(self, chat: DiscordChat, part: _Part, *, content: bool) -> None:
        shards: Any = {} if part.shard is None else {"shard_ids": [part.shard[0]], "shard_count": part.shard[1]}
        super().__init__(
            **shards,
            intents=discord.Intents(guilds=True, guild_messages=True, dm_messages=True, message_content=content),
            allowed_mentions=discord.AllowedMentions.none(),
            max_messages=None,
            chunk_guilds_at_startup=False,
            member_cache_flags=discord.MemberCacheFlags.none(),
            shard_connect_timeout=chat.limits.connect_s,
            http_trace=self._paced(chat),
        )
        self.problem: ChatProblem | None = None
        self.drains = True
        self._chat = chat
        self._part = part
        self._has_turn: set[int] = set()
        self._closing = asyncio.Event()
        self._ready_s: float | None = None
        self._launches: Counter[int] = Counter()
        self._hang_ups: defaultdict[int, deque[float]] = defaultdict(lambda: deque(maxlen=chat.limits.hang_ups))
        self.tree = discord_commands.tree(self, chat, words=chat.words, languages=chat.languages)

    @property
    def leaves(self) -> bool:
        """Whether another process hears the same by now: this one gives the answers that it owes, and begins none."""
        return self._part.is_over

    @property
    def was_steady(self) -> bool:
        """Whether the session lasted."""
        return self._ready_s is not None and time.monotonic() - self._ready_s >= self._chat.limits.steady_s

    @staticmethod
    def _paced(chat: DiscordChat) -> aiohttp.TraceConfig:
        """The library keeps the limits of single routes ahead of time, and the one of all together only when told off.

        What a trace awaits, the request waits for: at last, when the library has let it go.
        """

        async def wait(_: aiohttp.ClientSession, __: SimpleNamespace, sent: aiohttp.TraceRequestStartParams) -> None:
            await chat.request_turn(sent.url.path)

        trace = aiohttp.TraceConfig()
        trace.on_request_start.append(wait)
        return trace

    async def stay(self, token: str) -> None:
        """Be logged in, and hear what there is to hear, until closed or until that ends by itself."""
        if self._part.speaks_only:
            await self.login(token)
            await self._closing.wait()
        else:
            await self.start(token, reconnect=False)

    # What the library calls before a session

    async def setup_hook(self) -> None:
        flags = self.application_flags
        if self.intents.message_content and not (
            flags.gateway_message_content or flags.gateway_message_content_limited
        ):
            raise _ContentMissing(_CONTENT_MISSING)
        shards, _, starts = await self.http.get_bot_gateway()
        if starts["remaining"] < 1:
            # Discord changes the token of a bot that goes on.
            raise ChatProblem(
                f"Discord allows no new session for another {starts['reset_after'] // 1000} s: too many were begun."
            )
        self._chat.learn(shards=shards, at_once=starts["max_concurrency"])
        self.add_dynamic_items(discord_views.AnswerButton, discord_views.ChoiceSelect)
        if await discord_commands.sync_if_changed(self.tree):
            log.info("Discord was told of the commands, which had changed.")

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:  # noqa: ARG002
        if shard_id in self._has_turn:
            self._has_turn.discard(shard_id)
        else:
            await self._chat.identify_turn(shard_id or 0)

    async def launch_shard(self, gateway: yarl.URL, shard_id: int, *, initial: bool = False) -> None:
        # The library tries for ever, every 5 s, and each time one call deeper.
        self._launches[shard_id] += 1
        if self._launches[shard_id] > self._chat.limits.connects:
            raise ChatProblem("Discord's gateway cannot be reached.")
        if self._part.shard is not None and shard_id not in self._has_turn:
            # Before it connects: with many shards in many processes a turn may be longer off than a connection lasts.
            await self._chat.identify_turn(shard_id)
            self._has_turn.add(shard_id)
        await super().launch_shard(gateway, shard_id, initial=initial)

    async def close(self) -> None:
        if self.drains:
            self.drains = False
            await self._chat.drained()
        # To its end, however often it is cancelled: else connections would stay open.
        closing = asyncio.create_task(super().close(), name="discord closes")
        cancelled: asyncio.CancelledError | None = None
        while not closing.done():
            try:
                await asyncio.wait({closing})
            except asyncio.CancelledError as error:
                cancelled = error
        self._closing.set()
        if cancelled is not None:
            raise cancelled
        closing.result()

    async def __aexit__(self, *_: object) -> None:
        # The library's waits for a close under way in such a manner that being cancelled ends that, too.
        await self.close()

    # What comes in

    async def on_shard_connect(self, _: int) -> None:
        self._chat.heard(self._part)

    async def on_ready(self) -> None:
        if self.is_closed():  # the library says so 2 s after the last server, whatever has happened since
            return
        self._ready_s = time.monotonic()
        log.info("Connected to Discord as %s, in %d server(s).", self.user, len(self.guilds))

    async def on_shard_disconnect(self, shard_id: int) -> None:
        hang_ups = self._hang_ups[shard_id]
        hang_ups.append(time.monotonic())
        limits = self._chat.limits
        # The library resumes at once and without end.
        if len(hang_ups) == limits.hang_ups and hang_ups[-1] - hang_ups[0] < limits.hang_ups_s and not self.problem:
            self.problem = ChatProblem(f"Discord hung up {limits.hang_ups} times in a row.")
            await self.close()

    async def on_message(self, message: discord.Message) -> None:
        if self.user is not None and not self.leaves:
            self._chat.take_message(message, me=self.user.id)

    async def on_interaction(self, interaction: Pressed) -> None:
        if interaction.type is discord.InteractionType.modal_submit:
            self._chat.take_form(interaction)

    def take(self, interaction: Pressed, command: Command, *, private: bool) -> None:
        """Answer what a button stands for."""
        self._chat.take(interaction, command, private=private)

    async def ask_for_game(self, interaction: Pressed, look: str) -> None:
        """Open the form that a button stands for."""
        await self._chat.ask_for_game(interaction, look)


def _leaves(client: discord.Client) -> bool:
    return isinstance(client, _Client) and client.leaves


def _place(channel: object, server_id: int | None, *, channel_id: int | None) -> Place:
    return Place(
        platform=_NAME,
        id=str(channel_id or ""),
        server=str(server_id or ""),
        name=str(getattr(channel, "name", None) or ""),
    )


@contextlib.contextmanager
def _led_to(api_url: str | None, gateway_url: str | None) -> Iterator[None]:
    """Lead the library elsewhere, and back. It has its addresses in its classes alone."""
    # A name of its own for each, because the classes are Any to nobody but us.
    route, socket, asset = discord.http.Route, discord.gateway.DiscordWebSocket, discord.asset.Asset
    before = route.BASE, socket.DEFAULT_GATEWAY, asset.BASE
    if api_url is not None:
        route.BASE = api_url.rstrip("/")
        asset.BASE = str(yarl.URL(api_url).origin())
    if gateway_url is not None:
        socket.DEFAULT_GATEWAY = yarl.URL(gateway_url)
    try:
        yield
    finally:
        route.BASE, socket.DEFAULT_GATEWAY, asset.BASE = before


class _Sentences(logging.Filter):
    """Makes one line of what the library logs of a lost connection."""

    def filter(self, record: logging.LogRecord) -> bool:
        if "voice will NOT be supported" in record.getMessage():
            return False
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if isinstance(error, discord.DiscordException | aiohttp.ClientError | OSError):
            record.msg, record.args = f"{record.getMessage()} ({_sentence(error)})", None
            record.exc_info = record.exc_text = None
        return True


@contextlib.contextmanager
def _in_sentences() -> Iterator[None]:
    sentences = _Sentences()
    loggers = [logging.getLogger(f"discord.{name}") for name in ("client", "gateway", "http", "shard", "state")]
    for logger in loggers:
        logger.addFilter(sentences)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(sentences)


@contextlib.contextmanager
def _lost(what: str) -> Iterator[None]:
    """What Discord did not take is logged; there is nobody left to tell."""
    try:
        yield
    except _NOT_TAKEN as error:
        log.warning("Discord did not take a %s: %s", what, _sentence(error))
    except Exception:
        # One answer that goes wrong must not end those of all others.
        log.exception("a Discord %s failed", what)


def _say_why(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome is not None else None
    wait_s = state.next_action.sleep if state.next_action is not None else 0.0
    log.warning("%s The next attempt is in %.0f s.", error, wait_s)


def _sentence(error: BaseException) -> str:
    """An exception of the library without addresses: those of interactions hold tokens."""
    match error:
        case discord.HTTPException():
            return f"HTTP {error.status}, code {error.code}"
        case discord.ConnectionClosed():
            return f"the gateway was closed with code {error.code}"
        case aiohttp.ClientConnectorError():
            return f"no connection to {error.host}"
        case _:
            return type(error).__name__
