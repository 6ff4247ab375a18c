"""`runstead config …`."""

from cyclopts import App

from runstead.cli.shared import profiles
from runstead.cli.shared.command import Output, one_line
from runstead.cli.shared.connection import NO_OPTIONS, Destination, ServerOptions, resolve, shown_url
from runstead.cli.shared.options import AsJson
from runstead.cli.shared.output import fail
from runstead.cli.shared.render import Screen, details

config = App(name="config", help="Show the config file and the effective connection.")


@config.command(name="path")
def config_path(*, json: AsJson = False) -> None:
    """Print the path of the config file."""
    where = profiles.path()
    one_line({"path": str(where), "exists": where.exists()}, str(where)).show(json=json)


@config.command(name="show")
def show_config(*, server: ServerOptions = NO_OPTIONS, json: AsJson = False) -> None:
    """Print the effective connection settings and their sources. Keys are not shown."""
    destination = resolve(server)
    try:
        file = profiles.read()
    except profiles.ProfileError as error:
        fail(str(error))
    settings = [
        (name, f"{facts['value']} ({facts['source']})" if facts["value"] else None)
        for name, facts in _facts(destination).items()
        if name != "key"
    ]
    key = f"set ({destination.key.source})" if destination.key.value else "not set"
    more = [("key", key), ("file", f"{file.path}{'' if file.exists else ' (does not exist)'}")]
    text = details([*settings, *more, ("profiles", ", ".join(sorted(file.profiles)) or None)], Screen.of())
    value = _facts(destination) | {"path": str(file.path), "profiles": sorted(file.profiles)}
    Output(value, text).show(json=json)


def _facts(destination: Destination) -> dict[str, dict[str, object]]:
    url = shown_url(destination.url.value or "")
    return {
        "url": {"value": url, "source": destination.url.source},
        "project": {"value": destination.project.value, "source": destination.project.source},
        "profile": {"value": destination.profile.value, "source": destination.profile.source},
        "key": {"set": destination.key.value is not None, "source": destination.key.source},
    }
