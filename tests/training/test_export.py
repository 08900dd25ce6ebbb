"""Store -> manifest -> training: what is in it, what is not, and that it stays as it is."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest
from rich.console import Console
from sqlalchemy import select, update
from typer.testing import CliRunner

from core.errors import DataSetError, GameSpotterError
from core.games import NOT_A_GAME, Game
from core.recognition.artifact import read_artifact
from core.storage.frame_store import FolderFrameStore
from core.storage.records import CaptureKind, LabelSource
from core.storage.tables import CaptureRow, LabelRow
from core.storage.upkeep import Upkeep
from tests.training.collected import CHATTING, CHESS, DOOM, NOON, Collected
from training.__main__ import app
from training.config import TrainConfig
from training.data.division import DivisionRule
from training.data.folders import list_frames
from training.data.manifest import DataManifest, list_manifest, read_manifest
from training.data.split import Part
from training.export import export
from training.importing import ImportRule, import_tree
from training.pipeline.prepare import prepare
from training.run import RunOptions, run

CHESS_GAME = Game(id="chess", name="Chess")
DOOM_GAME = Game(id="doom", name="DOOM")
ALL_DIFFER = DivisionRule(near_bits=0)
"""The tiny data set's streams look alike."""


@pytest.fixture
def store(tmp_path: Path) -> Collected:
    return Collected(tmp_path / "store")


def exported(store: Collected, out: Path, **options: object) -> DataManifest:
    return export(
        database=store.database,
        frames=store.frames,
        out=out,
        **{"folders": None, "rule": DivisionRule()} | options,
    )


def labels(manifest: DataManifest) -> dict[str, str]:
    return {capture.key: capture.game for capture in manifest.captures}


def test_every_labelled_frame_is_in_it_with_what_is_known_of_it(store: Collected, tmp_path: Path) -> None:
    store.fill()
    store.capture("asked", by="curious", kind=CaptureKind.ASKED)
    store.capture("known-by-id", by="dora", platform_id="77")
    manifest = exported(store, tmp_path / "m.json")
    assert manifest.frames == 34
    assert "asked" not in labels(manifest)  # nobody said what it shows
    one = next(capture for capture in manifest.captures if capture.key == "known-by-id")
    assert (one.broadcaster, one.stream, one.game, one.source) == (
        "77", "stream of known-by-id", "doom", LabelSource.DECLARED
    )  # fmt: skip
    assert all((store.frames / frame.sha256[:2] / f"{frame.sha256}.jpg").is_file() for frame in one.frames)
    assert {capture.part for capture in manifest.captures} == set(Part)


def test_the_same_store_gives_the_same_bytes(store: Collected, tmp_path: Path) -> None:
    store.fill()
    exported(store, tmp_path / "one.json")
    exported(store, tmp_path / "two.json")
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_another_order_of_collecting_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, order in (("one", range(8)), ("two", reversed(range(8)))):
        store = Collected(tmp_path / name)
        for number in order:
            seeds = (2 * number, 2 * number + 1)
            store.capture(f"c{number}", by=f"b{number}", declared=(DOOM, CHESS)[number % 2], seeds=seeds)
        exported(store, tmp_path / f"{name}.json")
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_an_accepted_flag_outdoes_the_label_and_is_named(store: Collected, tmp_path: Path) -> None:
    store.fill()
    store.capture("asked", by="curious", kind=CaptureKind.ASKED)
    numbers = {store.flag("doom-1", CHESS_GAME), store.flag("asked", DOOM_GAME)}
    agreed = {store.flag("doom-2", CHESS_GAME, by=by, is_trusted=False) for by in ("ann", "bob")}
    manifest = exported(store, tmp_path / "m.json")
    assert {key: labels(manifest)[key] for key in ("doom-1", "doom-2", "asked", "doom-3")} == {
        "doom-1": "chess",
        "doom-2": "chess",
        "asked": "doom",
        "doom-3": "doom",
    }
    assert set(manifest.flags) == numbers | agreed
    by_key = {capture.key: capture for capture in manifest.captures}
    assert by_key["doom-1"].source is LabelSource.FLAG
    assert set(by_key["doom-2"].flags) == agreed
    assert by_key["doom-3"].flags == ()


def test_what_moderators_disagree_on_is_left_out(store: Collected, tmp_path: Path) -> None:
    store.fill()
    store.flag("doom-1", CHESS_GAME)
    store.flag("doom-1", DOOM_GAME, by="other")
    store.flag("doom-2", CHESS_GAME, is_trusted=False)  # one of two
    store.flag("doom-3", DOOM_GAME, is_trusted=False)  # says what the label says
    manifest = exported(store, tmp_path / "m.json")
    assert not {"doom-1", "doom-2"} & labels(manifest).keys()
    assert labels(manifest)["doom-3"] == "doom"
    assert manifest.left_out.disputed_captures == 2
    assert manifest.flags == ()


def test_the_keepers_word_settles_a_disagreement(store: Collected, tmp_path: Path) -> None:
    store.fill()
    store.flag("doom-1", CHESS_GAME, is_trusted=False)

    async def decide(database):
        async with database.writing() as session:
            capture = await session.scalar(select(CaptureRow.id).where(CaptureRow.key == "doom-1"))
            session.add(LabelRow(capture_id=capture, game_id="doom", source=LabelSource.KEEPER, at=NOON))

    store.ask(decide)
    assert labels(exported(store, tmp_path / "m.json"))["doom-1"] == "doom"


def test_a_broadcaster_who_opted_out_is_never_in_it(store: Collected, tmp_path: Path) -> None:
    store.fill()
    store.opt_out("doom1")
    store.forget("chess2")
    manifest = exported(store, tmp_path / "m.json")
    assert not {"doom-1", "chess-2"} & labels(manifest).keys()
    assert manifest.left_out.opted_out_captures == 1
    assert b"doom1" not in (tmp_path / "m.json").read_bytes()


def test_categories_that_are_no_game_are_the_negative_class(store: Collected, tmp_path: Path) -> None:
    store.fill()
    store.capture("talk", by="talker", declared=CHATTING, is_game=False)
    store.capture("wrong", by="other")
    store.flag("wrong", NOT_A_GAME)
    manifest = exported(store, tmp_path / "m.json")
    assert labels(manifest)["talk"] == labels(manifest)["wrong"] == NOT_A_GAME.id
    assert [game.name for game in manifest.games] == ["Chess", "DOOM", "Not a game"]


def test_frames_without_pixels_are_passed_over_and_counted(store: Collected, tmp_path: Path) -> None:
    store.fill()

    async def expire(database):
        async with database.writing() as session:
            old = NOON.replace(year=2025)
            await session.execute(update(CaptureRow).where(CaptureRow.key == "doom-1").values(at=old))
        upkeep = Upkeep(database, FolderFrameStore(store.frames))
        await upkeep.expire(asked_before=None, nightly_before=NOON)

    store.ask(expire)
    before = exported(store, tmp_path / "before.json")
    assert "doom-1" not in labels(before)
    assert before.left_out.gone_frames == 2
    lost = next(capture for capture in before.captures if capture.key == "chess-1").frames[0].sha256
    (store.frames / lost[:2] / f"{lost}.jpg").unlink()
    after = exported(store, tmp_path / "after.json")
    assert after.left_out.gone_frames == 3
    assert after.frames == before.frames - 1


def test_a_picture_that_two_captures_hold_is_there_once_with_the_strongest_label(
    store: Collected, tmp_path: Path
) -> None:
    store.fill()
    store.capture("a", by="a", seeds=(1, 2, 3))
    store.capture("b", by="a", seeds=(1, 2, 4))
    store.capture("c", by="a", declared=CHESS, seeds=(3, 4, 5))
    number = store.flag("b", DOOM_GAME)
    manifest = exported(store, tmp_path / "m.json")
    held = {capture.key: len(capture.frames) for capture in manifest.captures if capture.broadcaster == "a"}
    # 1 and 2 count for the flagged one; 3 is called two games by equally strong words, 4 was flagged.
    assert held == {"b": 3, "c": 1}
    assert number in manifest.flags
    assert (manifest.left_out.repeated_frames, manifest.left_out.contradictory_frames) == (2, 3)


def test_a_manifest_tells_what_was_declared_beside_what_is_shown(store: Collected, tmp_path: Path) -> None:
    store.fill()
    store.capture("a", by="a", seeds=(1, 2, 3))
    store.capture("talk", by="b", declared=CHATTING, is_game=False, seeds=(4, 5, 6))
    store.flag("a", CHESS_GAME)
    manifest = exported(store, tmp_path / "m.json")
    told = {capture.key: (capture.declared, capture.game) for capture in manifest.captures}
    assert told["a"] == (DOOM_GAME.id, CHESS_GAME.id)
    assert told["talk"] == (NOT_A_GAME.id, NOT_A_GAME.id)
    listed = list_manifest(tmp_path / "m.json", store.frames)
    assert {frame.declared for frame in listed.frames if frame.game == CHESS_GAME.id} >= {DOOM_GAME.id, CHESS_GAME.id}


def test_near_duplicates_never_straddle_a_split(store: Collected, tmp_path: Path) -> None:
    store.fill(broadcasters=12)
    for number in range(12):
        store.capture(f"menu-{number}", by=f"doom{number}", seeds=(1, 2 + number), shade=number)
    store.capture("restream", by="chess3", declared=CHESS, seeds=(3, 4), shade=9)
    manifest = exported(store, tmp_path / "m.json")
    assert manifest.left_out.near_duplicate_frames > 0
    shown = [
        (int(frame.perceptual_hash, 16), capture.part) for capture in manifest.captures for frame in capture.frames
    ]
    for (one, part), (other, other_part) in combinations(shown, 2):
        assert part is other_part or (one ^ other).bit_count() > 4


def test_another_manifest_is_never_written_over(store: Collected, tmp_path: Path) -> None:
    store.fill()
    exported(store, tmp_path / "m.json")
    exported(store, tmp_path / "m.json")  # the same: nothing to write
    before = (tmp_path / "m.json").read_bytes()
    store.capture("later", by="later")
    with pytest.raises(DataSetError, match="never written over"):
        exported(store, tmp_path / "m.json")
    assert (tmp_path / "m.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["m.json"]


def test_a_place_that_cannot_be_written_to_is_one_sentence(store: Collected, tmp_path: Path) -> None:
    store.fill()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataSetError, match="cannot be written"):
        exported(store, tmp_path / "file" / "m.json")
    with pytest.raises(DataSetError, match="never written over"):
        exported(store, tmp_path / "file")
    with pytest.raises(DataSetError, match="cannot be written"):
        exported(store, tmp_path / "m.json", folders=tmp_path / "file" / "tree")
    assert (tmp_path / "file").read_bytes() == b""


def test_a_changed_manifest_is_refused(store: Collected, tmp_path: Path) -> None:
    store.fill()
    exported(store, tmp_path / "m.json")
    content = (tmp_path / "m.json").read_bytes()
    assert read_manifest(tmp_path / "m.json")[1] == json.loads(content)["sha256"]
    for name, changed in (
        ("relabelled", content.replace(b'"game": "doom"', b'"game": "chess"', 1)),
        ("cut short", content[:-100]),
    ):
        (tmp_path / name).write_bytes(changed)
        with pytest.raises(DataSetError, match="checksum differs"):
            read_manifest(tmp_path / name)
    (tmp_path / "other").write_bytes(b"{}")
    with pytest.raises(DataSetError, match="is no manifest"):
        read_manifest(tmp_path / "other")


@pytest.mark.parametrize("linked", [True, False])
def test_folders_are_those_that_training_takes(
    store: Collected, tmp_path: Path, linked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.fill()
    if not linked:

        def refuses(self, target):
            raise OSError(18, "Invalid cross-device link")

        # The manifest itself is linked, too, and is renamed then.
        monkeypatch.setattr(Path, "hardlink_to", refuses)
    manifest = exported(store, tmp_path / "m.json", folders=tmp_path / "tree")
    assert sorted(path.name for path in (tmp_path / "tree").iterdir()) == [
        "games.csv",
        "test",
        "training",
        "validation",
    ]
    listing = list_frames(tmp_path / "tree")
    assert [game.name for game in listing.games] == ["Chess", "DOOM"]
    counts = Counter((frame.game, frame.part) for frame in listing.frames)
    assert counts == Counter((capture.game, capture.part) for capture in manifest.captures for _ in capture.frames)
    assert len({frame.stream for frame in listing.frames}) == 16
    with pytest.raises(DataSetError, match="name a new folder"):
        exported(store, tmp_path / "again.json", folders=tmp_path / "tree")


def test_names_of_broadcasters_and_games_lead_out_of_no_folder(store: Collected, tmp_path: Path) -> None:
    store.fill()
    store.capture("evil", by="../../evil", declared=CHESS)
    manifest = exported(store, tmp_path / "m.json", folders=tmp_path / "tree")
    files = [path for path in tmp_path.rglob("*evil*") if path.is_file()]
    assert len(files) == 2
    assert all(path.is_relative_to(tmp_path / "tree") for path in files)
    assert manifest.frames == 34


def test_frames_that_are_gone_or_not_the_same_are_left_out_of_training(
    store: Collected, tmp_path: Path, tiny_config: TrainConfig
) -> None:
    store.fill()
    manifest = exported(store, tmp_path / "m.json")
    gone, changed = (frame.sha256 for frame in manifest.captures[0].frames)
    (store.frames / gone[:2] / f"{gone}.jpg").unlink()
    other = manifest.captures[1].frames[0].sha256
    content = (store.frames / other[:2] / f"{other}.jpg").read_bytes()
    (store.frames / changed[:2] / f"{changed}.jpg").write_bytes(content)
    listing = list_manifest(tmp_path / "m.json", store.frames)
    assert listing.missing == 1
    prepared = prepare(
        data=tmp_path / "m.json",
        stored=store.frames,
        config=dataclasses.replace(tiny_config, frames_per_game=2),
        work=tmp_path / "work",
        console=Console(quiet=True),
    )
    assert len(prepared.frames) == manifest.frames - 2
    assert len(prepared.frames.unreadable) == 1
    assert len(prepared.listing.frames) == len(prepared.frames)


@pytest.mark.timeout(300)
def test_a_model_is_trained_on_a_manifests_parts_and_says_which_flags_it_learnt_from(
    store: Collected, tmp_path: Path, tiny_data: Path, scratch_config: TrainConfig
) -> None:
    import_tree(tiny_data, database=store.database, frames=store.frames, rule=ImportRule(name="tiny"))
    bars = Game(id="bars", name="bars")
    plain = exported(store, tmp_path / "plain.json", rule=ALL_DIFFER)
    flagged = {
        store.flag(next(one.key for one in plain.captures if (one.game, one.part) == ("bars", part)), bars): part
        for part in Part
    }
    manifest = exported(store, tmp_path / "m.json", rule=ALL_DIFFER)
    assert set(manifest.flags) == set(flagged)
    options = RunOptions(data=tmp_path / "m.json", stored=store.frames, out=tmp_path / "model", work=tmp_path / "work")
    run(options, config=scratch_config)
    data_set = read_artifact(tmp_path / "model").manifest.data_set
    assert (data_set.name, data_set.games, data_set.streams, data_set.frames) == ("m", 3, 15, 60)
    assert data_set.manifest == read_manifest(tmp_path / "m.json")[1]
    # Not from what it was only tested on.
    assert set(data_set.flags) == {flag for flag, part in flagged.items() if part is not Part.TEST}


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        ("no database", "no database"),
        ("no frames", "There are no frames in"),
        ("empty", "nothing to learn from yet"),
        ("all files gone", "Not one of the 32 frames"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(
    store: Collected, tmp_path: Path, spoil: str, sentence: str
) -> None:
    if spoil == "empty":
        store.capture("asked", by="curious", kind=CaptureKind.ASKED)
    elif spoil != "no database":
        store.fill()
    if spoil == "no frames":
        store.frames.rename(tmp_path / "elsewhere")
    if spoil == "all files gone":
        for path in store.frames.rglob("*.jpg"):
            path.unlink()
    if spoil == "no database":
        store.frames.mkdir(parents=True)
    with pytest.raises(GameSpotterError, match=sentence):
        exported(store, tmp_path / "m.json")
    assert not (tmp_path / "m.json").exists()


def test_the_verb_prints_figures_for_a_program(store: Collected, tmp_path: Path) -> None:
    store.fill()
    number = store.flag("doom-1", CHESS_GAME)
    ended = CliRunner().invoke(app, ["export", "--out", str(tmp_path / "m.json"), "--json", *store.options()])
    figures = json.loads(ended.stdout)
    assert ended.exit_code == 0
    assert figures["frames"] == 32
    assert figures["flags"] == [number]
    assert {game["id"]: game["broadcasters"] for game in figures["games"]} == {"chess": 9, "doom": 7}
