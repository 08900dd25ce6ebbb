"""The figures of `evaluate` and `protocols`, as tables for a terminal; shares are per cent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from training.scoring.figures import (
        AnswerFigures,
        EvaluatedUnknown,
        EvaluationFigures,
        GenreFigures,
        ModelFigures,
        ProtocolFigures,
        ScoreFigures,
        Shares,
    )

_COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.5)
_LOW = 0.97


def print_evaluation(found: EvaluationFigures, console: Console, *, normalise: bool) -> None:
    """All figures of an evaluation: side by side first, then model by model."""
    title = f"{found.data}, part {found.part}: {found.frames} frames of {found.streams} streams"
    console.print(title, highlight=False, markup=False)
    # First, as they say what the figures are worth.
    for note in found.notes:
        console.print(note, highlight=False, markup=False, soft_wrap=True)
    for what in ("frames", "streams"):
        console.print(side_by_side(found, what=what))
    for model in found.models:
        _print_model(model, console, normalise=normalise)
    for name in found.unreadable:
        console.print(f"Left out: {name}", highlight=False, markup=False, soft_wrap=True)


def side_by_side(found: EvaluationFigures, *, what: str) -> Table:
    """Models, null models and baselines in one table; `what` is ``frames`` or ``streams``."""
    table = _table("per frame" if what == "frames" else "per stream", *_SCORES, "ECE", "raw", what)
    for model in found.models:
        figures = model.of_frames if what == "frames" else model.of_streams
        eces = (f"{figures.ece:.3f}", f"{figures.ece_uncalibrated:.3f}")
        name = f"{model.name} (seen)" if model.learnt_from else model.name
        table.add_row(name, *_scores(figures), *eces, str(figures.count))
        overlaid = model.overlaid_frames if what == "frames" else model.overlaid_streams
        if overlaid is not None:
            table.add_row("  with overlays", *_scores(overlaid), "", "", str(overlaid.count))
    for baseline in found.baselines:
        scores = baseline.of_frames if what == "frames" else baseline.of_streams
        if scores is not None:
            table.add_row(baseline.name, *_scores(scores), "", "", str(scores.count))
    return table


def print_protocols(measured: ProtocolFigures, console: Console) -> None:
    """All that was measured about a way to train."""
    console.print(_shares(measured))
    console.print(_answers_of_protocols(measured))
    if measured.by_stream.of_streams is not None:
        console.print(coverage("coverage against accuracy", measured.by_stream.of_streams))
    console.print(_unknown_of_protocols(measured))
    console.print(held_out(measured))
    if measured.genres is not None:
        console.print(
            genre_summary(
                {"games held out whole": measured.genres.held_out, "unseen streams, known": measured.genres.known}
            )
        )
        console.print(per_genre("genres of games held out whole", measured.genres.held_out))


def coverage(title: str, figures: AnswerFigures) -> Table:
    """How many answers are right if only the surest are given."""
    table = _table(title, "answered", "of those right", "at least so sure")
    for wanted in _COVERAGES:
        point = min(figures.coverage, key=lambda one: abs(one.coverage - wanted))
        table.add_row("", _percent(point.coverage), _percent(point.accuracy), f"{point.confidence:.3f}")
    return table


def reliability(figures: AnswerFigures) -> Table:
    """The bins of the reliability diagram that hold answers."""
    table = _table("confidence of frames", "answers", "mean confidence", "right")
    for one in figures.bins:
        if one.count:
            table.add_row(
                f"{one.over:.2f} to {one.up_to:.2f}", str(one.count), _percent(one.confidence), _percent(one.accuracy)
            )
    return table


def per_game(model: ModelFigures) -> Table:
    """Every game that is shown, by frames; and of how many streams it was named right."""
    table = _table("game", "precision", "recall", "F1", "ROC area", "frames", "streams")
    areas = {one.id: one.area for one in model.of_frames.roc}
    for of_frames, of_streams in zip(model.of_frames.games, model.of_streams.games, strict=True):
        if of_frames.shown:
            table.add_row(
                of_frames.id,
                _percent(of_frames.precision),
                _percent(of_frames.recall),
                _percent(of_frames.f1),
                f"{areas[of_frames.id]:.4f}" if of_frames.id in areas else "",
                str(of_frames.shown),
                f"{of_streams.recall * of_streams.shown:.0f} of {of_streams.shown}",
                style="red" if of_frames.recall < _LOW else "",
            )
    return table


def confusion_text(ids: Sequence[str], confusion: Sequence[Sequence[int]], *, normalise: bool) -> str:
    """The confusion as text: a row for each game that is shown, a column for each that is shown or answered.

    Args:
        ids: of the games.
        confusion: int[games][games + 1], the last column none of the games.
        normalise: hundredths of what the row shows, instead of counts.
    """
    # What is shown or answered at all; the last column is answered only.
    columns = [column for column in range(len(ids)) if any(confusion[column]) or any(row[column] for row in confusion)]
    columns += [len(ids)] if any(row[-1] for row in confusion) else []
    rows = [row for row in range(len(ids)) if sum(confusion[row])]
    shown = [[_cell(confusion[row], column, normalise=normalise) for column in columns] for row in rows]
    heads = [str(column + 1) if column < len(ids) else "none" for column in columns]
    width = max(len(text) for text in (*heads, *(cell for cells in shown for cell in cells)))
    names = max(len(ids[row]) for row in rows)
    lines = [" " * (names + 4) + "".join(f" {head:>{width}}" for head in heads)]
    lines += [
        f"{row + 1:>3} {ids[row]:<{names}}" + "".join(f" {cell:>{width}}" for cell in cells)
        for row, cells in zip(rows, shown, strict=True)
    ]
    return "\n".join(lines)


def genre_summary(of: dict[str, GenreFigures]) -> Table:
    """Several sets of streams side by side, with the null model that looks at no picture."""
    table = _table("genres, per stream", *of)
    rows: dict[str, Callable[[GenreFigures], str]] = {
        "streams": lambda one: str(one.count),
        "top class": lambda one: _percent(one.top_class),
        "  of always the commonest": lambda one: _percent(one.null_top_class),
        "Hamming loss": lambda one: f"{one.hamming_loss:.3f}",
        "  of never any genre": lambda one: f"{one.null_hamming_none:.3f}",
        "  of always the usual ones": lambda one: f"{one.null_hamming_usual:.3f}",
        "macro F1": lambda one: _percent(one.macro_f1),
        "precision": lambda one: _percent(one.precision),
        "recall": lambda one: _percent(one.recall),
        "all right": lambda one: _percent(one.exact),
    }
    for name, told in rows.items():
        table.add_row(name, *(told(one) for one in of.values()))
    return table


def per_genre(title: str, figures: GenreFigures) -> Table:
    """Every genre."""
    table = _table(title, "threshold", "precision", "recall", "F1", "ROC area", "streams", "answered")
    areas = {one.id: one.area for one in figures.roc}
    for one in figures.genres:
        table.add_row(
            one.name,
            f"{one.threshold:.2f}",
            _percent(one.precision),
            _percent(one.recall),
            _percent(one.f1),
            f"{areas[one.id]:.3f}" if one.id in areas else "",
            str(one.shown),
            str(one.answered),
        )
    return table


_SCORES = ("right", "top 3", "prec.", "recall", "F1")
"""The last three are means over the games."""


def _table(title: str, *columns: str) -> Table:
    """Figures are never cut; where it is narrow, names are folded."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(title, overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _scores(figures: ScoreFigures) -> tuple[str, ...]:
    shares = (figures.accuracy, figures.top_3, figures.macro_precision, figures.macro_recall, figures.macro_f1)
    return tuple(_percent(share) for share in shares)


def _print_model(model: ModelFigures, console: Console, *, normalise: bool) -> None:
    console.rule(model.name)
    console.print(per_game(model))
    console.print("Confusion of frames: row shown, column answered" + (", of 100" if normalise else ""))
    text = confusion_text(model.games, model.of_frames.confusion, normalise=normalise)
    # Too wide for many a terminal, which wraps it; a table would cut it.
    console.print(text, highlight=False, markup=False, soft_wrap=True)
    console.print(reliability(model.of_frames))
    console.print(coverage("streams, surest first", model.of_streams))
    table = _table("streams", "")
    table.add_row("named right and not refused", _percent(model.answered))
    if model.least_confidence is not None:
        _least_confidence_rows(table, model)
    if model.unknown is not None:
        _unknown_rows(table, model.unknown)
    console.print(table)
    if model.genres is not None:
        of = {"all": model.genres}
        if model.genres_of_unknown is not None:
            of["games that it does not know"] = model.genres_of_unknown
        console.print(genre_summary(of))
        console.print(per_genre("genre", model.genres_of_unknown or model.genres))


def _least_confidence_rows(table: Table, model: ModelFigures) -> None:
    least = model.least_confidence
    if least is None:
        return
    goal = f"least confidence for {_percent(least.accuracy)} right, searched on validation"
    table.add_row(goal, "there is none" if least.threshold is None else f"{least.threshold:.3f}")
    for name, kept in (("validation", least.on_validation), ("here", least.on_test)):
        table.add_row(f"  {name}", f"{_percent(kept.coverage)} answered, {_percent(kept.accuracy)} of those right")


def _unknown_rows(table: Table, unknown: EvaluatedUnknown) -> None:
    table.add_row("streams of games that it does not know", str(unknown.streams))
    table.add_row("  AUROC per stream", f"{unknown.stream_auroc:.3f}")
    table.add_row("  AUROC per frame", f"{unknown.frame_auroc:.3f}")
    table.add_row("  refused by the model's threshold", _percent(unknown.refused.unknown))
    table.add_row("  known ones refused", _percent(unknown.refused.known))
    for game, area in unknown.games.items():
        table.add_row(f"  {game}", f"AUROC {area:.3f}")
    if unknown.searched is not None:
        best = unknown.searched
        table.add_row("threshold that validation likes best", f"{best.threshold:.3f}")
        for name, shares in (("validation", best.on_validation), ("here", best.on_test)):
            table.add_row(f"  {name}", f"refused {_percent(shares.unknown)}, of known ones {_percent(shares.known)}")


def _cell(row: Sequence[int], column: int, *, normalise: bool) -> str:
    if not row[column]:
        return "·"
    return f"{100 * row[column] / sum(row):.0f}" if normalise else str(row[column])


def _shares(measured: ProtocolFigures) -> Table:
    linear, test = measured.linear, measured.by_stream
    rows = {
        "by stream, all rotations": test.all,
        **{f"  rotation {number}": part for number, part in enumerate(test.parts, start=1)},
        f"overlays on {_percent(test.covered_share)} of the picture": test.overlaid,
        "random frames (flatters)": measured.by_random_frame,
        **{f"tested on author {name}": shares for name, shares in measured.authors.items()},
    }
    theirs: list[Shares] = []
    if linear is not None:
        authors = [linear.authors[name] for name in measured.authors]
        theirs = [linear.by_stream, *linear.parts, linear.overlaid, linear.by_random_frame, *authors]
    beside = ("linear",) if theirs else ()
    table = _table("right, never seen", "frames", *beside, "streams", *beside, "of frames", "of streams")
    for place, (name, shares) in enumerate(rows.items()):
        both = (shares, *theirs[place : place + 1])
        right = [*(one.frames_right for one in both), *(one.streams_right for one in both)]
        table.add_row(name, *map(_percent, right), str(shares.frames), str(shares.streams))
    return table


def _answers_of_protocols(measured: ProtocolFigures) -> Table:
    table = _table("temperature from other rotations", *_SCORES, "ECE", "raw")
    test = measured.by_stream
    for name, figures in {
        "frames": test.of_frames,
        "streams": test.of_streams,
        "frames with overlays": test.overlaid_frames,
        "streams with overlays": test.overlaid_streams,
        "random frames (flatters)": measured.of_random_frames,
    }.items():
        if figures is not None:
            table.add_row(name, *_scores(figures), f"{figures.ece:.3f}", f"{figures.ece_uncalibrated:.3f}")
    for null in measured.nulls:
        for name, scores in (("frames", null.of_frames), ("streams", null.of_streams)):
            if scores is not None:
                table.add_row(f"{name}, {null.name}", *_scores(scores), "", "")
    return table


def _unknown_of_protocols(measured: ProtocolFigures) -> Table:
    unknown = measured.unknown
    table = _table(f"games held out whole ({unknown.score})", "")
    table.add_row("AUROC per stream", f"{unknown.stream_auroc:.3f}")
    if measured.linear is not None:
        table.add_row(f"  of the {measured.linear.name}", f"{measured.linear.stream_auroc:.3f}")
    for name, group in (("near ones", unknown.near), ("far ones", unknown.far)):
        if group is not None:
            table.add_row(f"  {name} ({len(group.games)} games)", f"{group.stream_auroc:.3f}")
            table.add_row(f"    of {group.streams} streams refused", _percent(group.refused))
    table.add_row("AUROC per frame", f"{unknown.frame_auroc:.3f}")
    table.add_row("their streams refused", _percent(unknown.held_out_refused))
    table.add_row("known games' unseen streams refused", _percent(unknown.known_refused))
    if unknown.known_refused_overlaid is not None:
        table.add_row("the same with overlays", _percent(unknown.known_refused_overlaid))
    table.add_row("the same in the folds' networks", _percent(unknown.known_refused_in_folds))
    return table


def held_out(measured: ProtocolFigures) -> Table:
    """Every game that was held out whole; near is one of whose kind the network knows another."""
    table = _table("held out", "near", "AUROC", "refused", "streams", "else taken for")
    kinds = {None: "", True: "near", False: "far"}
    for game in measured.unknown.games:
        kind = kinds[None if game.near is None else bool(game.near)]
        shares = (f"{game.auroc:.3f}", _percent(game.refused), str(game.streams))
        table.add_row(game.id, kind, *shares, game.taken_for)
    return table
