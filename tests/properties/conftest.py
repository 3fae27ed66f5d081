"""The folder's own profiles, for where it is installed without the rest of the tests."""

from . import profiles

profiles.load()
