"""A student's own code becomes a text that makes the same thing again, whatever cells it came from (engine/owncode.py)."""

import sys

import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell

from cxr_helpers.engine import owncode
from cxr_helpers.engine.errors import InputError

BEGIN = """
import sys
import torch
import torch.nn.functional as F
from torch import nn
from functools import partial
from cxr_helpers.engine import owncode

def capture(**parts):
    return owncode.program(parts, sys._getframe(1))
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
"""


@pytest.fixture
def shell():
    """A real IPython, as in a notebook's kernel; `shell(cell)` runs a cell and gives its last value, or raises what it raised."""
    InteractiveShell.clear_instance()
    interpreter = InteractiveShell.instance()
    before, sys.stdout = sys.stdout, sys.__stderr__

    def run(cell: str):
        found = interpreter.run_cell(cell, store_history=True, silent=False)
        found.raise_error()
        return found.result

    run(BEGIN)
    yield run
    sys.stdout = before
    InteractiveShell.clear_instance()


def network(program: str) -> torch.nn.Module:
    return owncode.make(program)["network"]()


def test_the_program_holds_what_the_class_rests_on_and_makes_it_again(shell):
    shell(NETWORK)
    program = shell("capture(network=Net)")
    assert all(
        line in program for line in ("WIDTH = 8", "def block", "class Net", "import torch.nn as nn")
    )
    assert "capture" not in program
    assert network(program)(torch.zeros(3, 1, 28, 28)).shape == (3, 1)
    assert network(program).head.in_features == 8


def test_a_changed_global_a_changed_cell_and_a_patched_method_change_the_program(shell):
    shell(NETWORK)
    programs = [shell("capture(network=Net)")]
    shell("WIDTH = 9")
    programs.append(shell("capture(network=Net)"))
    shell(NETWORK.replace("nn.ReLU()", "nn.Tanh()"))
    programs.append(shell("capture(network=Net)"))
    shell("Net.forward = lambda self, x: self.head(self.body(x)) * 2")
    programs.append(shell("capture(network=Net)"))
    assert len(set(programs)) == 4
    torch.manual_seed(0)
    plain = network(programs[2])(torch.ones(1, 1, 28, 28))
    torch.manual_seed(0)
    assert torch.equal(network(programs[3])(torch.ones(1, 1, 28, 28)), 2 * plain)


def test_the_same_cells_run_again_give_the_same_program(shell):
    shell(NETWORK)
    first = shell("capture(network=Net, augment=[lambda x: x.flip(-1)])")
    shell(NETWORK)
    assert shell("capture(network=Net, augment=[lambda x: x.flip(-1)])") == first
    again = "def halve(n):\n    return halve(n // 2) if n > 9 else nn.Linear(n, 1)"
    programs = [(shell(again), shell("capture(network=lambda: halve(40))"))[1] for _ in range(2)]
    assert programs[0] == programs[1]


def test_expressions_are_taken_as_they_stand_in_the_call(shell):
    shell(NETWORK)
    shell("momentum = 0.9")
    program = shell(
        "capture(\n  network=lambda: Net(4),\n  optimizer=partial(torch.optim.SGD, momentum=momentum), loss=nn.MSELoss())"
    )
    parts = owncode.make(program)
    assert parts["network"]().head.in_features == 4
    assert parts["optimizer"].keywords == {"momentum": 0.9}
    assert (
        owncode.expressions(program)["optimizer"] == "partial(torch.optim.SGD, momentum=momentum)"
    )
    in_loop = (
        shell("[capture(network=lambda: Net(width)) for width in (2, 3)]")
        if sys.version_info >= (3, 12)
        else None
    )
    shell("found = []\nfor width in (2, 3):\n    found.append(capture(network=lambda: Net(width)))")
    made = [network(one).head.in_features for one in shell("found")]
    assert made == [2, 3] and in_loop in (None, shell("found"))


def test_of_two_calls_on_one_line_each_has_its_own_parts(shell):
    shell(NETWORK)
    shell("class Other(Net):\n    pass")
    programs = shell("[capture(network=Net), capture(network=Other)]")
    if sys.version_info >= (3, 11):
        assert [owncode.expressions(one)["network"] for one in programs] == ["Net", "Other"]
    assert [type(network(one)).__name__ for one in programs] == ["Net", "Other"]


MORE = """
class Other(Net):
    pass

class Loss(nn.Module):
    def __init__(self, gamma=1.0):
        super().__init__()
        self.gamma = gamma
"""
TWO = NETWORK + MORE


def test_a_loop_over_networks_trains_each_of_them(shell):
    shell(TWO)
    shell("found = []\nfor net in (Net, Other):\n    found.append(capture(network=net))")
    programs = shell("found + [capture(network=one) for one in (Net, Other)]")
    assert [type(network(one)).__name__ for one in programs] == ["Net", "Other"] * 2
    assert not any("found" in one or "capture" in one for one in programs), (
        "the loop is no part of what it trains"
    )
    with pytest.raises(owncode.Unknown, match=r"nilai loss berganti.*langsung pada panggilannya"):
        shell("for loss in (Loss(1.0), Loss(2.0)):\n    capture(network=Net, loss=loss)")


def test_a_loop_over_trainings_is_never_part_of_a_program(shell):
    shell(TWO + "from cxr_helpers.setup import Setup\nstudy = object.__new__(Setup)")
    shell("for loss in (Loss(1.0), Loss(2.0)):\n    hash(type(study))")
    with pytest.raises(owncode.Unknown, match="nilai loss berganti"):
        shell("capture(network=Net, loss=loss)")


def test_what_a_function_is_given_is_not_the_global_of_that_name(shell):
    shell(
        TWO
        + "net, loss = Other, Loss(9.0)\n\ndef both(net, loss):\n    return capture(network=net, loss=loss)"
    )
    shell("\ndef one(net, width):\n    return capture(network=lambda: net(width))")
    assert type(network(shell("one(Net, 4)"))).__name__ == "Net"
    with pytest.raises(owncode.Unknown, match="nilai loss berganti"):
        shell("both(Net, Loss(2.0))")
    shell("WIDTH = 3\nclass Fixed(Net):\n    def __init__(self):\n        super().__init__(WIDTH)")
    shell("def named(WIDTH):\n    return capture(network=Fixed)")
    shell("def twice(WIDTH):\n    return capture(network=lambda: (WIDTH, Fixed())[1])")
    assert network(shell("named(5)")).head.in_features == 3
    with pytest.raises(owncode.Unknown, match="WIDTH berarti lain"):
        shell("twice(5)")


def test_changes_in_place_belong_to_what_is_trained(shell):
    shell("net = nn.Sequential(nn.Flatten())\nnet.append(nn.Linear(784, 4))")
    shell("for _ in range(2):\n    net.append(nn.ReLU())\nnet.append(nn.Linear(4, 1))")
    assert [type(layer).__name__ for layer in owncode.make(shell("capture(network=net)"))["network"]] == [
        "Flatten", "Linear", "ReLU", "ReLU", "Linear",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "statements",
    [
        "x = x + 1",
        "with torch.no_grad():\n    x = x * 3",
        "if False:\n    x = None",
        "try:\n    x = [][0]\nexcept IndexError:\n    pass",
        "from contextlib import nullcontext\nwith nullcontext(torch.ones(3)) as x:\n    pass",
        "a, (x, b) = 1, (torch.ones(3), 2)",
        "*x, b = torch.ones(3), torch.ones(3), 2",
        "nn.init.ones_(x)",
        "from torch.nn.init import ones_\nones_(x[0:1])",
    ],
)
def test_a_value_is_made_again_however_it_was_bound_and_changed(shell, statements):
    shell("x = torch.zeros(3)")
    shell(statements)
    program = shell("def give():\n    return x\ncapture(network=give)")
    for one, other in zip(network(program), shell("x"), strict=True):
        assert torch.equal(one, other)


def test_infinity_can_be_a_constant(shell):
    shell("LOW, BOUNDS = float('-inf'), [0.0, float('inf')]")
    program = shell("def give():\n    return LOW, BOUNDS\ncapture(network=give)")
    assert network(program) == (float("-inf"), [0.0, float("inf")])


@pytest.mark.parametrize("magic", ["%%time\n", "%time "])
def test_a_timed_cell_is_read_like_any_other(shell, magic):
    shell("%%time\n" + NETWORK)
    shell(f"{magic}found = capture(network=Net)")
    assert "class Net" in shell("found")


def test_a_file_is_read_once_and_stands_in_the_program(shell, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("import torch\nfrom torch import nn\n" + NETWORK)
    shell(f"mine = owncode.load({str(file)!r})")
    program = shell("capture(network=mine.Net)")
    file.write_text("raise SystemExit")
    assert network(program).head.in_features == 8
    shell("Taken = mine.Net")
    assert network(shell("capture(network=Taken)")).head.in_features == 8


def test_what_has_no_text_is_said(shell, tmp_path, monkeypatch):
    shell(NETWORK)
    for cell, why in (
        ("d = {'network': Net()}\ncapture(**d)", "tuliskan network="),
        ("Old = Net\nclass Net(nn.Module): pass\ncapture(network=Old)", "didefinisikan ulang"),
        (
            "exec('class Hidden(nn.Module): pass')\ncapture(network=Hidden)",
            "Hidden tidak ditemukan",
        ),
    ):
        with pytest.raises(owncode.Unknown, match=why):
            shell(cell)
    (tmp_path / "other_file.py").write_text("from torch import nn\nclass Net(nn.Module): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    shell("import other_file")
    with pytest.raises(
        owncode.Unknown, match=r'bacalah berkas itu dengan study\.load\("other_file\.py"\)'
    ):
        shell("capture(network=other_file.Net)")


def test_a_file_of_ones_own_that_is_imported_is_never_left_out_of_the_text(
    shell, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "layers_of_mine.py").write_text(
        "from torch import nn\nclass Block(nn.Linear): pass\n"
    )
    (tmp_path / "folder_of_mine").mkdir()
    (tmp_path / "folder_of_mine" / "net.py").write_text(
        "from torch import nn\nclass Net(nn.Linear): pass\n"
    )
    (tmp_path / "model.py").write_text(
        "from layers_of_mine import Block\ndef make(): return Block(1, 1)\n"
    )
    shell(f"model = owncode.load({str(tmp_path / 'model.py')!r})\nimport folder_of_mine.net")
    for cell, why in (
        ("capture(network=model.make)", r"model\.py mengimpor berkas layers_of_mine\.py; satukan"),
        (
            "def make():\n    from layers_of_mine import Block\n    return Block(1, 1)\ncapture(network=make)",
            r"study\.load",
        ),
        ("capture(network=folder_of_mine.net.Net)", r"berasal dari berkas folder_of_mine"),
    ):
        with pytest.raises(owncode.Unknown, match=why):
            shell(cell)


def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    with pytest.raises(InputError, match="tidak dapat dibaca"):
        owncode.load(tmp_path / "none.py")
    (tmp_path / "broken.py").write_text("x = 1\ndef f(:\n")
    with pytest.raises(InputError, match="baris 2: bukan Python"):
        owncode.load(tmp_path / "broken.py")


def test_a_failure_in_own_code_says_the_line_and_keeps_the_way_there():
    parts = owncode.make(
        "def f(x):\n    return x.undefined_thing\n\nBAGIAN = {\n    'augment': [f],\n}\n"
    )
    with (
        pytest.raises(InputError, match=r"return x\.undefined_thing.*AttributeError") as found,
        owncode.explained(),
    ):
        parts["augment"][0](torch.zeros(1))
    assert "undefined_thing" in found.value.details and "in f" in found.value.details
