"""The choice among a model's answers: strongest first, no artist crowds out the others, and none is invented."""

import numpy as np
import pytest

from services.ai.explanation import varied
from services.ai.training import Journal, Track

NOTHING = np.empty(0, np.int32)


@pytest.mark.parametrize(
    ("artists", "size", "chosen"),
    [
        ("aaab", 3, [0, 1, 3]),
        ("aaab", 4, [0, 1, 2, 3]),
        ("aaaa", 3, [0, 1, 2]),
        ("abcd", 2, [0, 1]),
        ("----", 4, [0, 1, 2, 3]),
        ("", 4, []),
    ],
)
def test_two_by_an_artist_before_the_rest(artists: str, size: int, chosen: list[int]) -> None:
    tracks = tuple(Track(str(n), "", artist.strip("-")) for n, artist in enumerate(artists))
    journal = Journal(tracks, NOTHING, NOTHING.astype(np.int64), NOTHING, NOTHING.astype(np.bool_), NOTHING)
    items, scores = np.arange(len(artists)), np.linspace(1, 0.5, len(artists))
    assert varied(journal, items, scores, size) == chosen
    assert varied(journal, items, scores * 0, size) == []
