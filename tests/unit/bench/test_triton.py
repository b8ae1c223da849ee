"""The inference benchmark: its table is made of medians, and its model is one that the ai domain accepts."""

import asyncio
from pathlib import Path

from bench import triton, trivial_model
from bench.h2load import Load
from bench.triton import Asked
from cli.mesh.settings import MeshSettings
from services.ai.adapters.sql import SqlStorage
from services.ai.model import CHAMPION
from services.ai.wiring import MIGRATIONS
from services.runtime.keyring import Keyring
from services.runtime.persistence import Database


def test_the_table_holds_medians_ratio_and_what_is_added() -> None:
    def rounds(*rates: float) -> list[Asked]:
        return [Asked(Load(rate, 1_000 / rate, 2_000 / rate, 10), 500.0, 7.0) for rate in rates]

    table = triton.report(
        {
            16: {
                triton.CLIENT: rounds(200, 250, 4_000),
                triton.DIRECT: rounds(500, 500, 1),
                triton.SERVICE: rounds(100, 100, 100),
            }
        }
    )
    assert [row[1:] for row in table.rows] == [
        ["16", "250", "0.50", "4.00", "+2.00", "8.00", "500", "7"],
        ["16", "500", "1.00", "2.00", "+0.00", "4.00", "500", "7"],
        ["16", "100", "0.20", "10.00", "+8.00", "20.00", "500", "7"],
    ]
    assert "no more than 2,000 calls" in table.notes[0]


async def test_the_model_is_the_champion_of_who_asked(tmp_path: Path) -> None:
    home = tmp_path / "home"
    await asyncio.to_thread(_lay_out, home)
    database = Database(
        f"sqlite:///{home}/data/ai.db",
        domain="ai",
        keyring=Keyring.from_file(home / "keys" / "ai.kek"),
        migrations=MIGRATIONS,
    )
    await database.start()
    name, loaded_as = await trivial_model.register(MeshSettings(home=home), "acme", "alice")
    version = await SqlStorage(database).read(
        lambda stores: stores.models.meant("alice", CHAMPION), tenant="acme"
    )
    await database.close()
    assert version is not None
    assert str(version.name).startswith(name)
    assert loaded_as.endswith(version.id)
    assert version.quarantined is None


def _lay_out(home: Path) -> None:
    (home / "keys").mkdir(parents=True, mode=0o700)
    Keyring.create_file(home / "keys" / "ai.kek")
