"""The catalogue: every purpose a person is asked about, and each notice they were ever shown for it.

This is data. A notice is never edited once it was shown to somebody: a new wording is a new version at the
end of its list, and everybody who agreed to an older one is asked again. The English of the newest version
is the wording that the contract itself carries for the purpose.
"""

from __future__ import annotations

from services.compliance.model import Catalogue, Notice, Wording

CATALOGUE = Catalogue(
    Notice(
        purpose="import-history",
        version=1,
        wordings={
            "en": Wording(
                "Import my listening history",
                "We read the export that Spotify gave you and keep what you played, when and for how long. "
                "Your IP addresses and devices' user agents in it are thrown away unread.",
            ),
            "fr": Wording(
                "Importer mon historique d'écoute",
                "Nous lisons l'export que Spotify vous a remis et gardons ce que vous avez écouté, quand et "
                "combien de temps. Les adresses IP et les identifiants d'appareils qu'il contient sont jetés "
                "sans être lus.",
            ),
        },
    ),
    Notice(
        purpose="listening-profile",
        version=1,
        wordings={
            "en": Wording(
                "Show my listening profile",
                "We count your plays to show you your hours, favourite artists, tracks and albums, "
                "and your habits over the day and the year.",
            ),
            "fr": Wording(
                "Afficher mon profil d'écoute",
                "Nous comptons vos écoutes pour vous montrer vos heures, vos artistes, titres et albums "
                "préférés, et vos habitudes au fil de la journée et de l'année.",
            ),
        },
    ),
    Notice(
        purpose="personalised-recommendations",
        version=1,
        wordings={
            "en": Wording(
                "Recommend music to me",
                "We train a small model on your plays alone, use it to recommend music to you alone, "
                "and tell you for each result which of your plays led to it.",
            ),
            "fr": Wording(
                "Me recommander de la musique",
                "Nous entraînons un petit modèle sur vos seules écoutes, l'utilisons pour ne recommander de la "
                "musique qu'à vous, et vous disons pour chaque résultat quelles écoutes y ont conduit.",
            ),
        },
    ),
)
