"""Listings page through everything once, and a token is worth nothing where it was not made."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select

from interceptors.faults import Fault
from polyphony.errors.v1 import reason_pb2
from services.runtime.persistence import Database, Page
from tests.fixtures.shelf import Disc

START = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
async def listed(database: Database) -> Database:
    """Eleven discs with ties in both sort keys."""
    rows = [
        {"id": f"d{n:02}", "plays": n % 3, "bought": START + timedelta(microseconds=n // 4)}
        for n in range(11)
    ]
    await database.write(lambda tx: tx.bulk_insert(Disc, rows), tenant="a")
    return database


async def page(database: Database, token: str = "", **changes: Any) -> Page[Disc]:
    how: dict[str, Any] = {"by": [Disc.id], "size": 3, "bound": ("users/u",), "method": "/s/List", **changes}
    tenant = how.pop("tenant", "a")
    return await database.read(lambda tx: tx.page(select(Disc), token=token, **how), tenant=tenant)


@pytest.mark.parametrize("size", [1, 3, 10, 11, 12])
@pytest.mark.parametrize(
    "by",
    [
        [Disc.id],
        [Disc.id.desc()],
        [Disc.plays, Disc.id],
        [Disc.plays.desc(), Disc.id],
        [Disc.bought.desc(), Disc.plays, Disc.id.desc()],
    ],
    ids=lambda by: " ".join(str(key) for key in by),
)
async def test_every_row_comes_once_and_in_order(listed: Database, by: Any, size: int) -> None:
    seen: list[str] = []
    token = ""
    while True:
        found = await page(listed, token, by=by, size=size)
        seen += [disc.id for disc in found.items]
        token = found.next_page_token
        if not token:
            break
        assert len(found.items) == size
    expected = await listed.read(
        lambda tx: list(tx.session.scalars(select(Disc.id).order_by(*by))), tenant="a"
    )
    assert seen == expected


async def test_paging_survives_changes_between_pages(listed: Database) -> None:
    first = await page(listed)
    await listed.write(
        lambda tx: tx.session.execute(delete(Disc).where(Disc.id.in_(["d02", "d03"]))), tenant="a"
    )
    second = await page(listed, first.next_page_token)
    assert [disc.id for disc in second.items] == ["d04", "d05", "d06"]


@pytest.mark.parametrize(
    "changes",
    [
        {"tenant": "b"},
        {"method": "/s/Other"},
        {"bound": ("users/v",)},
        {"bound": ()},
        {"bound": ("users/u", "")},
        {"by": [Disc.plays, Disc.id]},
    ],
    ids=str,
)
async def test_a_token_is_bound_to_its_listing(listed: Database, changes: Any) -> None:
    token = (await page(listed)).next_page_token
    with pytest.raises(Fault) as caught:
        await page(listed, token, **changes)
    assert caught.value.reason == reason_pb2.REASON_PAGE_TOKEN_INVALID
    assert [violation.path for violation in caught.value.fields] == ["page_token"]


async def test_a_token_is_good_in_another_process_with_the_same_key(listed: Database, make: Any) -> None:
    other = make()
    await other.start()
    found = await page(other, (await page(listed)).next_page_token)
    assert [disc.id for disc in found.items] == ["d03", "d04", "d05"]
