"""Workers are killed with SIGKILL in the midst of runs of twenty steps: what was kept was done once, and all end right."""

from tests.support.server import Server

from .kills import STEPS, Kills


def test_whatever_a_killed_worker_had_kept_is_not_done_again_and_every_run_ends_right(tmp_path):
    server = Server(tmp_path, tmp_path / "runstead.db").start()
    kills = Kills(tmp_path, server, release=True, concurrency=3, life_s=(0.0, 0.4))
    try:
        kills.many(20, runs=8)
        found = kills.verdict()
    finally:
        kills.close()
        server.kill()
    assert found["kills"] >= 20
    assert found["kills that hit runs"] >= 10
    assert found["attempts lost"] >= 20
    assert found["steps kept"] == STEPS * found["runs"]
