"""What is counted and timed, for Prometheus: every figure has its name and its meaning here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bot.commands.answer import Answer
    from core.streams.sampler import Sample

_STEP_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)
_CONFIDENCE_BUCKETS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)
_TRIAL = ("model", "role", "outcome")
_JOB_BUCKETS_S = (0.1, 1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 10_800.0)


class Figures:
    """All figures of one bot, in a registry of their own."""

    def __init__(self) -> None:
        """Begin at 0."""
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)

        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(f"gamespotter_{name}", meaning, labels, registry=registry)

        def histogram(name: str, meaning: str, *labels: str, buckets: tuple[float, ...] = _STEP_BUCKETS_S) -> Histogram:
            return Histogram(f"gamespotter_{name}", meaning, labels, buckets=buckets, registry=registry)

        def gauge(name: str, meaning: str, *labels: str) -> Gauge:
            return Gauge(f"gamespotter_{name}", meaning, labels, registry=registry)

        self._asks = counter("asks", "Commands, by where, which and how they ended.", "platform", "command", "outcome")
        self._ask_seconds = histogram("ask_seconds", "From a command to its reply.", "platform", "command")
        self._under_way = gauge("asks_under_way", "Commands that have no reply yet.")
        self._looks = counter("looks", "Looks at streams, by how they ended.", "outcome")
        self._step_seconds = histogram("look_step_seconds", "What each step of a look took.", "step")
        self._bytes = counter("fetched_bytes", "Read of playlists and segments.")
        self._frames = counter("frames", "Segments of live windows, by what became of them.", "outcome")
        self._waiting = gauge("looks_waiting", "Looks that wait for a free hand.")
        self._recording = gauge("looks_unstored", "Looks that wait to be stored.")
        self._connected = gauge("chat_connected", "1 while a chat is connected.", "chat")
        self._subscriptions = gauge("twitch_subscriptions", "Channels whose chat is read, or should be.", "state")
        self._messages = gauge("twitch_messages", "Messages to Twitch's chat since the start, by outcome.", "outcome")
        self._replicas = gauge("replicas", "Processes that share the chats, this one among them; 0 where none may.")
        self._jobs = counter("job_runs", "Runs of what is due by the clock, by how they ended.", "job", "outcome")
        self._job_seconds = histogram("job_seconds", "What a run took.", "job", buckets=_JOB_BUCKETS_S)
        self._job_done = gauge("job_last_done_timestamp_seconds", "When a job last ended well.", "job")
        self._model = Info("gamespotter_model", "The model that answers.", registry=registry)
        self._reloads = counter("model_reloads", "Models that were to be taken over, by outcome.", "outcome")
        self._trials = counter("model_looks", "Looks that models are measured by, by how it ended.", *_TRIAL)
        self._frame_seconds = histogram("model_frame_seconds", "What a frame takes a model's network.", "model", "role")
        self._confidence = histogram(
            "model_confidence", "How sure a model is of a look.", "model", "role", buckets=_CONFIDENCE_BUCKETS
        )
        self._flagged = gauge("model_flagged_ratio", "Share of a model's answers that people call wrong.", "model")
        self._agreement = gauge(
            "model_agreement_ratio", "Share of looks at which a challenger agrees or is put right.", "model", "champion"
        )
        self._requests = counter("http_requests", "Requests over HTTP, by address and status.", "path", "status")
        self._request_seconds = histogram("http_request_seconds", "From a request to its answer.", "path")

    # Asks and looks

    def began(self) -> None:
        """A command came in."""
        self._under_way.inc()

    def answered(self, platform: str, command: str, outcome: str, *, elapsed_s: float) -> None:
        """A command that had begun has its reply."""
        self._under_way.dec()
        platform = platform or "shell"
        self._asks.labels(platform, command, outcome).inc()
        self._ask_seconds.labels(platform, command).observe(elapsed_s)

    def looked(self, answer: Answer, sample: Sample) -> None:
        """A look at a stream succeeded."""
        self._looks.labels("answered").inc()
        for step, elapsed_ms in answer.elapsed_ms.items():
            self._step_seconds.labels(step).observe(elapsed_ms / 1e3)
        self._bytes.inc(sample.bytes_fetched)
        rejected = sample.rejected
        for outcome, number in (
            ("kept", len(sample.frames)),
            ("advert", rejected.adverts),
            ("black", rejected.black),
            ("duplicate", rejected.duplicates),
            ("failed", rejected.failed),
        ):
            self._frames.labels(outcome).inc(number)

    def look_failed(self, outcome: str) -> None:
        """A look at a stream came to nothing."""
        self._looks.labels(outcome).inc()

    def watch_queues(self, *, looks: Callable[[], int], unstored: Callable[[], int] | None = None) -> None:
        """Read the lengths of queues when they are asked for."""
        self._waiting.set_function(looks)
        if unstored is not None:
            self._recording.set_function(unstored)

    # Chats

    def watch_chat(self, chat: str, is_ready: Callable[[], bool]) -> None:
        """Read whether a chat is connected when it is asked for."""
        self._connected.labels(chat).set_function(is_ready)

    def watch_subscriptions(self, *, live: Callable[[], int], wanted: Callable[[], int]) -> None:
        """Read what Twitch's chat is subscribed to when it is asked for."""
        self._subscriptions.labels("live").set_function(live)
        self._subscriptions.labels("wanted").set_function(wanted)

    def watch_messages(self, outcome: str, number: Callable[[], int]) -> None:
        """Read a tally of Twitch's chat when it is asked for."""
        self._messages.labels(outcome).set_function(number)

    def watch_replicas(self, number: Callable[[], int]) -> None:
        """Read how many processes share the chats when it is asked for."""
        self._replicas.set_function(number)

    # Jobs and models

    def job_ended(self, job: str, outcome: str, *, elapsed_s: float, at_s: float) -> None:
        """A run of a job ended.

        Args:
            job: its name.
            outcome: ``done``, ``interrupted``, ``failed`` and the like.
            elapsed_s: that it took.
            at_s: seconds since 1970.
        """
        self._jobs.labels(job, outcome).inc()
        self._job_seconds.labels(job).observe(elapsed_s)
        if outcome == "done":
            self._job_done.labels(job).set(at_s)

    def model_answers(self, version: str) -> None:
        """This model answers from now on."""
        self._model.info({"version": version})

    def model_reload(self, outcome: str) -> None:
        """A model was to be taken over: ``taken``, ``refused``."""
        self._reloads.labels(outcome).inc()

    def model_looked(self, version: str, role: str, outcome: str, *, frame_s: float, confidence: float | None) -> None:
        """A model was shown a look that it is measured by.

        Args:
            version: which.
            role: ``champion`` or ``challenger``.
            outcome: ``answered``, or of a challenger ``agreed``, ``differed``, ``failed``.
            frame_s: how long the network ran for a frame.
            confidence: of its answer; None where it failed.
        """
        self._trials.labels(version, role, outcome).inc()
        self._frame_seconds.labels(version, role).observe(frame_s)
        if confidence is not None:
            self._confidence.labels(version, role).observe(confidence)

    def models_judged(
        self, flagged: Mapping[str, float], *, challenger: str | None, champion: str, agreement: float
    ) -> None:
        """The models that answer, and answered, were judged by what people and they themselves say; 0 to 1.

        Args:
            flagged: by version, the share of its answers that people call wrong.
            challenger: what is tried; None for nothing.
            champion: what answers.
            agreement: of the two.
        """
        # What is judged no more is not to stand there for ever.
        self._flagged.clear()
        self._agreement.clear()
        for version, share in flagged.items():
            self._flagged.labels(version).set(share)
        if challenger is not None:
            self._agreement.labels(challenger, champion).set(agreement)

    # HTTP

    def answered_http(self, path: str, status: int, *, elapsed_s: float) -> None:
        """Count an answer over HTTP."""
        self._requests.labels(path, str(status)).inc()
        self._request_seconds.labels(path).observe(elapsed_s)

    def text(self) -> tuple[bytes, str]:
        """All figures, and the content type that they are written in."""
        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4
