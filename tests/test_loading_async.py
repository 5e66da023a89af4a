"""Loading on an event loop: one load for threads and tasks, and cancellation at every step."""

import asyncio
import threading
from asyncio import CancelledError

import pytest
import rocksdict  # noqa: F401  left out where it is not installed
from chained import Loader, chain, has, over, run, seed, tiers_of
from flying import Task

from frys_cache import MISSING, ConfigurationError, DeadlockError
from frys_cache.tiers.face import ASYNC


class Failing(Exception):
    """What a loader raises."""


def test_many_tasks_that_miss_one_key_load_it_once(tmp_path):
    """Catch a stampede of tasks, or a thread for each of them."""
    calls = []

    async def load(key):
        calls.append(key)
        await asyncio.sleep(0.05)
        return "value"

    with chain("u", tmp_path, loader=load) as (cache, tiers):
        read = cache.manager.read

        async def main():
            threads = threading.active_count()
            tasks = [asyncio.create_task(read(ASYNC, cache, "a")) for _ in range(5_000)]
            assert set(await asyncio.gather(*tasks)) == {"value"}
            assert threading.active_count() <= threads + 1

        run(main())
        assert calls == ["a"]
        assert cache["a"] == "value"
        assert has(tiers[0], "a") == "value"


@pytest.mark.parametrize("kind", ["get", "bulk"])
def test_threads_and_tasks_share_a_load(tmp_path, kind):
    """Catch two loads of one key, by a thread and by a task."""
    bulk = kind == "bulk"
    for leader in ("thread", "task"):
        entered, release, calls = threading.Event(), threading.Event(), []

        def load(key, entered=entered, release=release, calls=calls):
            calls.append(key)
            entered.set()
            assert release.wait(20)
            return dict.fromkeys(key, "value") if bulk else "value"

        with chain("u", tmp_path, **{"loader_many" if bulk else "loader": load}) as (cache, _):
            manager = cache.manager

            async def read(cache=cache, manager=manager):
                if bulk:
                    return (await manager.read_many(ASYNC, cache, ["a"]))[0]
                return await manager.read(ASYNC, cache, "a")

            async def main(cache=cache, leader=leader, entered=entered, release=release):
                threads = [Task(cache.get, "a")] if leader == "thread" else []
                tasks = [asyncio.create_task(read()) for _ in range(3)]
                while not entered.is_set():
                    await asyncio.sleep(0.001)
                threads += [Task(cache.get, "a") for _ in range(3)]
                tasks += [asyncio.create_task(read()) for _ in range(3)]
                await asyncio.sleep(0.02)
                release.set()
                assert set(await asyncio.gather(*tasks)) == {"value"}
                return [await asyncio.to_thread(thread.outcome) for thread in threads]

            assert set(run(main())) == {"value"}
            assert len(calls) == 1


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_loader_of_either_kind_is_called_as_it_should_be(tmp_path, kind):
    """Catch a plain loader that holds up the loop, or an async one whose coroutine is a value."""
    where = []

    def plain(key):
        where.append(threading.get_ident())
        return MISSING if key == "absent" else ("loaded", key)

    async def slow(key):
        return plain(key)

    def plain_many(keys):
        return {key: plain(key) for key in keys if key != "absent"}

    async def slow_many(keys):
        return plain_many(keys)

    loaders = (plain, plain_many) if kind == "plain" else (slow, slow_many)
    with chain("u", tmp_path, loader=loaders[0], loader_many=loaders[1]) as (cache, tiers):
        manager = cache.manager

        async def main():
            assert await manager.read(ASYNC, cache, "a") == ("loaded", "a")
            assert await manager.read(ASYNC, cache, "absent") is MISSING
            found = await manager.read_many(ASYNC, cache, ["a", "absent", "b", "c"])
            assert found == [("loaded", "a"), MISSING, ("loaded", "b"), ("loaded", "c")]
            made = await manager.get_or_set(ASYNC, cache, "d", lambda: "made")
            return made, threading.get_ident()

        made, loop = run(main())
        assert made == "made"
        assert (loop in where) == (kind == "async")
        expected = [*(("loaded", key) for key in "abc"), "made"]
        assert [has(tiers[0], key) for key in "abcd"] == expected
        if kind == "async":
            with pytest.raises(ConfigurationError, match="async"):
                cache["never"]


def test_error_reaches_all_tasks_and_ring_is_told(tmp_path):
    """Catch a task that waits for ever, for another or for itself."""

    async def load(key):
        await asyncio.sleep(0.01)
        if key == "ring":
            return await manager.read(ASYNC, cache, "ring")
        raise Failing(key)

    def plain(key):
        return cache["ring"] if key == "ring" else key

    for loader in (load, plain):
        with chain("u", tmp_path, loader=loader) as (cache, _):
            manager = cache.manager

            async def main(loader=loader, cache=cache, manager=manager):
                with pytest.raises(DeadlockError):
                    await manager.read(ASYNC, cache, "ring")
                if loader is plain:
                    return
                reads = [manager.read(ASYNC, cache, "a") for _ in range(10)]
                found = await asyncio.gather(*reads, return_exceptions=True)
                assert [type(error) for error in found] == [Failing] * 10
                assert manager.load_failures == 2

            run(main())


def test_stale_value_is_given_by_tasks_too(tmp_path):
    """Catch a task that waits for a reload, or several reloads."""
    calls = []

    async def load(key):
        calls.append(key)
        await asyncio.sleep(0.02)
        return "new"

    with chain("u", tmp_path, loader=load, stale_ttl=50, memory={"ttl": 0.02}) as (cache, _):
        manager = cache.manager
        cache["a"] = "old"

        async def main():
            await asyncio.sleep(0.025)
            reads = [manager.read(ASYNC, cache, "a") for _ in range(5)]
            assert set(await asyncio.gather(*reads)) == {"old"}
            assert await manager.read_many(ASYNC, cache, ["a"]) == ["old"]
            await asyncio.sleep(0.03)
            return await manager.read(ASYNC, cache, "a")

        assert run(main()) == "new"
        assert len(calls) == 1


# ---- C-25: cancellation at every step ------------------------------------------------------------


async def stepped(coro, steps):
    """Step a coroutine so many times and cancel it there; whether it had ended before."""
    for _ in range(steps):
        try:
            future = coro.send(None)
        except StopIteration:
            return True
        if future is None:
            await asyncio.sleep(0)
            continue
        future._asyncio_future_blocking = False
        await asyncio.wait([future], timeout=20)
        assert future.done()
    try:
        coro.throw(CancelledError())
    except (CancelledError, StopIteration):
        return False
    finally:
        coro.close()
    pytest.fail("it went on")


class Rows(dict):
    """A backend whose methods suspend."""

    async def load(self, key):
        await asyncio.sleep(0)
        return self.get(key, MISSING)

    async def store(self, key, value):
        await asyncio.sleep(0)
        self[key] = value
        await asyncio.sleep(0)

    async def delete(self, key):
        await asyncio.sleep(0)
        self.pop(key, None)


OPERATIONS = {
    "read": lambda manager, cache: manager.read(ASYNC, cache, "a"),
    "read what is below": lambda manager, cache: manager.read(ASYNC, cache, "low"),
    "read_many": lambda manager, cache: manager.read_many(ASYNC, cache, ["a", "low", "b"]),
    "write": lambda manager, cache: manager.write(ASYNC, cache, "a", 1, None),
    "put_many": lambda manager, cache: manager.put_many(ASYNC, cache, [("a", 1), ("b", 2)], None),
    "remove": lambda manager, cache: manager.remove(ASYNC, cache, ["low", "a"]),
    "get_or_set": lambda manager, cache: manager.get_or_set(ASYNC, cache, "a", lambda: "made"),
    "add": lambda manager, cache: manager.add(ASYNC, cache, "a", 1, None, 1.0),
    "incr": lambda manager, cache: manager.incr(ASYNC, cache, "n", 1),
    "pop": lambda manager, cache: manager.pop(ASYNC, cache, "low"),
    "touch": lambda manager, cache: manager.touch(ASYNC, cache, "low", 50),
    "clear": lambda manager, cache: manager.clear(ASYNC, cache),
    "contains": lambda manager, cache: manager.contains(ASYNC, cache, "low"),
}


@pytest.mark.parametrize("source", ["nothing", "loader", "bulk", "stale", "timeout", "backend"])
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=list(OPERATIONS))
def test_cancellation_at_any_step_leaves_nothing_behind(tmp_path, operation, source):
    """Catch a flight, a turn or a probe that is held for ever by a task that has gone."""

    async def load(key):
        await asyncio.sleep(0)
        return ("loaded", key)

    async def load_many(keys):
        await asyncio.sleep(0)
        return {key: ("loaded", key) for key in keys}

    rules = {
        "nothing": {},
        "loader": {"loader": load},
        "bulk": {"loader_many": load_many},
        "stale": {"loader": load, "stale_ttl": 50, "soft_timeout": 5},
        "timeout": {"loader": load, "loader_timeout": 5},
        "backend": {"backend": Rows()},
    }[source]

    async def main(probes):
        ended = False
        steps = 0
        while not ended:
            tiers = tiers_of("ul", tmp_path)
            for tier in tiers:
                tier.tier.delay = 1e-6  # each call suspends
            cache = over(tiers, **rules)
            manager = cache.manager
            seed(tiers[1], "low", 5)
            if source == "stale":
                wall = tiers[1].tier.wall()
                seed(tiers[1], "a", "old", 50, fresh_ms=wall - 1000)
            if probes:
                for level in manager._levels:
                    for _ in range(5):
                        level.failed(ConnectionError("down"))
                    assert level.breaker.state == "open"
                    level.breaker._until = 0.0
            ended = await stepped(operation(manager, cache), steps)
            steps += 1
            assert steps < 200
            # What was called goes on, to its end.
            for _ in range(2_000):
                if not cache._flights._under_way and not manager._turns._flights._under_way:
                    break
                await asyncio.sleep(0.001)
            assert cache._flights._under_way == {}
            assert manager._turns._flights._under_way == {}
            for level in manager._levels:
                assert not level.breaker._probing
                level.breaker._until = float("-inf")
            await asyncio.wait_for(operation(manager, cache), 10)
            await manager.write(ASYNC, cache, "later", steps, None)
            assert await asyncio.wait_for(manager.read(ASYNC, cache, "later"), 10) == steps
            cache.close()
        return steps

    for probes in (False, True):
        assert run(main(probes)) >= 3


def test_cancelled_leader_leaves_its_load_to_the_others(tmp_path):
    """Catch a load that dies with the task that asked first."""
    calls = []

    async def load(key):
        calls.append(key)
        await asyncio.sleep(0.03)
        return "value"

    with chain("u", tmp_path, loader=load) as (cache, _):
        manager = cache.manager

        async def main():
            first = asyncio.create_task(manager.read(ASYNC, cache, "a"))
            await asyncio.sleep(0.01)
            others = [asyncio.create_task(manager.read(ASYNC, cache, "a")) for _ in range(3)]
            await asyncio.sleep(0)
            first.cancel()
            with pytest.raises(CancelledError):
                await first
            assert await asyncio.gather(*others) == ["value"] * 3

        run(main())
        assert calls == ["a"]
        assert cache["a"] == "value"


def test_sync_call_on_the_loop_that_loads_loads_alone(tmp_path):
    """Catch a loop that blocks for a load which it is to run itself."""

    def load(key):
        return "value"

    loader = Loader(load)
    with chain("u", tmp_path, loader=loader) as (cache, _):
        manager = cache.manager

        async def main():
            task = asyncio.create_task(manager.read(ASYNC, cache, "a"))
            while not cache._flights._under_way:
                await asyncio.sleep(0)
            assert cache["a"] == "value"
            assert await task == "value"

        run(main())
        assert len(loader.keys) <= 2
