from __future__ import annotations

import base64
import dataclasses
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import yaml

from core.frames import IMAGE_CONVENTION, encode_jpeg
from core.recognition.aggregate import NoveltyScore
from core.recognition.artifact import (
    NETWORK_NAME,
    DataSetSection,
    ImageSection,
    LabelSection,
    Manifest,
    UnknownSection,
)
from training.fitting.checkpoint import Epoch, Phase
from training.fitting.litert import Agreement
from training.preview import Tile
from training.reports import charts
from training.reports.look import Attention, Looks
from training.reports.page import GameShare, Provenance, Story, confusion_table, html, model_card, weakest
from training.scoring.figures import (
    AnswerFigures,
    BinFigures,
    ClassFigures,
    CoverageFigures,
    EvaluatedUnknown,
    EvaluationFigures,
    GameFigures,
    GenreClassFigures,
    GenreFigures,
    GenreProtocolFigures,
    HeldOutGame,
    HeldOutGroup,
    KeptFigures,
    LeastConfidenceFigures,
    LinearFigures,
    ModelFigures,
    NamedScores,
    ProtocolFigures,
    RefusedFigures,
    RocFigures,
    ScoreFigures,
    Shares,
    TestFigures,
    UnknownFigures,
    UnknownThresholdFigures,
)
from training.scoring.judged import MICRO, Mistake

IDS = ("chess", "doom", "go")
EVIL = "Doom <script>alert(1)</script> | & co."
NAMES = {"chess": "Chess", "doom": EVIL, "go": "Go"}
SHARES = Shares(frames_right=0.95, streams_right=0.9, frames=40, streams=10)
SCORES = ScoreFigures(count=10, accuracy=0.9, top_3=1.0, macro_precision=0.91, macro_recall=0.92, macro_f1=0.913)
ROC = {"false_positives": (0.0, 0.0, 0.2, 1.0), "true_positives": (0.0, 0.7, 0.9, 1.0)}


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size=(180, 320, 3)).astype(np.uint8)


def answers(count: int) -> AnswerFigures:
    return AnswerFigures(
        **SCORES.model_dump(exclude={"count"}),
        count=count,
        ece=0.0123,
        ece_uncalibrated=0.0456,
        bins=(
            BinFigures(over=0, up_to=0.5, count=0, confidence=0, accuracy=0),
            BinFigures(over=0.5, up_to=1, count=count, confidence=0.9, accuracy=0.88),
        ),
        coverage=tuple(
            CoverageFigures(confidence=1 - share, coverage=share, accuracy=1 - share / 10) for share in (0.2, 0.6, 1.0)
        ),
        roc=tuple(RocFigures(id=name, area=0.98, **ROC) for name in IDS),
        games=tuple(ClassFigures(id=name, precision=0.9, recall=0.8, f1=0.85, shown=9, answered=8) for name in IDS),
        confusion=((10, 2, 0, 0), (0, 12, 0, 0), (0, 0, 16, 0)),
    )


def genres() -> GenreFigures:
    return GenreFigures(
        count=9,
        hamming_loss=0.0432,
        exact=0.5,
        precision=0.7,
        recall=0.6,
        macro_f1=0.65,
        top_class=0.8,
        null_hamming_none=0.09,
        null_hamming_usual=0.08,
        null_top_class=0.3,
        genres=(
            GenreClassFigures(
                id="pixel", name="pixel art", threshold=0.31, precision=0.7, recall=0.6, f1=0.4, shown=3, answered=4
            ),
        ),
        roc=(RocFigures(id="pixel", area=0.9, **ROC),),
    )


def manifest() -> Manifest:
    return Manifest(
        version="tiny-1",
        labels=tuple(LabelSection(id=name, name=NAMES[name]) for name in IDS),
        image=ImageSection(**dataclasses.asdict(IMAGE_CONVENTION)),
        temperature=1.25,
        unknown=UnknownSection(score=NoveltyScore.MAX_LOGIT, threshold=-3.0),
        data_set=DataSetSection(name="tiny", sha256="ab" * 32, games=3, streams=30, frames=120),
        commit="cafe",
        created="2026-11-21T12:00:00+00:00",
        files={NETWORK_NAME: "0" * 64},
    )


def bare() -> Story:
    """What every training has."""
    games = tuple(
        GameFigures(
            id=name,
            name=NAMES[name],
            shares=SHARES.model_copy(update={"frames_right": right}),
            overlaid_frames_right=0.9,
            taken_for=(EVIL,) if name == "chess" else (),
        )
        for name, right in zip(IDS, (0.8, 1.0, 0.9), strict=True)
    )
    return Story(
        manifest=manifest(),
        games=tuple(GameShare(name=NAMES[name], streams=10, frames=40, validation_streams=2) for name in IDS),
        test=TestFigures(
            all=SHARES,
            overlaid=SHARES,
            covered_share=0.2,
            parts=(SHARES,),
            games=games,
            confusion=((10, 2, 0), (0, 12, 0), (0, 0, 16)),
            wrong_streams=("chess/s1 taken for doom",),
        ),
        protocols=None,
        split="Trained on 20 streams.",
        config_json="{}\n",
        epochs=[
            Epoch(
                number=number,
                phase=Phase.WHOLE,
                loss=1 / number,
                learning_rate=0.01,
                validation_loss=2 / number,
                validation_streams_right=0.9,
                validation_frames_right=0.8,
                seconds=1.0,
            )
            for number in (1, 2, 3)
        ],
        best_epoch=2,
        agreement=None,
    )


def full() -> Story:
    """Everything that can be told."""
    story = bare()
    protocols = ProtocolFigures(
        by_stream=story.test,
        by_random_frame=SHARES.model_copy(update={"frames_right": 0.999}),
        authors={"doom-a": SHARES},
        unknown=UnknownFigures(
            score=NoveltyScore.MAX_LOGIT,
            stream_auroc=0.9871,
            frame_auroc=0.95,
            stream_auroc_of_scores={"max_logit": 0.9871, "energy": 0.97},
            held_out_refused=0.83,
            known_refused=0.03,
            known_refused_in_folds=0.02,
            known_refused_overlaid=0.06,
            threshold=-3.0,
            games=(HeldOutGame(id="doom", streams=4, auroc=0.9, refused=0.5, taken_for="go", near=("go",)),),
            near=HeldOutGroup(games=("doom",), streams=4, stream_auroc=0.91, refused=0.5),
            far=HeldOutGroup(games=("chess", "go"), streams=8, stream_auroc=0.99, refused=0.97),
        ),
        temperature=1.25,
        best_epochs=(2,),
        of_random_frames=answers(40),
        genres=GenreProtocolFigures(known=genres(), held_out=genres(), thresholds={"pixel": 0.31}),
        nulls=(NamedScores(name="always the commonest game", of_frames=SCORES, of_streams=SCORES),),
        linear=LinearFigures(
            name="linear <SVM>",
            by_stream=SHARES.model_copy(update={"frames_right": 0.7771}),
            overlaid=SHARES.model_copy(update={"frames_right": 0.6662}),
            parts=(SHARES,),
            by_random_frame=SHARES.model_copy(update={"frames_right": 0.9983}),
            authors={"doom-a": SHARES.model_copy(update={"frames_right": 0.5554})},
            stream_auroc=0.8889,
        ),
    )
    model = ModelFigures(
        name="tiny-1",
        games=IDS,
        of_frames=answers(40),
        of_streams=answers(10),
        answered=0.88,
        unknown=EvaluatedUnknown(
            frames=20,
            streams=4,
            frame_auroc=0.9,
            stream_auroc=0.93,
            games={"rust": 0.93},
            refused=RefusedFigures(known=0.02, unknown=0.7),
            searched=UnknownThresholdFigures(
                threshold=-2.5,
                on_validation=RefusedFigures(known=0.01, unknown=0.9),
                on_test=RefusedFigures(known=0.04, unknown=0.77),
            ),
        ),
        least_confidence=LeastConfidenceFigures(
            accuracy=0.99,
            threshold=0.62,
            on_validation=KeptFigures(coverage=0.9, accuracy=0.991),
            on_test=KeptFigures(coverage=0.87, accuracy=0.985),
        ),
        genres=genres(),
        genres_of_unknown=genres(),
        learnt_from=None,
    )
    frame = encode_jpeg(noise(1))
    mistake = Mistake(
        shown="Go",
        answered=EVIL,
        confidence=0.931,
        right_confidence=0.05,
        stream="go/s7",
        others=3,
        frame=frame,
        heat=frame,
        place=0,
    )
    return dataclasses.replace(
        story,
        test=story.test.model_copy(
            update={"of_frames": answers(40), "of_streams": answers(10), "overlaid_streams": answers(10)}
        ),
        games=tuple(dataclasses.replace(game, broadcasters=7) for game in story.games),
        protocols=protocols,
        agreement=Agreement(frames=9, same_answers=1.0, largest_difference=0.001),
        provenance=Provenance(licence="mit", first_day="2026-10-01", last_day="2026-11-20"),
        evaluation=EvaluationFigures(
            data="tiny",
            part="test",
            frames=40,
            streams=10,
            models=(model, model.model_copy(update={"name": "scratch-1", "learnt_from": "It learnt from these."})),
            baselines=(NamedScores(name="linear SVM", of_frames=None, of_streams=SCORES),),
            unreadable=("a.jpg",),
            notes=("A note.",),
        ),
        micro_roc=RocFigures(id=MICRO, area=0.99, **ROC),
        looks=Looks(
            of="frames of test streams",
            attention=(Attention(shown="Go", answered="Go", confidence=0.9, stream="go/s1", frame=frame, heat=frame),),
            filters=b"\x89PNG filters",
            mistakes=(mistake, dataclasses.replace(mistake, shown="Chess", frame=None, heat=None)),
            augmented=(Tile(name="webcam pasted", picture=noise(2)),),
        ),
        tune=b"\x89PNG search",
    )


@pytest.fixture(scope="module")
def bare_page() -> str:
    return html(bare())


@pytest.fixture(scope="module")
def full_page() -> str:
    return html(full())


class Page(HTMLParser):
    """What a reader, or a machine that reads to one, would find."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.tags: set[str] = set()
        self.titles: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.add(tag)
        if tag not in self.VOID:
            self._open.append(tag)
        if values.get("id"):
            self.ids.append(str(values["id"]))
        if tag == "a":
            self.links.append(str(values["href"]))
        if tag == "img":
            self.images.append(values)
        self.sources += [str(values[name]) for name in ("src", "srcset", "data", "action") if name in values]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "h2":
            self.titles.append(data)
        if self._open and self._open[-1] != "style":
            self.text += data


@pytest.mark.parametrize("name", ["bare_page", "full_page"])
def test_the_page_needs_nothing_but_itself(name: str, request: pytest.FixtureRequest) -> None:
    page = request.getfixturevalue(name)
    read = Page(page)

    assert page.lstrip().startswith("<!doctype html>")
    assert not read.tags & {"script", "link", "iframe", "object"}
    assert all(source.startswith("data:image/") for source in read.sources)
    assert not re.search(r"@import|url\(", page)
    assert all(link.removeprefix("#") in read.ids for link in read.links)
    assert len(set(read.ids)) == len(read.ids)


def test_every_picture_says_what_it_shows(full_page: str) -> None:
    images = Page(full_page).images

    assert len(images) > 10
    assert all(image["alt"] for image in images)


def test_the_story_has_its_order_and_each_section_its_figures(full_page: str) -> None:
    read = Page(full_page)

    assert read.titles == [
        "On streams that it never saw",
        "Beside other ways to answer",
        "Game by game",
        "What is taken for what",
        "The surest mistakes",
        "How sure, and how often right",
        "One game against all others",
        "Games that it does not know",
        "Genres of games",
        "What it looks at",
        "How it was made",
    ]
    for told in (
        "99.9 %",  # the random split
        "always the commonest game",
        "linear SVM",
        "It learnt from these.",
        "93.1 % sure",
        "3 more of its frames",
        "0.012",  # calibration error
        "87.0 % and 98.5 %",  # least confidence on the test
        "would refuse 77.0 % and 4.0 %",  # threshold search
        "near ones",
        "pixel art",
        "0.043",  # Hamming loss
        "webcam pasted",
        "2026-10-01 to 2026-11-20",
    ):
        assert told in read.text, told


def test_the_linear_machine_stands_beside_every_figure(full_page: str) -> None:
    card = model_card(full())
    for told in (full_page, card):
        for figure in ("77.7 %", "66.6 %", "99.8 %", "55.5 %", "0.889"):
            assert figure in told
    assert "linear &lt;SVM&gt;: frames" in full_page
    # Each row of the card's table has as many cells as its head.
    table = card[card.index("| | frames right") :].split("\n\n")[0].splitlines()
    assert {line.count("|") for line in table} == {6}
    assert len(table) == 7


def test_what_was_not_measured_is_not_there(bare_page: str) -> None:
    assert Page(bare_page).titles == [
        "On streams that it never saw",
        "Game by game",
        "What is taken for what",
        "How it was made",
    ]


def test_a_picture_that_may_not_be_passed_on_leaves_a_place_that_says_so(full_page: str) -> None:
    story = full()
    assert story.looks is not None
    allowed, withheld = story.looks.mistakes
    assert allowed.frame is not None
    drawn = base64.b64encode(allowed.frame).decode()
    alone = dataclasses.replace(story, looks=Looks(of="frames", mistakes=(withheld,)))

    assert drawn in full_page
    page = html(alone)
    assert drawn not in page
    assert "This game's pictures may not be passed on." in page
    assert "Chess" in page


def test_names_are_words_and_never_code(full_page: str) -> None:
    page, card = full_page, model_card(full())

    assert "<script>" not in page
    assert "Doom &lt;script&gt;" in page
    rows = [line for line in card.splitlines() if line.startswith("| Doom")]
    assert len(rows) == 1
    assert len(re.findall(r"(?<!\\)\|", rows[0])) == 10


def test_the_page_follows_light_and_dark_with_its_charts(full_page: str) -> None:
    page = full_page
    pictures = [base64.b64decode(one) for one in re.findall(r"data:image/svg\+xml;base64,([^\"]+)", page)]

    assert "prefers-color-scheme: dark" in page
    assert len(pictures) == 9
    for picture in pictures:
        assert b"prefers-color-scheme:dark" in picture
        assert b"var(--ink)" in picture
        assert not re.search(rb"#01020\d", picture)


def test_the_same_story_makes_the_same_page_and_a_long_one_stays_small(full_page: str) -> None:
    story = full()
    assert html(story) == full_page
    assert story.looks is not None
    many = dataclasses.replace(
        story.looks,
        attention=story.looks.attention * 12,
        mistakes=story.looks.mistakes * 6,
        augmented=story.looks.augmented * 28,
    )
    # Noise: no real frame is coded as badly.
    assert len(html(dataclasses.replace(story, looks=many))) < 6_000_000


def test_a_few_games_are_a_table_of_numbers_and_games_that_nobody_saw_are_left_out() -> None:
    story = bare()
    lonely = story.test.model_copy(update={"confusion": ((10, 2, 0), (0, 12, 0), (0, 0, 0))})
    table = confusion_table(dataclasses.replace(story, test=lonely))

    assert (table.shown, table.answered) == (("Chess", EVIL), ("Chess", EVIL))
    assert table.counts == ((10, 2), (0, 12))
    assert [(one.shown, one.answered, one.frames) for one in table.common] == [("Chess", EVIL, 2)]
    assert table.common[0].share == pytest.approx(2 / 12)
    assert table.is_small


def test_a_game_that_was_answered_and_never_shown_keeps_its_column() -> None:
    story = bare()
    odd = story.test.model_copy(update={"confusion": ((10, 0, 1), (0, 12, 0), (0, 0, 0))})
    table = confusion_table(dataclasses.replace(story, test=odd))

    assert (len(table.shown), table.answered) == (2, ("Chess", EVIL, "Go"))


def test_the_weakest_games_come_worst_first() -> None:
    assert weakest(bare().test) == ["Chess", "Go"]


def test_the_log_is_drawn_as_far_as_it_goes() -> None:
    epochs = list(bare().epochs)
    assert list(charts.learning_curves(epochs, best=2)) == ["Loss", "Right on validation", "Learning rate"]

    @dataclasses.dataclass
    class Short:
        number: int
        loss: float

    assert list(charts.learning_curves([Short(1, 0.5), Short(2, 0.4)], best=1)) == ["Loss"]  # type: ignore[list-item]
    assert charts.learning_curves([], best=0) == {}


def test_the_card_begins_with_what_hugging_face_reads() -> None:
    for story in (bare(), full()):
        _, front, _ = model_card(story).split("---\n", 2)
        read = yaml.safe_load(front)
        assert read["pipeline_tag"] == "image-classification"
        assert read["model-index"][0]["name"] == "tiny-1"
        metrics = {metric["name"]: metric["value"] for metric in read["model-index"][0]["results"][0]["metrics"]}
        assert metrics["streams right"] == 0.9
        assert read.get("license") == story.provenance.licence


def test_the_card_tells_data_split_games_failures_licence_and_use() -> None:
    card = model_card(full())

    for heading in (
        "Intended use",
        "Data",
        "Calibration",
        "Games it does not know",
        "Genres",
        "Known failures",
        "Licence",
    ):
        assert f"\n## {heading}\n" in card
    assert "2026-10-01 to 2026-11-20" in card
    assert "| Chess | 10 | 2 | 40 | 7 | 80.0 % |" in card
    assert "Trained on 20 streams." in card
    assert "Weakest games, by frames of unseen streams: Chess, Go." in card
    assert "data:" not in card


def test_a_card_of_little_says_what_is_not_known() -> None:
    card = model_card(bare())

    assert "the data set does not say when" in card
    assert "No licence was chosen" in card
    assert "## Genres" not in card
    assert "Half of the answer is where things are" not in card
