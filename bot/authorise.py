"""``python -m bot authorise``: lets a Twitch account grant the bot what it needs, from any device with a browser.

It is the device code grant (RFC 8628), which Twitch offers to every application: no address on this machine has to be
reachable, and none has to be registered.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import aiohttp
import typer

from bot.command_line import ConfigOption, DebugOption, log_to_stderr, run_or_exit, settings_or_exit
from bot.commands import wording
from core.errors import ChatProblem, ChatRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bot.chat.twitch_id import DeviceCode, TwitchId, UserTokens
    from bot.chat.twitch_tokens import TokenVault
    from bot.settings import Settings

_LOG = logging.getLogger(__name__)

_SLOWER_S = 5.0
_CANCELLED = 130

NOT_DONE = "Nothing was granted."
OPEN_PAGE = (
    "Sign in to Twitch as {who}, open\n\n    {address}\n\n"
    "and confirm the code {code}. This waits for it, at most {minutes:.0f} minutes."
)
WHO_BOT = "the account that the bot writes as"
WHO_BROADCASTER = "the broadcaster who wants the bot in their chat"
DONE_BOT = "GameSpotter now reads and writes as {login}."
DONE_BROADCASTER = "GameSpotter may now be in the chat of {login}."


def authorise(
    *,
    broadcaster: Annotated[
        bool, typer.Option("--broadcaster", help="A broadcaster grants that the bot is in their chat.")
    ] = False,
    make_key: Annotated[
        bool, typer.Option("--new-key", help="Only make a key that tokens are stored encrypted with, and print it.")
    ] = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Let a Twitch account grant the bot what it needs: its own account, or a broadcaster's.

    Ends with 0 when it was granted, with 1 when it was not, with 2 when a setting is missing or wrong, and with 130
    when it was cancelled.
    """
    log_to_stderr(debug=debug)
    if make_key:
        from bot.chat.twitch_tokens import new_key  # noqa: PLC0415 - loads what only the Twitch chat needs

        print(new_key())
        return
    settings = settings_or_exit(config)
    if not settings.twitch.has_credentials:
        print(wording.NO_CREDENTIALS, file=sys.stderr)
        raise typer.Exit(2)
    try:
        tokens = run_or_exit(_authorise(settings, broadcaster=broadcaster))
    except typer.Exit as ended:
        if ended.exit_code == _CANCELLED:
            print(NOT_DONE, file=sys.stderr)
        raise
    print((DONE_BROADCASTER if broadcaster else DONE_BOT).format(login=tokens.login))


async def _authorise(settings: Settings, *, broadcaster: bool) -> UserTokens:
    # Imported here, so that --help and a mistake in the settings are answered at once.
    from bot.app import open_storage  # noqa: PLC0415
    from bot.chat.opening import token_vault  # noqa: PLC0415
    from bot.chat.scrubbing import Scrubber  # noqa: PLC0415
    from bot.chat.twitch_id import TwitchId  # noqa: PLC0415
    from bot.chat.twitch_tokens import BOT_SCOPES, BROADCASTER_SCOPES  # noqa: PLC0415

    secret = settings.twitch.client_secret.get_secret_value() if settings.twitch.client_secret is not None else ""
    who = WHO_BROADCASTER if broadcaster else WHO_BOT

    def show(code: DeviceCode) -> None:
        page = OPEN_PAGE.format(who=who, address=code.address, code=code.user_code, minutes=code.expires_s / 60)
        print(page, flush=True)

    with Scrubber([secret]).on_every_handler():
        async with (
            open_storage(settings) as storage,
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        ):
            identity = TwitchId(
                session, client_id=settings.twitch.client_id, client_secret=secret, id_url=settings.twitch.id_url
            )
            vault = token_vault(settings, storage)
            return await let_grant(identity, vault, BROADCASTER_SCOPES if broadcaster else BOT_SCOPES, show=show)


async def let_grant(
    identity: TwitchId, vault: TokenVault, scopes: Sequence[str], *, show: Callable[[DeviceCode], None]
) -> UserTokens:
    """Let somebody grant something, and keep it.

    Args:
        identity: whom to ask.
        vault: where it is kept.
        scopes: what is to be granted.
        show: tells the person which page to open.

    Raises:
        ChatRefused: it was not granted, or not in time.
        ChatProblem: Twitch cannot be asked.
        StorageError: it cannot be kept.
    """
    # Nobody shall grant something that cannot be kept then.
    await vault.all()
    code = await identity.device_code(scopes)
    show(code)
    try:
        async with asyncio.timeout(code.expires_s):
            tokens = await _granted(identity, code, scopes)
    except TimeoutError:
        raise ChatRefused("Nobody confirmed the code in time.") from None
    if missing := sorted(set(scopes) - set(tokens.scopes)):
        raise ChatRefused(f"{tokens.login} granted less than was asked for: {', '.join(missing)} is missing.")
    before = await vault.tokens(tokens.user_id)
    if before is not None:
        # One account can be the bot's and a broadcaster's: what it granted before still holds.
        both = tuple(dict.fromkeys((*tokens.scopes, *before.scopes)))
        tokens = replace(before if before.is_bot and not tokens.is_bot else tokens, scopes=both)
    await vault.keep(tokens)
    return tokens


async def _granted(identity: TwitchId, code: DeviceCode, scopes: Sequence[str]) -> UserTokens:
    from bot.chat.twitch_id import StillWaiting  # noqa: PLC0415 - loads what only the Twitch chat needs

    interval_s = code.interval_s
    while True:
        await asyncio.sleep(interval_s)
        try:
            return await identity.device_tokens(code, scopes)
        except StillWaiting as waiting:
            interval_s += _SLOWER_S if waiting.slower else 0.0
        except ChatRefused:
            raise
        except ChatProblem as problem:
            _LOG.info("%s Asking again.", problem)
