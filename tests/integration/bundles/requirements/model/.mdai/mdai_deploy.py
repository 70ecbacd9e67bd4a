"""Asserts that each kind of requirement was installed, from where it was asked for."""

from importlib.util import find_spec

import colorama
import iniconfig
import mdai_git_probe
import mdai_links_probe
import mdai_local_probe
import toolz

assert toolz.__version__ == "0.12.1"
assert colorama.__version__ == "0.4.6"
assert iniconfig.__file__
assert mdai_links_probe.ORIGIN == "links page"
assert mdai_git_probe.ORIGIN == "git 2.0"
assert mdai_local_probe.ORIGIN == "local wheel"
assert find_spec("not_named") is None, "a wheel that no line names was installed"


class MDAIModel:
    def predict(self, data):
        return []
