"""One ask the way P2 (molokhovdmitry/TwitchCategory, 2021) does it, after its download_functions.py and recognize.py.

Streamlink's ``best``; every address in the playlist but the first and last two; each segment whole, one after
another, into a temporary file; ``cv2.VideoCapture`` for its first picture; resize to 240 × 240; a JPEG file; Keras on
each picture in turn. Left as it is, except: what stands outside the ask (imports, building the network, Streamlink's
own start, one run of the network on a black picture) is done before the clock starts; the category names are not
looked up; the network is untrained, as its weights have no part in its speed.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import cv2
import keras
import numpy as np
import numpy.typing as npt
import requests
import typer
from measuring import ask_and_report
from requests.adapters import HTTPAdapter
from streamlink.session.session import Streamlink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Floats: TypeAlias = npt.NDArray[np.float32]

_SIDE_PX = 240
_GAMES = 36


class Detour(HTTPAdapter):
    """Leads Twitch's addresses to the benchmark's server."""

    def __init__(self, base_url: str) -> None:
        super().__init__()
        self._base_url = base_url

    def send(self, request: requests.PreparedRequest, *args: object, **kwargs: object) -> requests.Response:
        """Send to the other origin."""
        request.url = re.sub(r"^https://[^/]+", self._base_url, request.url or "")
        return super().send(request, *args, **kwargs)  # type: ignore[arg-type]


def main(
    login: str,
    *,
    base_url: Annotated[str, typer.Option()],
    network: Annotated[str, typer.Option(help="p2 or mobilenetv2")],
    call: Annotated[str, typer.Option(help="model(x), as P2 has it, or model.predict(x)")] = "model",
) -> None:
    """Ask once."""
    session = Streamlink({"webbrowser": False})
    for origin in ("https://gql.twitch.tv/", "https://usher.ttvnw.net/"):
        session.http.mount(origin, Detour(base_url))
    session.resolve_url(f"https://www.twitch.tv/{login}")
    model = _p2_network() if network == "p2" else _mobilenetv2()

    def logits(picture: Floats) -> Floats:
        if call == "predict":
            return np.asarray(model.predict(picture, verbose=0), np.float32)
        return np.asarray(model(picture), np.float32)

    logits(np.zeros((1, _SIDE_PX, _SIDE_PX, 3), np.float32))
    with tempfile.TemporaryDirectory() as directory:
        ask_and_report(lambda: _ask(session, login, logits, Path(directory)))


def _ask(session: Streamlink, login: str, logits: Callable[[Floats], Floats], directory: Path) -> tuple[int, str]:
    pictures = list(_download_frames(session, login, directory))
    scores = []
    for path in pictures:
        picture = keras.utils.img_to_array(keras.utils.load_img(path, target_size=(_SIDE_PX, _SIDE_PX)))
        scores.append(logits(np.expand_dims(picture, 0)))
    total = np.add.reduce(scores)[0]
    return len(pictures), f"game {np.argmax(total)} with a score of {np.max(total) / len(pictures):.1f}"


def _download_frames(session: Streamlink, login: str, directory: Path) -> Iterator[Path]:
    best = session.streams(f"https://www.twitch.tv/{login}")["best"].url
    playlist = requests.get(best, timeout=60).text
    if playlist.lower().count("twitch-ad") > 1:
        raise SystemExit("P2 gives up at adverts")
    links = re.findall(r"(https?://\S+)", playlist)[2:-2]
    for number, link in enumerate(links, start=1):
        segment = requests.get(link, timeout=60).content
        path = directory / f"segment{number}.ts"
        path.write_bytes(segment)
        video = cv2.VideoCapture(str(path))
        if video.get(cv2.CAP_PROP_FRAME_HEIGHT) == 0:
            raise SystemExit("a segment is no video")
        picture = video.read()[1]
        video.release()
        path.unlink()
        small = cv2.resize(picture, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA)
        saved = directory / f"{number}.jpg"
        cv2.imwrite(str(saved), small)
        yield saved


def _p2_network() -> keras.Model:
    """P2's own: model.py, with the image size of its config.py."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((_SIDE_PX, _SIDE_PX, 3)),
            layers.Rescaling(1.0 / 255),
            layers.Conv2D(128, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(256, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(_GAMES),
        ]
    )


def _mobilenetv2() -> keras.Model:
    """The architecture of our own starter model, so that the ways differ and the network does not."""
    frames = keras.Input((_SIDE_PX, _SIDE_PX, 3))
    backbone = keras.applications.MobileNetV2(
        include_top=False, input_shape=(_SIDE_PX, _SIDE_PX, 3), weights=None, pooling="avg"
    )
    scaled = keras.layers.Rescaling(1.0 / 127.5, offset=-1.0)(frames)
    return keras.Model(frames, keras.layers.Dense(_GAMES)(backbone(scaled, training=False)))


if __name__ == "__main__":
    typer.run(main)
