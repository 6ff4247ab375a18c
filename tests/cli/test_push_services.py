"""`runstead push-services …` against a server."""


def test_services_are_listed_with_their_last_calls(cli, project_client):
    where = {"base_url": "https://example.com", "invoke_url": "https://example.com/runs"}
    made = project_client.push_services.register("scribe", "one", **where).service
    assert made.id in cli("push-services", "list").out
    (listed,) = cli("push-services", "list", "--json").json
    assert (listed["service_name"], listed["last_success_at"], listed["last_error"]) == ("scribe", None, None)
