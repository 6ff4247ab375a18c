"""Deleted runs whose artifacts are still to be removed."""


async def test_a_deleted_run_with_artifacts_is_kept_in_mind_until_they_are_gone(driver, store):
    uids = []
    for artifacts in (b'[{"name":"a"}]', None, b'[{"name":"b"}]'):
        run = await driver.create(artifacts=artifacts)
        done = await driver.complete(run.run_id)
        await driver.delete(done.run.run_id)
        uids.append(run.uid)
    assert sorted(await store.artifact_tombstones.some(10)) == sorted([uids[0], uids[2]])
    assert len(await store.artifact_tombstones.some(1)) == 1
    await store.artifact_tombstones.drop([uids[0], "another"])
    assert await store.artifact_tombstones.some(10) == [uids[2]]
