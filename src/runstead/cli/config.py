"""`runstead config …`."""

from cyclopts import App

from runstead.cli.app import AsJson
from runstead.cli.shared import profiles
from runstead.cli.shared.connection import UNSAID, Place, Reach, resolve, shown_url
from runstead.cli.shared.output import refuse, say, show
from runstead.cli.shared.render import Screen, members

config = App(name="config", help="Where commands go: profiles, and what is in effect.")


@config.command(name="path")
def config_path(*, json: AsJson = False) -> None:
    """Print where the config file is, or would be."""
    where = profiles.path()
    if json:
        show({"path": str(where), "exists": where.exists()}, json=True)
    else:
        say(str(where))


@config.command(name="show")
def show_config(*, reach: Reach = UNSAID, json: AsJson = False) -> None:
    """Print what is in effect, and who said so. Of a key it says only whether there is one."""
    place = resolve(reach)
    try:
        file = profiles.read()
    except profiles.ProfileError as trouble:
        refuse(str(trouble))
    if json:
        show(_facts(place) | {"path": str(file.path), "profiles": sorted(file.profiles)}, json=True)
        return
    told = [
        (name, f"{facts['value']} ({facts['source']})" if facts["value"] else None)
        for name, facts in _facts(place).items()
        if name != "key"
    ]
    key = f"set ({place.key.source})" if place.key.value else "not set"
    more = [("key", key), ("file", f"{file.path}{'' if file.there else ' (not there)'}")]
    say(members([*told, *more, ("profiles", ", ".join(sorted(file.profiles)) or None)], Screen.of()))


def _facts(place: Place) -> dict[str, dict[str, object]]:
    url = shown_url(place.url.value or "")
    return {
        "url": {"value": url, "source": place.url.source},
        "project": {"value": place.project.value, "source": place.project.source},
        "profile": {"value": place.profile.value, "source": place.profile.source},
        "key": {"set": place.key.value is not None, "source": place.key.source},
    }
