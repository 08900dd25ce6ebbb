"""Every exception that GameSpotter raises itself, as one tree.

::

    GameSpotterError
    ├── BadReference            what a person typed names no channel
    ├── StreamProblem           a channel was asked for and no usable picture came
    │   ├── StreamOffline       the channel exists and is not live
    │   ├── ChannelNotFound     there is no such channel
    │   ├── AdvertsOnly         everything in the live window was an advert
    │   ├── StreamRestricted    subscribers only, geo-blocked, or otherwise closed to us
    │   ├── StreamUnreachable   the platform refused, failed or answered with something unusable
    │   │   └── StreamBlack     it answered well, and every picture was black
    │   └── StreamTooSlow       nothing usable came before the deadline
    ├── ArtifactError           a model directory that must not be used
    ├── StorageError            the database or the frame store cannot be used
    │   ├── SchemaOutdated      the database waits for `db migrate`
    │   └── StorageFull         there is no room left for frames
    ├── DirectoryProblem        the platform's directory gave no usable answer
    │   └── DirectoryRefused    it does not accept our credentials
    ├── ChatProblem             a chat platform cannot be used
    │   └── ChatRefused         it does not accept our credentials, or what we want to hear
    ├── WebError                HTTP cannot be served, or the running bot not be asked over it
    ├── SettingsError           bot.toml or the environment holds a mistake
    ├── DataSetError            a data set that cannot be trained or tested on
    └── TrainingError           training itself could not go on

Exceptions of libraries stop at the file that calls the library and go on as one of these. ``str(error)`` of a
``StreamProblem`` is for the log; what a person reads is written in ``bot/commands/wording.py``.
"""

from __future__ import annotations

from enum import StrEnum


class GameSpotterError(Exception):
    """The root of the tree; catching it catches all that we raise on purpose."""


class ReferenceFault(StrEnum):
    """Why a text is no channel reference."""

    EMPTY = "empty"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    OTHER_SITE = "other_site"
    NOT_A_CHANNEL = "not_a_channel"
    BAD_CHARACTER = "bad_character"


class BadReference(GameSpotterError):
    """What a person typed names no channel; nothing was sent anywhere."""

    def __init__(self, fault: ReferenceFault, text: str) -> None:
        super().__init__(f"{fault.value}: {text!r:.80}")
        self.fault = fault
        self.text = text


class StreamProblem(GameSpotterError):
    """A channel was asked for and no usable picture came; the subclass says why."""

    def __init__(self, channel: str, detail: str = "") -> None:
        super().__init__(f"{channel}: {detail}" if detail else channel)
        self.channel = channel
        self.detail = detail


class StreamOffline(StreamProblem):
    """The channel exists and is not live."""


class ChannelNotFound(StreamProblem):
    """There is no channel of this name."""


class AdvertsOnly(StreamProblem):
    """Every segment of the live window was an advert."""


class StreamRestricted(StreamProblem):
    """Subscribers only, geo-blocked, or otherwise closed to an anonymous viewer."""


class StreamUnreachable(StreamProblem):
    """The platform refused, failed or answered with something unusable."""


class StreamBlack(StreamUnreachable):
    """Pictures came, and none of them shows anything."""


class StreamTooSlow(StreamProblem):
    """Nothing usable came before the deadline."""


class ArtifactError(GameSpotterError):
    """A model directory that must not be used; the message is one sentence that says what is wrong."""


class StorageError(GameSpotterError):
    """The database or the frame store cannot be used; the message is one sentence, without any password."""


class SchemaOutdated(StorageError):
    """The database's schema is not the one that this version works with; the message says what to do."""


class StorageFull(StorageError):
    """There is no room left for frames; the message is one sentence."""


class DirectoryProblem(GameSpotterError):
    """The platform's directory gave no usable answer; the message is one sentence, without any secret."""


class DirectoryRefused(DirectoryProblem):
    """The platform's directory does not accept our credentials; asking again will not help."""


class ChatProblem(GameSpotterError):
    """A chat platform cannot be used just now; the message is one sentence, without any secret."""


class ChatRefused(ChatProblem):
    """A chat platform does not accept our credentials or what we want to hear; asking again will not help."""


class WebError(GameSpotterError):
    """HTTP cannot be served, or the running bot not be asked over it; the message is one sentence."""


class SettingsError(GameSpotterError):
    """The settings hold mistakes; ``problems`` has one sentence for each."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class DataSetError(GameSpotterError):
    """A data set that cannot be trained or tested on; the message is one sentence."""


class TrainingError(GameSpotterError):
    """Training itself could not go on; the message is one sentence."""
