"""The music of the simulated world: scenes, artists, albums and tracks, all invented.

Every artist's name ends in ``(simulated)`` and every track URI starts with ``spotify:track:SIMULATED``,
so that no table, screenshot or database row made from this history can be taken for a real person's.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def _words(lines: str) -> list[str]:
    """The words of a list that is written like prose: separated by commas, over as many lines as it takes."""
    return [word.strip() for word in lines.split(",")]


_COLOURS = _words(
    "Amber, Cobalt, Ivory, Russet, Saffron, Indigo, Coral, Umber, Opal, Vermilion, Teal, Ochre, Lilac, Slate"
)
_BEINGS = _words(
    """Foxgloves, Lanterns, Herons, Cartographers, Tides, Orchards, Sparrows, Clockmakers, Comets, Harbours,
    Meadows, Pilots, Magpies, Weavers, Glaciers, Gardeners, Satellites, Rivers, Owls, Bakers, Kites, Thistles,
    Ferries, Almanacs"""
)
_DEEDS = _words(
    "Letters, Postcards, Walks, Echoes, Notes, Sketches, Stories, Maps, Signals, Songs, Hours, Windows"
)
_PLACES = _words(
    """Harbour Street, the Quiet Station, Winter Garden, the Long Field, Paper Island, the Ninth Floor,
    Rain Avenue, Copper Hill, the Old Observatory, the Blue Kitchen, the Far Shore, the Night Bus"""
)
_FIRST = _words(
    """Slow, Paper, Silver, Hollow, Bright, Borrowed, Gentle, Midnight, Golden, Distant, Velvet, Broken,
    Early, Secret, Wooden, Northern, Electric, Tender, Crooked, Lucky, Restless, Quiet"""
)
_SECOND = _words(
    """Morning, Engine, River, Window, Promise, Kingdom, Weather, Dancer, Mirror, Signal, Summer, Harbour,
    Letter, Animal, Balloon, Compass, Thunder, Ladder, Orchard, Ocean, Bicycle, Shadow, Radio, Feather"""
)

SCENES = ("folk", "electronic", "piano", "indie", "soul", "rock", "ambient", "jazz", "pop", "hip hop")
CALM = frozenset({"piano", "ambient", "jazz", "folk"})
"""The scenes that the simulated listener prefers at night and while working."""


@dataclass(frozen=True, slots=True)
class Track:
    """One invented recording, or one episode of an invented podcast when ``show`` is set."""

    name: str
    artist: str
    album: str
    uri: str
    length_ms: int
    show: str | None = None


@dataclass(frozen=True, slots=True)
class Artist:
    """An invented artist with albums whose tracks stand in album order."""

    name: str
    scene: str
    albums: tuple[tuple[Track, ...], ...]


def _uri(rng: Random, kind: str) -> str:
    return f"spotify:{kind}:SIMULATED" + "".join(rng.choices(_BASE62, k=13))


def _album(rng: Random, artist: str, scene: str) -> tuple[Track, ...]:
    title = f"{rng.choice(_DEEDS)} from {rng.choice(_PLACES)}"
    typical = 255_000 if scene in CALM else 205_000
    names: dict[str, None] = {}
    size = rng.randint(7, 13)
    while len(names) < size:
        names[f"{rng.choice(_FIRST)} {rng.choice(_SECOND)}"] = None
    return tuple(
        Track(name, artist, title, _uri(rng, "track"), max(75_000, int(rng.gauss(typical, 45_000))))
        for name in names
    )


def invent_artists(rng: Random, count: int) -> list[Artist]:
    """``count`` artists spread over the scenes, each with one to five albums; names are unique."""
    names: dict[str, None] = {}
    while len(names) < count:
        names[f"The {rng.choice(_COLOURS)} {rng.choice(_BEINGS)}"] = None
    artists = []
    for position, name in enumerate(names):
        scene = SCENES[position % len(SCENES)]
        labelled = f"{name} (simulated)"
        albums = tuple(_album(rng, labelled, scene) for _ in range(rng.choice((1, 1, 2, 2, 3, 5))))
        artists.append(Artist(labelled, scene, albums))
    return artists


def invent_podcasts(rng: Random, episodes: int) -> list[tuple[Track, ...]]:
    """Three invented shows with ``episodes`` episodes each, in order of publication."""
    shows = (
        "Tides and Timetables (simulated)",
        "The Invented Hour (simulated)",
        "Small Instruments (simulated)",
    )
    return [
        tuple(
            Track(
                f"Episode {number}: {rng.choice(_FIRST)} {rng.choice(_SECOND)}",
                "",
                "",
                _uri(rng, "episode"),
                rng.randint(18, 55) * 60_000,
                show,
            )
            for number in range(1, episodes + 1)
        )
        for show in shows
    ]
