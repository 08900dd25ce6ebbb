"""What goes into the store and comes out of it, as frozen values. All times are timezone-aware, UTC."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from core.collection.directory import Category, LiveStream
    from core.games import Game
    from core.recognition.verdict import Verdict

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
"""What a JSON column holds."""


class CaptureKind(StrEnum):
    """Why a stream was sampled."""

    ASKED = "asked"
    NIGHTLY = "nightly"
    IMPORTED = "imported"
    """It was not: the keeper brought the frames from folders. Retention leaves them alone."""


class LabelSource(StrEnum):
    """Who says what a capture shows, the weakest first."""

    DECLARED = "declared"
    IMPORT = "import"
    FLAG = "flag"
    KEEPER = "keeper"


class FlagState(StrEnum):
    """What became of a moderator's word that a recognition is wrong."""

    OPEN = "open"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


class FlagReason(StrEnum):
    """Why a flag is in its state."""

    WAITING = "waiting"
    """Open: others have yet to agree."""
    DISPUTED = "disputed"
    """Open: somebody else names another game."""
    TRUSTED = "trusted"
    """Accepted: a moderator of that very channel says so."""
    AGREED = "agreed"
    """Accepted: enough moderators say the same."""
    WITHDRAWN = "withdrawn"
    """Withdrawn by who had raised it."""
    REVOKED = "revoked"
    """Withdrawn by somebody else."""
    KEEPER = "keeper"
    """The keeper of the data set decided."""


class RunState(StrEnum):
    """How far a due run of a job is."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, kw_only=True, slots=True)
class Broadcaster:
    """Who streams.

    Attributes:
        login: lower-case name in the channel's address; it can change hands.
        platform_id: stays when the login changes; None when only the login is known.
        display_name: as its owner spells it; None when it is not known.
    """

    login: str
    platform_id: str | None = None
    display_name: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class BroadcastStream:
    """One broadcast, from going live to going offline.

    Attributes:
        platform_id: of this broadcast.
        started_at: None when it is not known.
        title: as last seen.
        language: ISO 639-1, or ``other``; empty when unknown.
    """

    platform_id: str
    started_at: datetime | None = None
    title: str = ""
    language: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptFrame:
    """A frame whose file lies in the frame store.

    Attributes:
        sha256: of the file, 64 hexadecimal digits; its name in the frame store.
        size_bytes: of the file.
        perceptual_hash: 64 bits, unsigned; see :func:`core.frames.perceptual_hash`.
        at_s: seconds from the start of the sampled window to this frame.
    """

    sha256: str
    size_bytes: int
    perceptual_hash: int
    at_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredFrame:
    """A file of the frame store."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RejectedFrames:
    """What a window also held, by the reason for which it was not kept."""

    adverts: int = 0
    black: int = 0
    duplicates: int = 0
    failed: int = 0
    waiting: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class NewRecognition:
    """What a model said of a capture."""

    at: datetime
    verdict: Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class NewCapture:
    """A sample of a stream, to be kept; its frames are in the frame store already.

    Attributes:
        kind: why it was taken.
        key: names this capture whoever adds it, so that a second try adds nothing: the pick's for a nightly one, a
            UUID for an asked one.
        broadcaster: whose stream.
        stream: which broadcast; None when it is not known.
        declared: category that the broadcaster declares; None when there is none or it is not known.
        is_game: whether ``declared`` is a game; None leaves what is known of the category.
        at: when it was taken.
        rendition: as the playlist names it.
        window_s: seconds of the live window that the frames are spread over.
        rejected: what was not kept.
        bytes_fetched: to take it.
        frames: in the order of the stream; may be empty.
        recognition: of a model, if one looked.
        job_run_id: of the run that took it.
        pick_id: that it fulfils; adding the capture marks it captured.
        label: what it shows, as the folder of an imported one says.
    """

    kind: CaptureKind
    key: str
    broadcaster: Broadcaster
    stream: BroadcastStream | None = None
    declared: Category | None = None
    is_game: bool | None = None
    at: datetime
    rendition: str
    window_s: float
    rejected: RejectedFrames = RejectedFrames()
    bytes_fetched: int = 0
    frames: tuple[KeptFrame, ...]
    recognition: NewRecognition | None = None
    job_run_id: int | None = None
    pick_id: int | None = None
    label: Game | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class GameCount:
    """What is kept of a game: of the captures whose label it is, frames whose pixels are there.

    Attributes:
        game: its id is ours; see ``category_id`` for the platform's.
        category_id: the platform's; None for a game that only a model names.
        is_game: False for a category that is none; None when nobody said.
        frames: with pixels.
        streams: broadcasts that they are of.
        broadcasters: whose streams they are of.
        size_bytes: of their files.
    """

    game: Game
    category_id: str | None
    is_game: bool | None
    frames: int
    streams: int
    broadcasters: int
    size_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSetSummary:
    """The whole data set; frames, streams, broadcasters and bytes count what has its pixels.

    Attributes:
        games: all, in the alphabetical order of their names, those without frames too.
        captures: all that were ever kept, whether or not their pixels are still there.
        frames: of all captures, labelled or not.
        nightly_frames: of these, of nightly captures.
        asked_frames: of these, of captures that somebody asked for.
        imported_frames: of these, from folders.
        streams: broadcasts.
        broadcasters: who has frames here.
        size_bytes: of the files; one that two captures share counts once.
        oldest_at: time of the oldest capture with pixels.
        newest_at: and of the newest.
    """

    games: tuple[GameCount, ...]
    captures: int
    frames: int
    nightly_frames: int
    asked_frames: int
    imported_frames: int
    streams: int
    broadcasters: int
    size_bytes: int
    oldest_at: datetime | None
    newest_at: datetime | None

    @property
    def smallest(self) -> GameCount | None:
        """The game with the fewest frames of those that have any."""
        return min((count for count in self.games if count.frames), key=lambda count: count.frames, default=None)

    @property
    def largest(self) -> GameCount | None:
        """The game with the most frames."""
        return max((count for count in self.games if count.frames), key=lambda count: count.frames, default=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class OptOuts:
    """Who must never be sampled.

    Attributes:
        platform_ids: of those who are known by id.
        logins: of those who are known by login alone.
        other_logins: of those who are in ``platform_ids``: these count only for a broadcaster whose id is not known,
            because a login can change hands.
    """

    platform_ids: frozenset[str] = frozenset()
    logins: frozenset[str] = frozenset()
    other_logins: frozenset[str] = frozenset()

    def covers(self, *, login: str, platform_id: str | None) -> bool:
        """Whether this broadcaster has opted out."""
        login = login.casefold()
        if login in self.logins:
            return True
        return login in self.other_logins if platform_id is None else platform_id in self.platform_ids


@dataclass(frozen=True, kw_only=True, slots=True)
class JobRun:
    """A due run of a job that this process has claimed.

    Attributes:
        id: of the row.
        job: its name.
        due_at: when it was due.
        attempt: 1 at first; each taking over adds 1, and what an earlier attempt still says is not heard.
        resumed: whether somebody began it before.
    """

    id: int
    job: str
    due_at: datetime
    attempt: int
    resumed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class JobRunRecord:
    """A due run of a job, as the keeper sees it.

    Attributes:
        holder: who has or had it.
        lease_until: while ``state`` is RUNNING, others leave it alone until then.
        finished_at: None while it runs.
        result: what :meth:`NightStore.finish` was given.
    """

    id: int
    job: str
    due_at: datetime
    state: RunState
    holder: str
    attempt: int
    started_at: datetime
    lease_until: datetime
    finished_at: datetime | None
    result: Json


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedPick:
    """A stream that a night is to sample.

    Attributes:
        position: in the order of sampling, from 0.
        category: that it is sampled for; the picks of one category are a group.
        is_game: whether that category is a game.
        stream: as the directory listed it.
        spare: sampled only when another pick of the same group came to nothing.
    """

    position: int
    category: Category
    is_game: bool
    stream: LiveStream
    spare: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Pick:
    """A planned pick, kept.

    Attributes:
        outcome: None while it is pending; else ``captured``, ``nothing_new``, ``opted_out``, or the kind of failure.
    """

    id: int
    run_id: int
    planned: PlannedPick
    outcome: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PickCounts:
    """How far a night is.

    Attributes:
        pending: picks without an outcome, spares included.
        outcomes: picks by outcome.
        captures: that the run has added, those of earlier attempts included.
        frames: that these have kept.
        bytes_fetched: to take them.
    """

    pending: int
    outcomes: Mapping[str, int]
    captures: int
    frames: int
    bytes_fetched: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Removed:
    """What retention, the size cap or a broadcaster's opting out removed.

    Attributes:
        frames: rows that lost their pixels, or went altogether.
        files: of the frame store.
        size_bytes: of these files.
    """

    frames: int = 0
    files: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class SyncReport:
    """What was brought together, or would be in a dry run.

    Attributes:
        games: deleted, as nothing is left that refers to them.
        frames: rows deleted, as their file is gone.
        captures: deleted, as they lost their last frame so.
        files: deleted, as no row names them.
        size_bytes: of these files.
        unfinished: leftovers of interrupted writing, deleted.
    """

    games: int = 0
    frames: int = 0
    captures: int = 0
    files: int = 0
    size_bytes: int = 0
    unfinished: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Forgotten:
    """What was kept of a broadcaster and is gone.

    Attributes:
        known: whether anything was kept of them; the opting out is written down in any case.
        captures: rows.
        frames: rows.
        files: of the frame store.
        size_bytes: of these files.
    """

    known: bool
    captures: int
    frames: int
    files: int
    size_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LookRecord:
    """A capture that can be flagged, and what was recognised in it.

    Attributes:
        capture_id: of the row.
        key: of the capture; names the look to the outside.
        kind: why it was taken.
        channel: login of the broadcaster, or the name by which they were known last.
        at: when it was taken.
        recognised: what the latest model said; None when that was that the game is unknown, or no model has looked.
        model: that said so; None when none has looked.
        frames: whose pixels are there.
    """

    capture_id: int
    key: str
    kind: CaptureKind
    channel: str
    at: datetime
    recognised: Game | None
    model: str | None
    frames: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Moderator:
    """Who may flag, as the platform vouches for them.

    Attributes:
        platform: ``twitch``, ``discord``, ``console``.
        id: the platform's, which stays when the name changes.
        name: as other people there see it.
        moderates_channel: whether they look after the very channel that a flag is about.
    """

    platform: str
    id: str
    name: str
    moderates_channel: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class AcceptRule:
    """When a flag is accepted, provided that nobody names another game.

    Attributes:
        needed: moderators of anywhere who must say the same.
        trust_channel_moderators: one moderator of that very channel is enough.
    """

    needed: int = 2
    trust_channel_moderators: bool = True

    def __post_init__(self) -> None:
        """Refuse a rule that accepts what nobody said."""
        if self.needed < 1:
            msg = f"{self.needed} moderators cannot be needed"
            raise ValueError(msg)


@dataclass(frozen=True, kw_only=True, slots=True)
class FlagRecord:
    """A moderator's word on what a capture shows.

    Attributes:
        id: its number, which people type; never given to another.
        look: key of the capture.
        channel: login of the broadcaster, or the name by which they were known last.
        recognised: what the model said at that time; None when that was that the game is unknown.
        model: that said so; None when none had looked.
        game: what is right.
        state: what became of it.
        reason: why it is in that state.
        by: who says so.
        place: the platform's id of where they said it.
        server: the platform's id of what the place is part of; empty where there is no such thing.
        at: when they said it.
        state_at: when it came into its state.
        used_by: first model that was trained with it; None until then.
    """

    id: int
    look: str
    channel: str
    recognised: Game | None
    model: str | None
    game: Game
    state: FlagState
    reason: FlagReason
    by: Moderator
    place: str
    server: str
    at: datetime
    state_at: datetime
    used_by: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class FlagOutcome:
    """What came of flagging.

    Attributes:
        flag: as it stands now.
        was: the game that the same moderator had named before; None at their first word.
        agreeing: standing flags of this capture that name the same game, this one included.
        disagreeing: standing flags of it that name another.
        needed: that must agree where no moderator of the channel is among them.
    """

    flag: FlagRecord
    was: Game | None
    agreeing: int
    disagreeing: int
    needed: int

    @property
    def now(self) -> FlagState:
        """What became of the flag."""
        return self.flag.state


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What a channel showed at one moment.

    Attributes:
        game: what people agreed on, else what the model said; ``UNKNOWN`` when it did not know.
        at: when it was looked at.
        confidence: of the model; None where people said it.
    """

    game: Game
    at: datetime
    confidence: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Sighting:
    """What a channel showed over one or more looks in a row.

    Attributes:
        game: what people agreed on, else what the model said; never ``UNKNOWN``.
        first_at: of the first look.
        last_at: of the last look, which is the first where there was but one.
        confidence: the highest of the model's; None where people said it.
        looks: how many.
    """

    game: Game
    first_at: datetime
    last_at: datetime
    confidence: float | None
    looks: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Watch:
    """A channel that is looked at every few minutes, and where to say what is noticed.

    Attributes:
        login: of the channel.
        platform: of the place.
        place_id: the platform's id of the place.
        server_id: the platform's id of what the place is part of; empty where there is no such thing.
        place_name: as people there see it.
        by: who wanted it.
        at: when.
    """

    login: str
    platform: str
    place_id: str
    server_id: str = ""
    place_name: str = ""
    by: str
    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Mismatch:
    """Two games: the one that is seen, and the one that is declared; any text that stays the same."""

    seen: str
    declared: str


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchState:
    """What a watch remembers from look to look.

    Attributes:
        differing: looks in a row at which seen and declared differed.
        mismatch: how they differed at the last of these.
        alerted: how they differed when it was said last; None since they have been the same again, or never.
        looked_at: when the channel was last looked at.
    """

    differing: int = 0
    mismatch: Mismatch | None = None
    alerted: Mismatch | None = None
    looked_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DueWatch:
    """A watch that this process has claimed.

    Attributes:
        id: of the row.
        watch: what to do.
        state: what the last look left.
        attempt: of claiming it; what an earlier one still says is not heard.
    """

    id: int
    watch: Watch
    state: WatchState
    attempt: int


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredToken:
    """A token of a user, encrypted by whoever put it here.

    Attributes:
        platform: that gave it.
        user_id: whose, as the platform numbers them.
        secret: opaque bytes.
        scopes: what it allows.
        at: when it was given or refreshed.
    """

    platform: str
    user_id: str
    secret: bytes = field(repr=False)
    scopes: tuple[str, ...] = ()
    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditEntry:
    """Who did what, when and where.

    Attributes:
        at: when.
        platform: on which.
        place: the platform's id of where.
        by: the platform's id of who.
        by_name: as other people there saw it.
        action: what: ``flag``, ``withdraw``, ``watch``.
        subject: to what: the login of a channel.
        detail: what else is to be known.
    """

    at: datetime
    platform: str
    place: str
    by: str
    by_name: str = ""
    action: str
    subject: str
    detail: Json = None


@dataclass(frozen=True, kw_only=True, slots=True)
class NewModelAnswer:
    """What a model said of a look, as it is measured.

    Attributes:
        look: its key, which is that of the capture where it is kept.
        model: version.
        beside: version that answered, where this one said it silently; None where this one answered.
        at: when.
        game: the answer; ``UNKNOWN`` perhaps, and None where the model failed.
        confidence: of the likeliest game, 0 to 1.
        frames: how many there were.
        network_ms: how long the network ran.
    """

    look: str
    model: str
    beside: str | None = None
    at: datetime
    game: Game | None
    confidence: float
    frames: int
    network_ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelAnswer:
    """What a model said of a look, and what people say of it.

    Attributes:
        look: its key.
        game: name of the answer, folded; empty for the unknown, None where the model failed.
        confidence: of the likeliest game, 0 to 1.
        frame_ms: how long the network ran for a frame.
        is_right: by the moderators' latest word on the look; None where there is none.
    """

    look: str
    game: str | None
    confidence: float
    frame_ms: float
    is_right: bool | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Replica:
    """A process that shares the chats with others.

    Attributes:
        id: names it, and another one after each start.
        is_leaving: whether it is about to end; the others are to take over what it serves.
        serves: what it hears at present, as all replicas name it.
        numbers: what it goes by where all must go by the same, as the number of shards.
    """

    id: str
    is_leaving: bool = False
    serves: frozenset[str] = frozenset()
    numbers: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Migration:
    """From which revision to which a database was brought; ``before`` is None for an empty one."""

    before: str | None
    after: str
