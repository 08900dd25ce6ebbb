"""A night the way P2 (molokhovdmitry/TwitchCategory, 2021) does it, after its download.py, api.py and db_functions.py.

Round after round: the 25 top games, and for each that is not on its list the streams, of which more than 90 must be
live, while it knows fewer than 40 games; the game with the fewest frames; its streams; five of them at random, one
after another, in at most ten attempts. Of each stream Streamlink's ``best``; every address in the playlist but the
first and last two; each segment whole, one after another, into a temporary file; ``cv2.VideoCapture`` for its first
picture; 240 × 240 pixels; a JPEG file; and a row for each, committed.

Left as it is, except: what stands outside the night (imports, the token, Streamlink's own start) is done before the
clock starts; the rows are in SQLite, as ours; it ends when enough streams were tried and not when somebody presses
Enter; and what it prints every 300 s is left out.
"""

from __future__ import annotations

import contextlib
import random
import re
import tempfile
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import cv2
import requests
import typer
from crawl_measuring import Watch, report_crawl
from measuring import wait_for_the_word
from sqlalchemy import BigInteger, ForeignKey, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker
from streamlink.session.session import Streamlink

from bot.twitch_addresses import detours
from demo.helix import CLIENT_ID, CLIENT_SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIDE_PX = 240
_MOST_GAMES = 40
_TOP_GAMES = 25
_MORE_THAN_LIVE = 90
_STREAMS, _ATTEMPTS = 5, 10

_NO_GAMES = {
    *("509658", "26936", "509660", "518203", "417752", "509670", "66082"),
    *("5899", "743", "369418", "27284", "509659", "488190", "498566"),
}


class Table(DeclarativeBase):
    """P2's two tables."""


class Game(Table):
    """A category."""

    __tablename__ = "games"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    name: Mapped[str]
    frames: Mapped[int]


class Frame(Table):
    """A picture's file."""

    __tablename__ = "frames"
    id: Mapped[int] = mapped_column(primary_key=True)
    path: Mapped[str]
    game_id: Mapped[int] = mapped_column(ForeignKey(Game.id))
    user_login: Mapped[str]
    date: Mapped[datetime] = mapped_column(default=lambda: datetime.now(UTC))


class Api:
    """What P2 asks the directory, over one session."""

    def __init__(self, base_url: str) -> None:
        self._helix = f"{base_url}/helix/"
        self._session = requests.session()
        form = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "grant_type": "client_credentials"}
        token = requests.post(f"{base_url}/oauth2/token", data=form, timeout=60).json()["access_token"]
        self._headers = {"Authorization": f"Bearer {token}", "Client-Id": CLIENT_ID}

    def top_games(self) -> dict[int, str]:
        """Those that are played by enough; the lists of streams are fetched to be counted."""
        rows = self._rows("games/top", first=_TOP_GAMES)
        return {
            int(row["id"]): row["name"]
            for row in rows
            if row["id"] not in _NO_GAMES and len(self.streams(int(row["id"]))) > _MORE_THAN_LIVE
        }

    def streams(self, game_id: int) -> set[str]:
        """Logins, a hundred at most."""
        return {row["user_login"] for row in self._rows("streams", game_id=game_id, first=100)}

    def _rows(self, path: str, **query: int) -> list[dict[str, Any]]:
        response = self._session.get(self._helix + path, params=query, headers=self._headers, timeout=60)
        response.raise_for_status()
        rows: list[dict[str, Any]] = response.json()["data"]
        return rows


def main(
    *,
    base_url: Annotated[str, typer.Option()],
    streams: Annotated[int, typer.Option(help="That are tried.")],
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Crawl."""
    streamlink = Streamlink({"webbrowser": False})
    for origin, adapter in detours(gql_url=base_url, usher_url=base_url).items():
        streamlink.http.mount(origin, adapter)
    streamlink.resolve_url("https://www.twitch.tv/somebody")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "temp").mkdir()
        engine = create_engine(f"sqlite:///{directory / 'p2.db'}")
        Table.metadata.create_all(engine)
        api = Api(base_url)
        crawl = Crawl(api, streamlink, sessionmaker(engine), directory, random.Random(seed))
        wait_for_the_word()
        with Watch() as watch:
            crawl.run(streams)
            crawled = watch.stop(streams=crawl.downloaded, frames=crawl.frames, failures=crawl.failures)
        kept_bytes = sum(path.stat().st_size for path in directory.glob("frames/*/*.jpg"))
        report_crawl(replace(crawled, kept_bytes=kept_bytes))
        engine.dispose()


class Crawl:
    """One night."""

    def __init__(
        self, api: Api, streamlink: Streamlink, sessions: sessionmaker[Session], directory: Path, dice: random.Random
    ) -> None:
        self._api = api
        self._streamlink = streamlink
        self._sessions = sessions
        self._directory = directory
        self._dice = dice
        self.downloaded = self.frames = 0
        self.failures: Counter[str] = Counter()

    def run(self, streams: int) -> None:
        """Go round until so many streams were tried."""
        while self.downloaded + self.failures.total() < streams:
            with self._sessions.begin() as session:
                known = len(session.query(Game).all())
            if known < _MOST_GAMES:
                games = self._api.top_games()
                with self._sessions.begin() as session:
                    self._add_games(session, games)
            with self._sessions.begin() as session:
                game_id = session.query(Game.id, Game.frames).order_by(Game.frames).first()[0]
            self._round(game_id, streams)

    def _add_games(self, session: Session, games: dict[int, str]) -> None:
        count = len(session.query(Game).all())
        for game_id, name in games.items():
            if not session.query(Game).filter_by(id=game_id).all() and count < _MOST_GAMES:
                session.add(Game(id=game_id, name=name, frames=0))
                count += 1

    def _round(self, game_id: int, streams: int) -> None:
        logins = self._api.streams(game_id)
        good = attempts = 0
        while logins and good < _STREAMS and attempts < _ATTEMPTS:
            if self.downloaded + self.failures.total() >= streams:
                return
            login = self._dice.choice(sorted(logins))
            logins.discard(login)
            got = False
            for path in self._download_frames(login, game_id):
                with self._sessions.begin() as session:
                    session.add(Frame(path=path, game_id=game_id, user_login=login))
                    session.query(Game).filter_by(id=game_id).one().frames += 1
                got = True
                self.frames += 1
            good += got
            attempts += 1
            self.downloaded += got

    def _download_frames(self, login: str, game_id: int) -> Iterator[str]:
        directory = self._directory / "frames" / str(game_id)
        directory.mkdir(parents=True, exist_ok=True)
        try:
            renditions = self._streamlink.streams(f"https://www.twitch.tv/{login}")
        except Exception:  # noqa: BLE001 - as P2 has it
            self.failures["streamlink"] += 1
            return
        if not renditions:
            self.failures["offline"] += 1
            return
        playlist = requests.get(renditions["best"].url, timeout=60).text
        if playlist.lower().count("twitch-ad") > 1:
            self.failures["adverts"] += 1
            return
        number = max((int(path.stem) for path in directory.iterdir()), default=0) + 1
        before = number
        for place, link in enumerate(re.findall(r"(https?://\S+)", playlist)[2:-2], start=1):
            segment = self._directory / "temp" / f"segment{place}.ts"
            segment.write_bytes(requests.get(link, timeout=60).content)
            with contextlib.closing(_Video(segment)) as video:
                picture = video.first_picture()
            segment.unlink()
            if picture is None:
                continue
            path = directory / f"{number}.jpg"
            cv2.imwrite(str(path), cv2.resize(picture, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA))
            number += 1
            yield str(path.relative_to(self._directory / "frames"))
        if number == before:
            self.failures["no picture"] += 1


class _Video:
    """A segment, opened by OpenCV."""

    def __init__(self, path: Path) -> None:
        self._video = cv2.VideoCapture(str(path))

    def first_picture(self) -> cv2.typing.MatLike | None:
        """None when it is no video."""
        if self._video.get(cv2.CAP_PROP_FRAME_HEIGHT) == 0:
            return None
        good, picture = self._video.read()
        return picture if good else None

    def close(self) -> None:
        self._video.release()


if __name__ == "__main__":
    typer.run(main)
