"""Training: sessions, neighbours, the ONNX model against a plain-Python oracle, evidence and quality."""

import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from random import Random

import numpy as np
import onnx
import onnxruntime
import pytest

from cli.simulation import simulate
from services.ai.training import (
    INPUTS,
    OUTPUTS,
    Journal,
    Memory,
    Play,
    Recipe,
    Track,
    digest,
    journal_of,
    pack,
    train,
    unpack,
)
from services.ai.training.affinity import affinity_of
from services.ai.training.cooccurrence import neighbours_of
from services.ai.training.graph import export
from services.ai.training.quality import judge

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


def session(start: datetime, *names: str) -> list[Play]:
    """Tracks of three minutes played one after the other; a name that ends in ``!`` was skipped."""
    plays = []
    for name in names:
        start += timedelta(minutes=3)
        key = name.rstrip("!")
        plays.append(Play(Track(key, key.upper(), "artist"), start, 180_000, name.endswith("!")))
    return plays


def simulated(plays: int, seed: int = 7) -> Journal:
    return journal_of(
        Play(Track(p.track.uri, p.track.name, p.track.artist, p.track.album), p.ended, p.ms_played, p.skipped)
        for p in simulate(seed=seed, plays=plays, years=3)
        if p.track.show is None
    )


class Model:
    """The exported model, asked through onnxruntime."""

    def __init__(self, model: bytes, tracks: int) -> None:
        self.session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self.tracks = tracks

    def ask(
        self,
        seeds: list[int],
        weights: list[float],
        exclude: list[int] | None = None,
        now: float = 0.0,
        k: int = 10,
    ) -> dict[str, np.ndarray]:
        names = [output.name for output in self.session.get_outputs()]
        values = self.session.run(
            names,
            {
                "seeds": np.array(seeds, np.int64),
                "weights": np.array(weights, np.float32),
                "exclude": np.array(exclude or [self.tracks], np.int64),
                "now": np.array([now], np.float32),
                "k": np.array([k], np.int64),
            },
        )
        return dict(zip(names, values, strict=True))


def model_of(journal: Journal, recipe: Recipe | None = None) -> Model:
    recipe = recipe or Recipe()
    return Model(
        export(neighbours_of(journal, recipe), affinity_of(journal, recipe), recipe), len(journal.tracks)
    )


def oracle(journal: Journal, recipe: Recipe) -> dict[tuple[int, int], float]:
    """The definition of similarity, pair by pair, without any of the tricks of the real thing."""
    sums: dict[tuple[int, int], float] = defaultdict(float)
    heard: dict[int, float] = defaultdict(float)
    rows = list(
        zip(
            journal.track.tolist(),
            journal.ended.tolist(),
            journal.skipped.tolist(),
            journal.session.tolist(),
            strict=True,
        )
    )
    last = rows[-1][1]
    for track, ended, skipped, _ in rows:
        heard[track] += 0.0 if skipped else 0.5 ** ((last - ended) / 86_400 / recipe.half_life_days)
    for i, (a, _, a_skipped, a_session) in enumerate(rows):
        for j in range(i + 1, min(i + recipe.window + 1, len(rows))):
            b, ended, b_skipped, b_session = rows[j]
            if a_session != b_session or a == b:
                continue
            near = 0.5 ** ((last - ended) / 86_400 / recipe.half_life_days) * recipe.closeness ** (j - i - 1)
            if not a_skipped:
                sums[a, b] += near * (-recipe.skip_penalty if b_skipped else 1.0)
            if not b_skipped:
                sums[b, a] += near * (-recipe.skip_penalty if a_skipped else 1.0) * recipe.backward
    return {
        (a, b): s / (heard[a] * heard[b]) ** 0.5 * s / (s + recipe.shrinkage)
        for (a, b), s in sums.items()
        if s > 0
    }


def test_silence_of_more_than_half_an_hour_ends_a_session() -> None:
    plays = session(START, "a", "b") + session(START + timedelta(minutes=6 + 30), "c")
    assert journal_of(plays).sessions == 1
    plays = session(START, "a", "b") + session(START + timedelta(minutes=6 + 30, seconds=1), "c")
    assert journal_of(plays).sessions == 2


def test_the_order_in_which_plays_arrive_does_not_matter() -> None:
    plays = session(START, *"abcabdxyz") + session(START + timedelta(days=1), *"xyzab")
    shuffled = list(plays)
    Random(1).shuffle(shuffled)
    recipe = Recipe()
    models = [
        export(neighbours_of(journal, recipe), affinity_of(journal, recipe), recipe)
        for journal in (journal_of(plays), journal_of(shuffled))
    ]
    assert digest(models[0]) == digest(models[1])


def test_neighbours_are_what_the_definition_says() -> None:
    journal = simulated(1_500)
    recipe = Recipe(neighbours=400)
    found = neighbours_of(journal, recipe)
    expected = oracle(journal, recipe)
    real = found.index < len(journal.tracks)
    got = {
        (a, int(b)): float(s)
        for a in range(len(journal.tracks))
        for b, s in zip(found.index[a][real[a]], found.similarity[a][real[a]], strict=True)
    }
    assert got.keys() == {pair for pair, s in expected.items() if s > 2**-21}
    for pair, similarity in got.items():
        assert similarity == pytest.approx(expected[pair], abs=2**-20)
    assert np.all(np.diff(found.similarity, axis=1) <= 0)


def test_long_histories_are_summed_in_parts_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = simulated(3_000)
    whole = neighbours_of(journal, Recipe())
    monkeypatch.setattr("services.ai.training.cooccurrence._CHUNK", 700)
    parts = neighbours_of(journal, Recipe())
    assert np.array_equal(whole.index, parts.index)
    assert np.array_equal(whole.similarity, parts.similarity)


def test_after_counts_more_than_before_recent_more_than_old_and_a_skip_against() -> None:
    old = [play for day in range(6) for play in session(START + timedelta(days=day), "a", "b")]
    new = [play for day in range(6) for play in session(START + timedelta(days=900 + day), "a", "c")]
    bad = [play for day in range(6) for play in session(START + timedelta(days=950 + day), "a", "d!")]
    journal = journal_of(old + new + bad)
    names = [track.key for track in journal.tracks]
    a, b, c, d = (names.index(name) for name in "abcd")
    answer = model_of(journal).ask([a], [1.0])
    ranked = [int(item) for item, score in zip(answer["items"], answer["scores"], strict=True) if score > 0]
    assert ranked == [c, b]
    assert d not in ranked
    forward, backward = model_of(journal).ask([a], [1.0]), model_of(journal).ask([c], [1.0])
    assert forward["scores"][0] > backward["scores"][0] > 0


def test_contributions_sum_to_the_score_exactly_whatever_the_weights() -> None:
    journal = simulated(6_000)
    model, rng = model_of(journal), Random(5)
    for base in np.bincount(journal.track).argsort()[-50:].tolist():
        # Neighbours of one track, so that most answers have many causes.
        seeds = model.ask([base], [1.0], k=rng.randint(1, 20))["items"].tolist()
        # From a thousandth to a thousand: without rounding, such sums depend on their order.
        answer = model.ask(seeds, [10 ** rng.uniform(-3, 3) for _ in seeds], k=30)
        told = answer["scores"] > 0
        assert np.array_equal(answer["contributions"][told].sum(axis=1), answer["scores"][told])
        assert np.array_equal(
            answer["contributions"][told][:, ::-1].cumsum(axis=1)[:, -1], answer["scores"][told]
        )


def test_seeds_and_excluded_tracks_are_never_answers_and_the_track_that_is_none_changes_nothing() -> None:
    journal = simulated(6_000)
    model = model_of(journal)
    seed = int(np.bincount(journal.track).argmax())
    free = model.ask([seed], [1.0], k=5)
    assert seed not in free["items"]
    barred = model.ask([seed], [1.0], exclude=[int(free["items"][0])], k=4)
    assert barred["items"].tolist() == free["items"][1:].tolist()
    padded = model.ask([seed, len(journal.tracks)], [1.0, 1.0], k=5)
    assert padded["items"].tolist() == free["items"].tolist()
    assert model.ask([len(journal.tracks)], [1.0], k=5)["scores"].sum() == 0
    assert len(model.ask([seed], [1.0], k=10**9)["items"]) == len(journal.tracks)


def test_loved_and_forgotten_is_love_times_staleness_and_grows_with_silence() -> None:
    loved = [p for day in range(20) for p in session(START + timedelta(days=day), "loved", "other")]
    met = session(START, "met")
    now = [p for day in range(20) for p in session(START + timedelta(days=400 + day), "current")]
    journal = journal_of(loved + met + now)
    names = [track.key for track in journal.tracks]
    model = model_of(journal)
    answer = model.ask([len(names)], [0.0], exclude=[names.index("other")])
    first = int(answer["forgotten_items"][0])
    assert names[first] == "loved"
    told = answer["forgotten_scores"] > 0
    factors = answer["forgotten_love"][told] * answer["forgotten_staleness"][told]
    assert np.array_equal(answer["forgotten_scores"][told], factors)
    assert [
        names[i] for i, s in zip(answer["forgotten_items"], answer["forgotten_scores"], strict=True) if s > 0
    ] == ["loved"]
    later = model.ask([len(names)], [0.0], now=300.0)
    ranked = [
        names[i] for i, s in zip(later["forgotten_items"], later["forgotten_scores"], strict=True) if s > 0
    ]
    assert "current" in ranked
    assert "met" not in ranked


def test_the_model_is_valid_onnx_with_the_signature_that_is_declared() -> None:
    journal = simulated(2_000)
    trained = train(journal, Recipe())
    onnx.checker.check_model(trained.model, full_check=True)
    session_ = onnxruntime.InferenceSession(trained.model, providers=["CPUExecutionProvider"])
    types = {"tensor(int64)": "INT64", "tensor(float)": "FP32", "tensor(double)": "FP64"}
    for declared, real in ((INPUTS, session_.get_inputs()), (OUTPUTS, session_.get_outputs())):
        assert [(t.name, t.datatype, len(t.shape)) for t in declared] == [
            (r.name, types[r.type], len(r.shape)) for r in real
        ]
    assert trained.digest == digest(trained.model) == train(journal, Recipe()).digest


def test_evidence_is_the_plays_that_training_counted() -> None:
    journal = simulated(4_000)
    recipe = Recipe(neighbours=400, shrinkage=0.0, skip_penalty=0.0)
    neighbours = neighbours_of(journal, recipe)
    age = (journal.ended[-1] - journal.ended) / 86_400
    heard = np.bincount(journal.track, np.exp2(-age / recipe.half_life_days) * ~journal.skipped)
    seed = int(heard.argmax())
    for place in range(10):
        item = int(neighbours.index[seed][place])
        together = Memory(journal, recipe).heard_together(seed, item, limit=10_000)
        assert together.times == len(together.pairs) > 0
        summed = sum(pair.weight for pair in together.pairs) / (heard[seed] * heard[item]) ** 0.5
        assert float(neighbours.similarity[seed][place]) == pytest.approx(summed, abs=2**-19)
        for pair in together.pairs:
            assert seed in journal.track[journal.ended == pair.seed_ended]
            assert item in journal.track[journal.ended == pair.item_ended]
            assert abs(pair.seed_ended - pair.item_ended) < 4 * 3_600
        few = Memory(journal, recipe).heard_together(seed, item, limit=2)
        assert few.times == together.times
        assert few.pairs == together.pairs[:2]


def test_tracks_never_heard_together_have_no_evidence() -> None:
    journal = journal_of(session(START, "a", "b!") + session(START + timedelta(days=1), "c"))
    assert Memory(journal, Recipe()).heard_together(0, 2, 5).times == 0
    assert Memory(journal, Recipe()).heard_together(0, 1, 5).times == 0


def test_how_a_track_was_loved() -> None:
    plays = session(START, "a", "a", "b", "a!") + session(START + timedelta(days=40), "a")
    loved = Memory(journal_of(plays), Recipe()).how_loved(0, limit=2)
    assert (loved.heard, loved.best_month, loved.best_month_plays) == (3, "2026-01", 2)
    assert loved.recent == (loved.last, loved.first + 180)
    with pytest.raises(ValueError, match="never heard"):
        Memory(journal_of(session(START, "a!")), Recipe()).how_loved(0, limit=2)


def test_a_journal_survives_packing_and_other_bytes_are_refused() -> None:
    journal = simulated(2_000)
    again = unpack(pack(journal))
    assert again.tracks == journal.tracks
    for column in ("track", "ended", "ms_played", "skipped", "session"):
        assert np.array_equal(getattr(again, column), getattr(journal, column))
    with pytest.raises(ValueError, match="not a listening journal"):
        unpack(b"something else")


def test_the_model_guesses_unseen_sessions_far_better_than_popularity(
    capsys: pytest.CaptureFixture[str],
) -> None:
    quality = judge(simulated(30_000), Recipe())
    with capsys.disabled():
        print(f"\nhit rate @20: model {quality.hit_rate:.3f}, popularity {quality.popularity_hit_rate:.3f}")
    assert quality.steps > 1_000
    assert quality.hit_rate > 3 * quality.popularity_hit_rate > 0


def test_a_history_without_order_teaches_nothing() -> None:
    """The quality check can fail: the same plays in random order leave nothing to learn."""
    journal = simulated(10_000)
    mixed = Journal(
        journal.tracks,
        np.random.default_rng(1).permutation(journal.track),
        journal.ended,
        journal.ms_played,
        journal.skipped,
        journal.session,
    )
    assert judge(mixed, Recipe()).hit_rate < 0.05


def test_a_hundred_thousand_plays_train_in_seconds() -> None:
    journal = simulated(100_000)
    began = time.process_time()
    train(journal, Recipe())
    assert time.process_time() - began < 6.0


def test_training_can_be_abandoned_from_its_progress() -> None:
    def stop(_share: float) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        train(simulated(500), Recipe(), stop)
