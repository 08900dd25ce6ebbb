"""A night our way: the bot's own collection, begun by hand, with its defaults, into SQLite and a folder.

Categories that are no games are left out, as P2 leaves them out: they are not recognised, and with few games they
would make up much of the night.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from crawl_measuring import Crawled, Watch, report_crawl
from measuring import wait_for_the_word
from pydantic import SecretStr

from bot.app import open_looking, open_nightly, open_storage
from bot.claims import new_holder
from bot.settings import CollectionSettings, DataSettings, Settings, TwitchSettings
from core.storage.frame_store import FolderFrameStore
from demo.helix import CLIENT_ID, CLIENT_SECRET

if TYPE_CHECKING:
    from core.storage.records import StoredFrame

_START_S = 2.0
"""A bot that has just started still reads Streamlink's list of sites; that belongs to its start, not to a night."""


class UniqueFrames(FolderFrameStore):
    """Makes every file unlike all others, as those of real channels are; ours share a handful of clips."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._numbers = itertools.count()

    async def put(self, data: bytes) -> StoredFrame:
        """Keep it with a number behind the picture's end."""
        return await super().put(data + next(self._numbers).to_bytes(4))


def main(
    *,
    base_url: Annotated[str, typer.Option()],
    games: Annotated[int, typer.Option(help="That are sampled.")],
    recognize: Annotated[bool, typer.Option(help="Look at what is collected, as by default.")] = True,
) -> None:
    """Crawl."""
    with tempfile.TemporaryDirectory() as directory:
        settings = Settings(
            twitch=TwitchSettings(
                client_id=CLIENT_ID,
                client_secret=SecretStr(CLIENT_SECRET),
                gql_url=base_url,
                usher_url=base_url,
                helix_url=base_url,
                id_url=base_url,
            ),
            data=DataSettings(directory=Path(directory)),
            collection=CollectionSettings(games=games, recognize=recognize, left_out=CollectionSettings().not_games),
        )
        report_crawl(asyncio.run(_crawl(settings)))


async def _crawl(settings: Settings) -> Crawled:
    async with open_storage(settings) as opened, open_looking(settings, many_looks=True) as looking:
        storage = replace(opened, frames=UniqueFrames(settings.frames_directory))
        async with open_nightly(settings, storage, looking, holder=new_holder()) as nightly:
            await asyncio.sleep(_START_S)
            wait_for_the_word()
            with Watch() as watch:
                summary = await nightly.by_hand(stop=asyncio.Event())
                crawled = watch.stop(streams=summary.streams, frames=summary.frames, failures=summary.failures)
        if summary.left or summary.problem:
            raise SystemExit(f"the night ended early: {summary.ended} {summary.problem}")
        kept = await storage.captures.summary()
        return replace(crawled, kept_bytes=kept.size_bytes)


if __name__ == "__main__":
    typer.run(main)
