"""Workers are killed with SIGKILL during runs of twenty steps: finished steps ran once, and all outputs are right."""

from tests.support.server import Server

from .kills import STEPS, Kills


def test_finished_steps_of_killed_workers_do_not_run_again_and_every_output_is_right(tmp_path):
    server = Server(tmp_path, tmp_path / "runstead.db").start()
    kills = Kills(tmp_path, server, release=True, concurrency=3, life_s=(0.0, 0.4))
    try:
        kills.run(20, runs=8)
        found = kills.check()
    finally:
        kills.close()
        server.kill()
    assert found["kills"] >= 20
    assert found["kills that hit runs"] >= 10
    assert found["attempts lost"] >= 20
    assert found["steps finished"] == STEPS * found["runs"]
