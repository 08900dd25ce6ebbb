"""The chats as the settings have them, built on top of what answers."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from cachetools import TTLCache, cached

from bot.commands import mosaic
from bot.commands.parser import parse_command
from bot.languages.sentences import languages

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.app import Storage
    from bot.chat.platform import ChatPlatform
    from bot.chat.sharing import Sharing
    from bot.chat.twitch_chat import TwitchAddresses
    from bot.chat.twitch_tokens import TokenVault
    from bot.commands.answer import Answer
    from bot.commands.service import CommandService
    from bot.operation.figures import Figures
    from bot.settings import Settings

DISCORD, TWITCH = "discord", "twitch"

_KEPT_PICTURES = 32
"""Of a quarter of a megabyte each."""

_PICTURES_KEPT_S = 60.0


def chats_on(settings: Settings) -> tuple[str, ...]:
    """The chats that are wanted and whose secrets are there."""
    discord, twitch = settings.discord, settings.twitch
    on = {
        DISCORD: discord.chat and discord.has_token,
        TWITCH: twitch.chat and twitch.has_credentials and twitch.has_token_key,
    }
    return tuple(chat for chat, is_on in on.items() if is_on)


def open_chat(
    chat: str,
    settings: Settings,
    storage: Storage,
    service: CommandService,
    figures: Figures,
    sharing: Sharing | None,
) -> ChatPlatform:
    """A chat, which connects when it is run.

    Args:
        chat: one of `chats_on`.
        settings: all of them.
        storage: has Twitch's tokens.
        service: answers, and suggests what may be typed.
        figures: are told whether it is connected, and what it says.
        sharing: divides it among processes; None where there is but this one.

    Raises:
        ChatRefused: there is no key to Twitch's tokens, or it is none.
    """
    platform = _discord(settings, service, sharing) if chat == DISCORD else _twitch(settings, storage, figures, sharing)
    figures.watch_chat(chat, lambda: platform.is_ready)
    return platform


def _discord(settings: Settings, service: CommandService, sharing: Sharing | None) -> ChatPlatform:
    from bot.chat.discord_chat import DiscordChat  # noqa: PLC0415 - takes its time, and is not always wanted

    discord = settings.discord
    return DiscordChat(
        discord.token.get_secret_value() if discord.token is not None else "",
        words=settings.commands.words,
        languages=languages(),
        reads_messages=discord.message_content,
        moderator_roles=discord.moderator_roles,
        operators=discord.operators,
        channels=service.complete_channels,
        games=service.complete_games,
        draw=drawing(),
        channel_url=settings.streams.url,
        sharing=sharing,
        api_url=discord.api_url,
        gateway_url=discord.gateway_url,
    )


def drawing() -> Callable[[Answer, str], bytes]:
    """Draws the evidence of an answer, of one look once in a language, however many ask; to be called in threads."""

    @cached(
        TTLCache[tuple[str, str], bytes](_KEPT_PICTURES, _PICTURES_KEPT_S),
        key=lambda answer, language: (answer.look, language),
        condition=threading.Condition(),
    )
    def draw(answer: Answer, language: str) -> bytes:
        seen = answer.verdict.game if answer.verdict is not None else None
        return mosaic.draw(answer.evidence, channel=answer.channel, language=language, seen=seen)

    return draw


def _twitch(settings: Settings, storage: Storage, figures: Figures, sharing: Sharing | None) -> ChatPlatform:
    from bot.chat.twitch_chat import TwitchChat  # noqa: PLC0415 - takes its time, and is not always wanted

    twitch = settings.twitch
    chat = TwitchChat(
        client_id=twitch.client_id,
        client_secret=twitch.client_secret.get_secret_value() if twitch.client_secret is not None else "",
        vault=token_vault(settings, storage),
        read=partial(parse_command, words=settings.commands.words),
        channels=twitch.channels,
        operators=twitch.operators,
        addresses=twitch_addresses(settings),
        sharing=sharing,
    )
    figures.watch_subscriptions(live=lambda: chat.live_subscriptions, wanted=lambda: chat.wanted_subscriptions)
    figures.watch_messages("said", lambda: chat.tally.said)
    figures.watch_messages("late", lambda: chat.tally.late)
    figures.watch_messages("failed", lambda: chat.tally.failed)
    figures.watch_messages("dropped", chat.tally.dropped.total)
    return chat


def token_vault(settings: Settings, storage: Storage) -> TokenVault:
    """Where Twitch's tokens are kept, sealed.

    Raises:
        ChatRefused: there is no key to seal them with, or it is none.
    """
    from bot.chat.twitch_tokens import TokenVault  # noqa: PLC0415

    key = settings.twitch.token_key
    return TokenVault(storage.tokens, key.get_secret_value().replace(",", " ").split() if key is not None else ())


def twitch_addresses(settings: Settings) -> TwitchAddresses:
    """Where Twitch's services are."""
    from bot.chat.twitch_chat import TwitchAddresses  # noqa: PLC0415

    twitch = settings.twitch
    return TwitchAddresses(helix_url=twitch.helix_url, id_url=twitch.id_url, eventsub_url=twitch.eventsub_url)
