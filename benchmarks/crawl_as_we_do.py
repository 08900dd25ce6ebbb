"""A night our way: the bot's own collection, begun by hand, with its defaults, into SQLite and a folder.

Categories that are no games are left out, as P2 leaves them out: they are not recognised, and with few games they
would make up much of the night.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from crawl_measuring import Crawled, Watch, report_crawl
from measuring import wait_for_the_word
from pydantic import SecretStr

from bot.app import open_directory, open_looking, open_nightly, open_storage
from bot.claims import new_holder
from bot.settings import CollectionSettings, DatabaseSettings, DataSettings, Settings, TwitchSettings
from core.storage.frame_store import FolderFrameStore
from demo.helix import CLIENT_ID, CLIENT_SECRET

if TYPE_CHECKING:
    from core.storage.records import StoredFrame

_START_S = 2.0
"""A bot that has just started still reads Streamlink's list of sites; that belongs to its start, not to a night."""


class UniqueFrames(FolderFrameStore):
    """Makes every file unlike all others, as those of real channels are; ours share a handful of clips."""

    async def put(self, data: bytes) -> StoredFrame:
        """Keep it with some noise behind the picture's end."""
        return await super().put(data + os.urandom(8))


def main(
    *,
    base_url: Annotated[str, typer.Option()],
    games: Annotated[int, typer.Option(help="That are sampled.")],
    recognize: Annotated[bool, typer.Option(help="Look at what is collected, as by default.")] = True,
) -> None:
    """Crawl."""
    with tempfile.TemporaryDirectory() as name:
        collection = CollectionSettings(games=games, recognize=recognize, left_out=CollectionSettings().not_games)
        settings = night_settings(base_url, Path(name), collection)
        report_crawl(asyncio.run(crawl(settings)))


def night_settings(base_url: str, directory: Path, collection: CollectionSettings, *, database: str = "") -> Settings:
    """All settings.

    Args:
        base_url: of the pocket Twitch.
        directory: for the data.
        collection: what to collect, and where.
        database: its address; SQLite when there is none.
    """
    return Settings(
        twitch=TwitchSettings(
            client_id=CLIENT_ID,
            client_secret=SecretStr(CLIENT_SECRET),
            gql_url=base_url,
            usher_url=base_url,
            helix_url=base_url,
            id_url=base_url,
        ),
        data=DataSettings(directory=directory),
        database=DatabaseSettings(url=database),
        collection=collection,
    )


async def crawl(settings: Settings, *workers: int) -> Crawled:
    """Wait for the word, and collect.

    Args:
        settings: all of them.
        workers: numbers of the processes that also do it.
    """
    async with (
        open_storage(settings) as opened,
        open_directory(settings) as directory,
        open_looking(settings, many_looks=True) as looking,
    ):
        storage = replace(opened, frames=UniqueFrames(settings.frames_directory))
        async with open_nightly(settings, storage, looking, directory, holder=new_holder()) as nightly:
            await asyncio.sleep(_START_S)
            wait_for_the_word()
            with Watch(os.getpid(), *workers) as watch:
                summary = await nightly.by_hand(stop=asyncio.Event())
                crawled = watch.stop(streams=summary.streams, frames=summary.frames, failures=summary.failures)
        if summary.left or summary.problem:
            raise SystemExit(f"the night ended early: {summary.ended} {summary.problem}")
        kept = await storage.captures.summary()
        return replace(crawled, kept_bytes=kept.size_bytes)


if __name__ == "__main__":
    typer.run(main)
