"""All bounds. The name of a bound ends with its unit. Callers import this package, and read its members."""

from .requests import *  # noqa: F403
from .subjects import *  # noqa: F403
from .work import *  # noqa: F403
