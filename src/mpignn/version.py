"""Which version of the program this is, and of the packages that it uses."""

from importlib import metadata


def version(package: str = "mpignn") -> str:
    """The version of an installed package; ours may also be a source tree that is not installed.  Not collective."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
