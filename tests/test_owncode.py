"""A student's own code becomes a text that makes the same thing again, wherever it was written."""

import pytest
import torch

from cxr_helpers.engine import owncode
from cxr_helpers.engine.errors import InputError, explained

BEGIN = """
import sys
import torch
import torch.nn.functional as F
from torch import nn
from functools import partial
from cxr_helpers.engine import owncode

def capture(**parts):
    return owncode.program(parts, sys._getframe(1))[0]
"""
NETWORK = """
WIDTH = 8

def block(n):
    return nn.Sequential(nn.Flatten(), nn.Linear(784, n), nn.ReLU())

class Net(nn.Module):
    def __init__(self, width=WIDTH):
        super().__init__()
        self.body, self.head = block(width), nn.Linear(width, 1)

    def forward(self, x):
        return self.head(self.body(x))

class Other(Net):
    pass
"""


@pytest.fixture
def shell(shell):
    shell(BEGIN)
    return shell


def network(program: str) -> torch.nn.Module:
    return owncode.namespace(program)["BAGIAN"]["network"]()


def kinds(programs: list[str]) -> list[str]:
    return [type(network(one)).__name__ for one in programs]


def test_the_program_follows_every_change_of_what_it_rests_on(shell):
    shell(NETWORK)
    programs = [shell("capture(network=Net)")]
    shell("WIDTH = 9")
    programs.append(shell("capture(network=Net)"))
    shell("Net.forward = lambda self, x: self.head(self.body(x)) * 2")
    programs.append(shell("capture(network=Net)"))
    assert [network(one).head.in_features for one in programs] == [8, 9, 9]
    answers = []
    for program in programs[1:]:
        torch.manual_seed(0)
        answers.append(network(program)(torch.ones(1, 1, 28, 28)))
    assert torch.equal(answers[1], 2 * answers[0])


def test_the_same_cells_run_again_give_the_same_program(shell):
    recursive = "def halve(n):\n    return halve(n // 2) if n > 9 else nn.Linear(n, 1)"
    call = "capture(network=lambda: (Net, halve(40)), augment=[lambda x: x.flip(-1)])"
    programs = [(shell(NETWORK), shell(recursive), shell(call))[-1] for _ in range(2)]
    assert programs[0] == programs[1]


def test_expressions_are_taken_as_they_stand_in_the_call(shell):
    shell(NETWORK)
    shell("momentum = 0.9")
    sgd = "partial(torch.optim.SGD, momentum=momentum)"
    program = shell(f"capture(\n  network=lambda: Net(4),\n  optimizer={sgd}, loss=nn.MSELoss())")
    parts = owncode.namespace(program)["BAGIAN"]
    assert parts["network"]().head.in_features == 4
    assert parts["optimizer"].keywords == {"momentum": 0.9}
    shown = owncode.expressions(program)["optimizer"]
    assert shown == sgd.replace("=momentum", "=0.9"), "a name says nothing in a report"


def test_of_two_calls_on_one_line_and_in_a_loop_each_has_its_own_parts(shell):
    shell(NETWORK)
    assert kinds(shell("[capture(network=Net), capture(network=Other)]")) == ["Net", "Other"]
    shell("found = []\nfor net in (Net, Other):\n    found.append(capture(network=net))")
    programs = shell("found + [capture(network=one) for one in (Net, Other)]")
    assert kinds(programs) == ["Net", "Other"] * 2
    assert not any("found" in one or "capture" in one for one in programs), "no loop is in it"


def test_what_a_function_is_given_is_not_the_global_of_that_name(shell):
    shell(NETWORK + "net, loss = Other, nn.HuberLoss(delta=9.0)")
    shell("def both(net, loss):\n    return capture(network=net, loss=loss)")
    shell("def one(net, width):\n    return capture(network=lambda: net(width))")
    assert kinds([shell("one(Net, 4)")]) == ["Net"]
    with pytest.raises(owncode.Unknown, match="loss"):
        shell("both(Net, nn.HuberLoss(delta=2.0))")


def test_a_timed_cell_is_read_like_any_other(shell):
    shell("%%time\n" + NETWORK)
    shell("%time found = capture(network=Net)")
    assert kinds([shell("found")]) == ["Net"]


def test_a_file_is_read_once_and_stands_in_the_program_or_its_wrong_line_is_named(shell, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("import torch\nfrom torch import nn\n" + NETWORK)
    shell(f"mine = owncode.load({str(file)!r})")
    program = shell("capture(network=mine.Net)")
    file.write_text("raise SystemExit")
    shell("Taken = mine.Net")
    assert kinds([program, shell("capture(network=Taken)")]) == ["Net", "Net"]
    file.write_text("x = 1\ndef f(:\n")
    with pytest.raises(InputError, match=r"mine\.py .*: periksa baris 2"):
        owncode.load(file)


def test_what_has_no_text_or_stands_in_an_imported_file_is_said(shell, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    text = "from torch import nn\nclass Net(nn.Linear): pass\n"
    (tmp_path / "layers_of_mine.py").write_text(text)
    shell(f"{NETWORK}\nimport layers_of_mine")
    for cell, why in (
        ("d = {'network': Net()}\ncapture(**d)", "tuliskan network="),
        ("exec('class Hidden(nn.Module): pass')\ncapture(network=Hidden)", "Hidden"),
        ("capture(network=layers_of_mine.Net)", r'study\.load\("layers_of_mine\.py"\)'),
    ):
        with pytest.raises(owncode.Unknown, match=why):
            shell(cell)


def test_a_failure_in_own_code_says_the_line_and_keeps_the_way_there():
    made = owncode.namespace("def f(x):\n    return x.undefined\n")
    said = r"return x\.undefined.*AttributeError"
    with pytest.raises(InputError, match=said) as found, explained():
        made["f"](torch.zeros(1))
    assert "undefined" in found.value.details and "in f" in found.value.details
