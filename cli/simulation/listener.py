"""The behaviour of the simulated listener: what is put on, when, and what is skipped.

The rules are few and each is something that people do: a day has its hours (calm music late, favourites on
the way to work), a newly found artist is played a lot and then fades with a half-life of their own, a handful
never fade, albums are heard in order, playlists are shuffled, and what is loved less is skipped more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from random import Random

from cli.simulation.catalogue import CALM, SCENES, Artist, Track, invent_artists, invent_podcasts


@dataclass(frozen=True, slots=True)
class SimulatedPlay:
    """One play: it ended at ``ended`` (UTC) after ``ms_played`` milliseconds, as Spotify tells it."""

    ended: datetime
    track: Track
    ms_played: int
    reason_start: str
    reason_end: str
    shuffle: bool
    platform: str
    offline: bool

    @property
    def skipped(self) -> bool:
        """Whether the listener moved on before the end."""
        return self.reason_end == "fwdbtn"


@dataclass(slots=True)
class _Taste:
    artist: Artist
    found: float
    strength: float
    half_life: float
    loved: frozenset[str]

    def on(self, day: float) -> float:
        return float(self.strength * 0.5 ** ((day - self.found) / self.half_life))


@dataclass(slots=True)
class Listener:
    """A person with tastes that change; ``listen`` tells their plays in the order in which they ended."""

    rng: Random
    artists: list[Artist] = field(init=False)
    podcasts: list[tuple[Track, ...]] = field(init=False)
    _tastes: list[_Taste] = field(init=False, default_factory=list)
    _unknown: list[Artist] = field(init=False)
    _playlists: dict[str, list[Track]] = field(init=False, default_factory=dict)
    _episode: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.artists = invent_artists(self.rng, 320)
        self.podcasts = invent_podcasts(self.rng, 80)
        self._unknown = list(self.artists)
        self.rng.shuffle(self._unknown)
        self._episode = [0] * len(self.podcasts)
        for _ in range(25):
            self._discover(0.0)

    def listen(self, plays: int, first_day: date, days: int) -> Iterator[SimulatedPlay]:
        """Exactly ``plays`` plays over ``days`` days from ``first_day``; the last may end after midnight."""
        left = plays
        for day in range(days):
            if self.rng.random() < 0.10:
                self._discover(float(day))
            if day % 14 == 0:
                self._renew_playlists(float(day))
            share = left / (days - day)
            quota = (
                left if day == days - 1 else min(left, round(share * self.rng.triangular(0.25, 1.75, 1.0)))
            )
            left -= quota
            yield from self._day(first_day + timedelta(days=day), float(day), quota)

    def _day(self, when: date, day: float, quota: int) -> Iterator[SimulatedPlay]:
        weekend = when.weekday() >= 5
        hours = (10.5, 15.0, 20.5, 23.2) if weekend else (7.4, 10.0, 18.2, 21.5, 23.4)
        clock = datetime.combine(when, time(), UTC)
        sessions = max(1, min(len(hours), round(quota / 16)))
        chosen = sorted(self.rng.sample(hours, sessions))
        for position, hour in enumerate(chosen):
            start = datetime.combine(when, time(), UTC) + timedelta(hours=hour + self.rng.gauss(0, 0.3))
            clock = max(start, clock + timedelta(minutes=35))
            size = quota // (sessions - position)
            quota -= size
            for play in self._session(clock, day, hour, size):
                clock = play.ended
                yield play

    def _session(self, clock: datetime, day: float, hour: float, size: int) -> Iterator[SimulatedPlay]:
        offline = hour in (7.4, 18.2)
        platform = "ios" if offline or hour > 23 else "osx"
        started = "clickrow"
        while size > 0:
            shuffle, loved, tracks = self._context(day, hour)
            for track in tracks[:size]:
                heard, ended_by = self._hear(track, track.uri in loved, shuffle)
                clock += timedelta(milliseconds=heard + self.rng.randint(0, 1_500))
                yield SimulatedPlay(clock, track, heard, started, ended_by, shuffle, platform, offline)
                started = ended_by
                size -= 1
            started = "clickrow"

    def _context(self, day: float, hour: float) -> tuple[bool, frozenset[str], list[Track]]:
        """What is put on now: (shuffled?, the URIs loved within, the tracks in the order they will come)."""
        calm = hour > 21 or 9 < hour < 11
        if 7 < hour < 8 and self.rng.random() < 0.12:
            show = self.rng.randrange(len(self.podcasts))
            episode = self._episode[show]
            self._episode[show] = (episode + 1) % len(self.podcasts[show])
            return False, frozenset(), [self.podcasts[show][episode]]
        taste = self._pick_taste(day, calm)
        if self.rng.random() < 0.40:
            return False, taste.loved, list(self.rng.choice(taste.artist.albums))
        playlist = self._playlists.get(taste.artist.scene, [])
        if len(playlist) > 8 and self.rng.random() < 0.75:
            shuffle = self.rng.random() < 0.6
            start = 0 if shuffle else self.rng.randrange(len(playlist))
            tracks = playlist[start:] + playlist[:start]
            if shuffle:
                self.rng.shuffle(tracks)
            return shuffle, taste.loved, tracks[: self.rng.randint(6, 20)]
        tracks = [track for album in taste.artist.albums for track in album]
        return True, taste.loved, self.rng.sample(tracks, min(len(tracks), self.rng.randint(4, 12)))

    def _hear(self, track: Track, loved: bool, shuffle: bool) -> tuple[int, str]:
        if track.show is not None:
            done = self.rng.random() < 0.6
            return (
                track.length_ms if done else self.rng.randint(60_000, track.length_ms)
            ), "trackdone" if done else "endplay"
        skip = 0.03 if loved else 0.12
        if self.rng.random() < skip * (2.2 if shuffle else 1.0):
            return min(track.length_ms, int(self.rng.expovariate(1 / 14_000)) + 900), "fwdbtn"
        return track.length_ms, "trackdone"

    def _pick_taste(self, day: float, calm: bool) -> _Taste:
        weights = [
            t.on(day) * ((3.0 if t.artist.scene in CALM else 0.4) if calm else 1.0) for t in self._tastes
        ]
        return self.rng.choices(self._tastes, weights)[0]

    def _discover(self, day: float) -> None:
        if not self._unknown:
            return
        artist = self._unknown.pop()
        tracks = [track for album in artist.albums for track in album]
        loved = frozenset(t.uri for t in self.rng.sample(tracks, max(2, len(tracks) // 4)))
        evergreen = self.rng.random() < 0.08
        half_life = 2_500.0 if evergreen else self.rng.lognormvariate(4.4, 0.7)
        self._tastes.append(_Taste(artist, day, self.rng.lognormvariate(0.0, 0.8), half_life, loved))

    def _renew_playlists(self, day: float) -> None:
        """A playlist per scene: loved tracks of the artists that matter now; most of it stays for months."""
        for scene in SCENES:
            here = sorted((t for t in self._tastes if t.artist.scene == scene), key=lambda t: -t.on(day))[:6]
            fresh = [
                track
                for taste in here
                for album in taste.artist.albums
                for track in album
                if track.uri in taste.loved
            ]
            kept = [track for track in self._playlists.get(scene, []) if self.rng.random() < 0.85]
            known = {track.uri for track in kept}
            self._playlists[scene] = (kept + [track for track in fresh if track.uri not in known])[-32:]
