"""From plays to recommendations, over both databases and the real Triton."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from interceptors.faults import Fault
from polyphony.errors.v1 import reason_pb2
from services.ai.explanation import Kind
from services.ai.model import State
from services.ai.ports import EVERYWHERE, Array
from services.ai.usecases.recommend import Recommendations
from services.ai.usecases.run_training import MOST_ATTEMPTS
from services.runtime.persistence import SYSTEM

NOW = datetime(2026, 11, 20, tzinfo=UTC)


async def recommend(domain: Any, user: str, **choice: Any) -> Recommendations:
    domain.as_user(user)
    version = await domain.ai.recommend.champion("acme", user)
    asked: dict[str, Any] = {
        "kind": Kind.EVERY,
        "size": 10,
        "seeds": [],
        "now": NOW,
        "seconds": 10.0,
    } | choice
    return await domain.ai.recommend(version, **asked)


async def refusal(awaitable: Any) -> str:
    with pytest.raises(Fault) as refused:
        await awaitable
    return refused.value.name


async def test_a_training_makes_a_champion_whose_answers_cite_the_plays(domain: Any) -> None:
    assert await refusal(recommend(domain, "ada")) == "MODEL_NOT_TRAINED"
    training = await domain.train("ada")
    assert (training.state, training.failure_message) == (State.SUCCEEDED, "")
    assert (training.progress, training.plays_read) == (1.0, len(domain.plays.history))
    answer = await recommend(domain, "ada")
    assert answer.version.name == training.version
    assert {item.kind for item in answer.items} == {Kind.GOES_WELL_AFTER, Kind.LOVED_AND_FORGOTTEN}

    heard = {
        (play.track.key, int(play.ended.timestamp())) for play in domain.plays.history if not play.skipped
    }
    for kind in (Kind.GOES_WELL_AFTER, Kind.LOVED_AND_FORGOTTEN):
        items = [item for item in answer.items if item.kind == kind]
        assert 0 < len(items) <= 10
        assert all(a.score >= b.score for a, b in pairwise(items))
    for kind in Kind:
        artists = Counter(item.track.artist for item in answer.items if item.kind == kind)
        assert max(artists.values(), default=0) <= 2
    for item in answer.items:
        assert sum(cause.score for cause in item.causes) == item.score
        assert item.reason.endswith(".")
        for cause in item.causes:
            assert cause.evidence
            for evidence in cause.evidence:
                assert (item.track.key, int(evidence.item.timestamp())) in heard
                if item.kind == Kind.GOES_WELL_AFTER:
                    assert evidence.cause is not None
                    assert (cause.track.key, int(evidence.cause.timestamp())) in heard
                    assert abs(evidence.cause - evidence.item) < timedelta(hours=4)


async def test_seeds_are_the_causes_and_unknown_ones_are_named(domain: Any) -> None:
    await domain.train("ada")
    first = (await recommend(domain, "ada", kind=Kind.GOES_WELL_AFTER)).items[0]
    seeds = [first.causes[0].track.key, first.track.key]
    answer = await recommend(domain, "ada", kind=Kind.GOES_WELL_AFTER, seeds=seeds, size=5)
    assert len(answer.items) == 5
    assert {cause.track.key for item in answer.items for cause in item.causes} <= set(seeds)
    assert all(item.track.key not in seeds for item in answer.items)
    explained = await domain.ai.serving.explained(answer.version)
    keys = [track.key for track in explained.journal.tracks]
    for item in answer.items:
        for cause in item.causes:
            together = explained.memory.heard_together(
                keys.index(cause.track.key),
                keys.index(item.track.key),
                5,
            )
            assert len(cause.evidence) == min(5, together.times)
        strongest = max(item.causes, key=lambda cause: cause.score)
        together = explained.memory.heard_together(
            keys.index(strongest.track.key), keys.index(item.track.key), 9_999
        )
        assert f"“{strongest.track.name} – {strongest.track.artist}”" in item.reason
        assert ("once" if together.times == 1 else f"{together.times} times") in item.reason
        last = datetime.fromtimestamp(max(pair.item_ended for pair in together.pairs), UTC)
        assert f"last on {last.day} {last:%B %Y}" in item.reason
    with pytest.raises(Fault) as refused:
        await recommend(domain, "ada", seeds=[seeds[0], "spotify:track:unheard"])
    assert refused.value.name == "REQUEST_INVALID"
    assert [violation.path for violation in refused.value.fields] == ["seed_uris[1]"]


async def test_nobody_sees_the_model_of_another_person_or_tenant(domain: Any) -> None:
    training = await domain.train("ada")
    assert await refusal(recommend(domain, "bob")) == "MODEL_NOT_TRAINED"
    domain.as_user("bob")
    assert (
        await refusal(domain.ai.get_model(user="bob", model=training.version.model)) == "RESOURCE_NOT_FOUND"
    )
    assert await refusal(domain.ai.get(user="bob", training=training.id)) == "RESOURCE_NOT_FOUND"
    domain.as_user("ada", "another-tenant")
    assert (
        await refusal(domain.ai.get_model(user="ada", model=training.version.model)) == "RESOURCE_NOT_FOUND"
    )
    assert await refusal(domain.ai.recommend.champion("another-tenant", "ada")) == "MODEL_NOT_TRAINED"


async def test_versions_are_kept_and_aliases_remember_who_moved_them_and_why(domain: Any) -> None:
    first, second = await domain.train("ada"), await domain.train("ada")
    assert (first.version.number, second.version.number) == (1, 2)
    domain.as_user("ada")
    model = await domain.ai.get_model(user="ada", model=first.version.model)
    assert [version.name.number for version in model.versions] == [2, 1]
    assert model.versions[0].digest == model.versions[1].digest  # the same plays, the same bytes
    assert model.versions[0].data.consent_record == "consent-1"
    assert model.aliases == {"champion": 2}

    async def point(alias: str, version: str, etag: str = "", user: str = "ada") -> Any:
        return await domain.ai.set_alias(
            tenant="acme", user=user, model=model.id, alias=alias, version=version, actor="ada",
            comment="I liked the old one", etag=etag, answer=lambda changed: changed,
        )  # fmt: skip

    changed = await point("champion", str(first.version), etag=model.etag)
    assert changed.aliases == {"champion": 1}
    assert changed.etag != model.etag
    newest = changed.changes[0]
    assert (newest.alias, newest.version, newest.actor, newest.comment) == (
        "champion",
        1,
        "ada",
        "I liked the old one",
    )
    assert await refusal(point("champion", str(second.version), etag=model.etag)) == "ETAG_MISMATCH"
    assert (await point("champion", str(first.version))).changes == changed.changes
    assert (await recommend(domain, "ada")).version.name.number == 1
    for wrong, reason in (
        ("users/ada/models/other/versions/1", "REQUEST_INVALID"),
        ("nonsense", "REQUEST_INVALID"),
        (str(first.version).replace("versions/1", "versions/9"), "RESOURCE_NOT_FOUND"),
        (str(first.version).replace("versions/1", "versions/" + "9" * 30), "REQUEST_INVALID"),
    ):
        assert await refusal(point("champion", wrong)) == reason
    removed = await point("champion", "")
    assert removed.aliases == {}
    assert await refusal(recommend(domain, "ada")) == "MODEL_NOT_TRAINED"
    page = await domain.ai.list_models(user="ada", size=1, token="")
    assert [listed.id for listed in page.models] == [model.id]
    assert page.next_page_token == ""


async def test_infer_passes_tensors_through_and_holds_them_to_the_signature(domain: Any) -> None:
    training = await domain.train("ada")
    domain.as_user("ada")

    def tensors(**changes: Any) -> list[Array]:
        given = {
            "seeds": np.array([0, 1]), "weights": np.array([1, 0.5], np.float32), "exclude": np.array([5]),
            "now": np.array([3], np.float32), "k": np.array([7]),
        } | changes  # fmt: skip
        kinds = {"int64": "INT64", "float32": "FP32", "float64": "FP64"}
        return [
            Array(n, kinds[str(v.dtype)], v.shape, v.tobytes()) for n, v in given.items() if v is not None
        ]

    async def infer(inputs: list[Array], outputs: tuple[str, ...] = (), alias: str = "") -> Any:
        return await domain.ai.infer(
            tenant="acme",
            user="ada",
            model=training.version.model,
            alias=alias,
            inputs=inputs,
            outputs=outputs,
            seconds=10.0,
        )

    version, outputs = await infer(tensors())
    assert version.name == training.version
    assert list(outputs) == [tensor.name for tensor in version.outputs]
    assert outputs["contributions"].shape == (7, 2)
    _, some = await infer(tensors(), ("scores", "items"))
    assert list(some) == ["scores", "items"]
    for inputs in (
        tensors(k=None),
        [*tensors(), tensors()[0]],
        tensors(k=np.array([7.0])),
        tensors(k=np.array([[7]])),
        tensors(k=np.array([7, 7])),
        tensors(seeds=np.arange(257), weights=np.ones(257, np.float32)),
        tensors(seeds=np.array([], np.int64)),
        [*tensors()[:-1], Array("k", "INT64", (1,), b"1234")],
        tensors(seeds=np.array([10**6]), weights=np.ones(1, np.float32)),
    ):
        assert await refusal(infer(inputs)) == "TENSOR_MISMATCH"
    assert await refusal(infer(tensors(), ("nothing",))) == "TENSOR_MISMATCH"
    assert await refusal(infer(tensors(), alias="shadow")) == "RESOURCE_NOT_FOUND"


async def test_a_version_that_triton_lost_is_loaded_again_and_idle_ones_make_room(domain: Any) -> None:
    trainings = [await domain.train(user) for user in ("ada", "bob", "cyd")]
    assert len(domain.triton.present()) == 2  # the setting allows two
    assert (await recommend(domain, "ada")).version.id == trainings[0].id
    await domain.triton.unload(domain.triton.present())
    assert (await recommend(domain, "cyd")).version.id == trainings[2].id
    await domain.ai.serving.tidy()
    assert trainings[2].id in domain.triton.present()


@pytest.mark.parametrize("plays", [0, 30])
async def test_too_little_history_fails_with_the_reason_and_changes_nothing(domain: Any, plays: int) -> None:
    domain.plays.history = domain.plays.history[:plays]
    training = await domain.train("ada")
    assert training.state == State.FAILED
    assert training.failure_reason == ("HISTORY_TOO_SHORT" if plays else "HISTORY_EMPTY")
    assert await refusal(recommend(domain, "ada")) == "MODEL_NOT_TRAINED"


async def test_one_training_at_a_time_and_a_cancelled_one_changes_nothing(domain: Any) -> None:
    training = await domain.start("ada")
    with pytest.raises(Fault) as refused:
        await domain.start("ada")
    assert refused.value.name == "STATE_CONFLICT"
    assert refused.value.metadata["resource"] == training.name

    async def cancel_while_reading(start: int) -> None:
        if start:
            await domain.ai.cancel(user="ada", training=training.id, answer=lambda ended: ended)

    domain.plays.between = cancel_while_reading
    assert await domain.run.once()
    ended = await domain.get(training)
    assert ended.state == State.CANCELLED
    assert domain.triton.present() == []
    assert await refusal(recommend(domain, "ada")) == "MODEL_NOT_TRAINED"
    again = await domain.ai.cancel(user="ada", training=training.id, answer=lambda same: same)
    assert again == ended


async def test_passing_faults_are_tried_again_lasting_ones_are_not(domain: Any) -> None:
    domain.plays.faults = [Fault(reason_pb2.REASON_DEPENDENCY_UNAVAILABLE)]
    training = await domain.train("ada")
    assert (training.state, training.attempts) == (State.RUNNING, 1)
    assert not await domain.run.once(), "the pause is not over"
    await asyncio.sleep(2.1)
    assert await domain.run.once()
    assert (await domain.get(training)).state == State.SUCCEEDED
    domain.plays.faults = [Fault(reason_pb2.REASON_CONSENT_WITHDRAWN)]
    assert (await domain.train("bob")).failure_reason == "CONSENT_WITHDRAWN"
    domain.plays.faults = [RuntimeError("a bug")]  # type: ignore[list-item]
    failed = await domain.train("cyd")
    assert failed.failure_reason == "INTERNAL"
    assert "a bug" not in failed.failure_message


async def test_a_withdrawal_while_the_model_learns_is_seen_before_it_is_registered(domain: Any) -> None:
    async def withdraw(start: int) -> None:
        domain.consents.fault = Fault(reason_pb2.REASON_CONSENT_WITHDRAWN)

    domain.plays.between = withdraw
    training = await domain.train("ada")
    assert training.failure_reason == "CONSENT_WITHDRAWN"
    assert domain.triton.present() == []


async def test_withdrawal_quarantines_what_was_made_before_it_and_nothing_later(domain: Any) -> None:
    first = await domain.train("ada")
    kept = await domain.train("bob")
    queued = await domain.start("ada")
    withdrawn = datetime.now(UTC)

    async def quarantine() -> int:
        return await domain.ai.quarantine(
            tenant="acme", user="ada", before=withdrawn, reason="CONSENT_WITHDRAWN", message="Withdrawn."
        )

    assert await quarantine() == 1
    assert domain.triton.present() == [kept.id]
    assert (await domain.get(queued)).failure_reason == "CONSENT_WITHDRAWN"
    assert await refusal(recommend(domain, "ada")) == "MODEL_QUARANTINED"
    assert (await recommend(domain, "bob")).version.id == kept.id
    model = await domain.ai.get_model(user="ada", model=first.version.model)
    assert model.versions[0].quarantined is not None
    assert model.aliases == {}
    assert model.changes[0].version is None
    domain.as_user("ada")
    assert await refusal(
        domain.ai.set_alias(
            tenant="acme", user="ada", model=model.id, alias="champion", version=str(first.version), actor="ada",
            comment="", etag="", answer=lambda changed: changed,
        )
    ) == "MODEL_QUARANTINED"  # fmt: skip
    assert await refusal(domain.ai.serving.explained(model.versions[0])) == "MODEL_QUARANTINED"
    artefacts = await domain.database.read(
        lambda tx: tx.connection.exec_driver_sql("SELECT version FROM artefacts").scalars().all(),
        tenant=SYSTEM,
    )
    assert artefacts == [kept.id]

    fresh = await domain.train("ada")
    assert fresh.version.number == 2
    assert await quarantine() == 1  # the event comes again, late
    assert (await recommend(domain, "ada")).version.name.number == 2


async def test_a_model_learnt_from_what_was_deleted_meanwhile_is_quarantined_however_late(
    domain: Any,
) -> None:
    """The event may come long after the training has ended: what counts is when it was asked for."""
    training = await domain.start("ada")
    deleted = datetime.now(UTC)
    assert await domain.run.once()
    assert (await domain.get(training)).state == State.SUCCEEDED
    count = await domain.ai.quarantine(
        tenant="acme", user="ada", before=deleted, reason="HISTORY_EMPTY", message="Deleted."
    )
    assert count == 1
    assert domain.triton.present() == []
    assert await refusal(recommend(domain, "ada")) == "MODEL_QUARANTINED"


async def test_a_training_that_kills_its_workers_is_given_up(domain: Any) -> None:
    training = await domain.start("ada")
    domain.run._lease = timedelta(0)
    for _ in range(MOST_ATTEMPTS):
        # Taken by a worker that dies before it can say anything more.
        assert await domain.ai.storage.write(domain.run._take, tenant=EVERYWHERE) is not None
    assert not await domain.run.once()
    ended = await domain.get(training)
    assert (ended.state, ended.failure_reason, ended.attempts) == (State.FAILED, "INTERNAL", MOST_ATTEMPTS)


async def test_a_worker_that_died_is_replaced_and_cannot_finish_later(worker: Any) -> None:
    async with worker("one") as one, worker("two") as two:
        stuck, woken, taken = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def hang(_start: int) -> None:
            stuck.set()
            await woken.wait()

        async def wait_for_the_dead(_start: int) -> None:
            taken.set()
            await done.wait()

        done = asyncio.Event()
        one.plays.between, two.plays.between = hang, wait_for_the_dead
        training = await one.start("ada")
        # Without its lease keeper a worker looks like one that has lost its machine.
        one.run._keep = lambda _training: asyncio.sleep(3600)
        first = asyncio.create_task(one.run.once())
        await stuck.wait()
        assert not await two.run.once(), "the lease still holds"
        await asyncio.sleep(0.7)
        second = asyncio.create_task(two.run.once())
        await taken.wait()
        woken.set()
        await first
        now = await two.get(training)
        assert (now.state, now.attempts, now.version) == (State.RUNNING, 2, None)
        done.set()
        await second
        ended = await two.get(training)
        assert (ended.state, ended.attempts) == (State.SUCCEEDED, 2)
        two.as_user("ada")
        model = await two.ai.get_model(user="ada", model=ended.version.model)
        assert len(model.versions) == 1


async def test_a_long_step_keeps_the_lease_and_a_stopping_worker_gives_the_training_back(worker: Any) -> None:
    async with worker("one") as one, worker("two") as two:

        async def slow(_start: int) -> None:
            await asyncio.sleep(0.5)

        one.plays.between = slow
        training = await one.start("ada")
        running = asyncio.create_task(one.run.once())
        await asyncio.sleep(1.0)
        assert not await two.run.once()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert (await two.get(training)).state == State.QUEUED
        assert await two.run.once()
        assert (await two.get(training)).state == State.SUCCEEDED


async def test_tidying_leaves_alone_what_a_training_has_loaded_and_drops_what_nobody_knows(
    domain: Any,
) -> None:
    registered = await domain.train("ada")
    version = await domain.ai.recommend.champion("acme", "ada")
    onnx = (await domain.ai.storage.read(lambda stores: stores.models.artefact(version))).onnx
    unfinished = await domain.start("bob")
    for identifier in (unfinished.id, "unknown"):
        await domain.triton.load(replace(version, id=identifier), onnx)
    await domain.ai.serving.tidy()
    assert set(domain.triton.present()) == {registered.id, unfinished.id}
