import ast
import tomllib

import chappie
from tests.architecture.syntax import ROOT, modules

LINES_MAX = 600


def test_every_module_says_what_lives_there() -> None:
    silent = [module.name for module in modules() if not ast.get_docstring(module.tree)]
    assert silent == []


def test_no_module_outgrows_one_idea() -> None:
    long = {
        module.name: lines
        for module in modules()
        if (lines := len(module.text.splitlines())) > LINES_MAX
    }
    assert long == {}


def test_the_package_and_its_metadata_name_the_same_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert chappie.__version__ == project["version"]


def test_the_licence_is_the_whole_text() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
