"""Device strings as the export writes them."""

from __future__ import annotations

import pytest

from services.spotify.adapters.export.record import platform_of
from services.spotify.model import Platform


@pytest.mark.parametrize(
    ("device", "kind"),
    [
        ("Android OS 4.4.2 API 19 (LGE, LG-D802)", Platform.MOBILE),
        ("iOS 9.3.1 (iPhone7,2)", Platform.MOBILE),
        ("ios", Platform.MOBILE),
        ("OS X 10.11.4 [x86 8]", Platform.DESKTOP),
        ("Windows 7 (6.1.7601; x64; SP1; S)", Platform.DESKTOP),
        ("Linux [x86-64 0]", Platform.DESKTOP),
        ("web_player windows 10;chrome 80.0.3987.149;desktop", Platform.WEB),
        ("Partner sonos_ppc Sonos;Play1", Platform.SPEAKER),
        ("Partner google cast_tv;Chromecast;;", Platform.TV),
        ("Partner android_tv Sony;BRAVIA;;", Platform.TV),
        ("Partner sony_ps4 Sony;PS4;;", Platform.CONSOLE),
        ("Partner spotify_garmin Garmin", Platform.WEARABLE),
        ("", Platform.UNKNOWN),
        ("not_applicable", Platform.UNKNOWN),
    ],
)
def test_the_class_of_a_device(device: str, kind: Platform) -> None:
    assert platform_of(device) is kind
