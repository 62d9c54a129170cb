"""What students try (notebook 05) is trained and told from the rest; what is wrong is one line."""

import json
import re
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from sklearn.linear_model import LogisticRegression
from torchvision import transforms
from torchvision.transforms import v2

from cxr_helpers import augment, data, evaluation, experiments
from cxr_helpers.engine import files, settings
from cxr_helpers.engine.errors import InputError
from cxr_helpers.experiments import Experiment, Guess, duga
from cxr_helpers.model import resolve_weights
from cxr_helpers.study import Study, open_study
from grading import again as retrained
from grading import box, submit
from tests.conftest import ROOT, made

MINE = """
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD, lr_scheduler


class Net(nn.Module):
    def __init__(self, width=8, outputs=1):
        super().__init__()
        self.conv, self.drop = nn.Conv2d(1, width, 3), nn.Dropout(0.2)
        self.fc = nn.Linear(width, outputs)

    def forward(self, x):
        return self.fc(self.drop(F.relu(self.conv(x)).mean((2, 3))))


def smoothed(z, y):
    return F.binary_cross_entropy_with_logits(z, 0.9 * y + 0.05)


def noise_both(x, y):
    return x + 0.1 * torch.randn_like(x), y
"""


class Small(Study):
    """Whose recipe takes the small CNN."""

    def config(self, **changes):
        return super().config(**{"architecture": "small_cnn", **changes})


@pytest.fixture(scope="module")
def small() -> Study:
    """A study on 48 tiny images, two epochs."""
    dataset, weights = made(), resolve_weights("random")
    where = (torch.device("cpu"), "float32", Path("build"), "sekarang", 0.0)
    return Small(dataset, dataset, weights, settings.PRESETS["smoke"], 0, *where)


@pytest.fixture(scope="module")
def mine(tmp_path_factory, small):
    path = tmp_path_factory.mktemp("mine") / "mine.py"
    path.write_text(MINE)
    return small.load(path)


def test_every_seed_starts_fresh_and_a_run_is_the_start_of_another(small, mine, store):
    first = small.train(2, network=mine.Net, lr=0.01)
    assert [run.config.seed for run in first.runs] == [0, 1]
    assert not np.array_equal(*(run.logits["val_last"] for run in first.runs))
    second = small.train(network=mine.Net, lr=1e-9, start=first)
    for name, tensor in first.runs[0].weights("best").items():
        torch.testing.assert_close(second.runs[0].weights("last")[name], tensor, atol=1e-5, rtol=0)
    assert second.runs[0].key != small.train(network=mine.Net, lr=1e-9).runs[0].key
    with pytest.raises(InputError, match="model lain"):
        small.train(network=lambda: mine.Net(4), start=first)


DRESSED = """
class Dressed(Net):
    def forward(self, x):
        {}
study.check(network=Dressed)"""
EVAL = "z = super().forward(x); return z if self.training else "
TOLD = {  # what a cell does, by the words that say it
    "requires_grad net": "def freeze(part): part.requires_grad_(False)\nnet = Net()\n"
    "freeze(net.conv)\nstudy.check(network=net)",
    "nilai other": "def scale(net): net.fc.weight.data *= 3\nother = Net(32)\nscale(other)\n"
    "study.check(network=other)",
    "langkah pengoptimal": "def still(made): made.keywords['momentum'] = 0.0\n"
    "opt = partial(SGD, momentum=0.9)\nstill(opt)\nstudy.check(network=Net, optimizer=opt)",
    "BCELoss .*pakai": "study.train(network=Net, loss=nn.BCELoss())",
    "optimizer: berikan": "study.check(network=Net, optimizer=SGD(Net().parameters()))",
    "learning_rate bukan .*maksud Anda lr": "study.train(learning_rate=0.1)",
    "\\(16, 2\\).*dua .*z\\[:, 1:\\]": "study.check(network=partial(Net, outputs=2))",
    "augment: Normalize .*preprocess=": "norm = v2.Normalize([0.5], [1])\n"
    "study.check(network=Net, augment=[norm])",
    "Normalize selalu": "both = v2.Compose([v2.RandomHorizontalFlip(), v2.Normalize([0.5], [1])])\n"
    "study.check(network=Net, augment=[both])",
    "memotong nilai": "light = v2.ColorJitter(0.3)\n"
    "study.check(network=Net, augment=[lambda x: light(x)])",
    "^preprocess: berikan": "study.check(network=Net, preprocess=[v2.Normalize([0.5], [1])])",
    "bila dalam loss": "net = Net()\ndef l1(z, y): return smoothed(z, y) + net.fc.weight.norm()\n"
    "study.check(network=Net, loss=l1)",
    "StepLR, nama=": "study.check(network=Net, schedule=lr_scheduler.StepLR)",
    "model lain, bukan Net .*fc": "torch.save({'fc.weight': torch.ones(1, 8)}, 'other.pt')\n"
    "study.check(network=Net, start='other.pt')",
    "hanya pengklasifikasi": "from sklearn.linear_model import Lasso\nstudy.check(model=Lasso())",
    "Pengoptimal melatih model lain": "net = Net()\n"
    "study.check(network=net, optimizer=lambda params: SGD(net.parameters(), 0.1))",
    "float32: hapus half": "study.check(network=lambda: Net().half())",
    "network\\(x\\)": "study.check(network=Net, step=lambda net, x, y: net(x[:4]).mean())",
    "Dihentikan": "def stopped(z, y):\n    raise KeyboardInterrupt\nparts = {'loss': stopped}\n"
    "study.train(**parts)",
    "nilai enc": "enc = Net()\nopt = SGD(enc.parameters(), lr=0.1)\n"
    "for _ in range(2):\n    enc(torch.ones(1, 1, 9, 9)).sum().backward()\n    opt.step()\n"
    "study.check(network=enc)",
    "keluaran": "net = Net()\nhook = net.register_forward_hook(lambda m, x, z: z * 2)\n"
    "study.check(network=net)",
    "nilai noise": "noise = torch.randn(9000)\n"
    "study.check(network=Net, augment=[lambda x: x + noise[len(x)]])",
    "hasil augmentasi": "rng = np.random.default_rng()\n"
    "study.check(network=Net, augment=[lambda x: x + rng.random()])",
    "acak dalam mode eval": DRESSED.format("return F.dropout(super().forward(x))"),
    "probabilitas dalam mode eval": DRESSED.format(EVAL + "z.softmax(0)[:]"),
    "tuple dalam mode eval": DRESSED.format(EVAL + "(z, z)"),
    "Model memberi NaN": DRESSED.format("return (super().forward(x) - 99).log()"),
    "calls berubah .*register_buffer": DRESSED.format(
        "self.calls = getattr(self, 'calls', 0) + 1; return super().forward(x)"
    ),
    "Gradien": DRESSED.format("return super().forward(x).detach()"),
    "ModuleList": DRESSED.format("return super().forward(x) * layers[0].weight").replace(
        "class", "layers = [nn.Linear(1, 1)]\nclass", 1
    ),
    "^Berkas bobot tiada.pt: tidak ada": "study.check(network=Net, start='tiada.pt')",
    "tidak mempunyai parameter": "study.check(network=nn.Flatten)",
    "mungkin untuk PIL": "study.check(network=Net, augment=[transforms.ToTensor()])",
    "equalize bukan untuk tensor": "from PIL.ImageOps import equalize\n"
    "study.check(network=Net, preprocess=equalize)",
    r"compare\({'nama'": "study.compare(1, 2)",
}


@pytest.mark.parametrize("words", TOLD)
def test_what_would_be_trained_otherwise_or_in_vain_is_said(
    words, small, shell, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # one cell leaves a file
    with pytest.raises(InputError, match=words) as found:
        in_cells(small, shell)(TOLD[words])
    assert "\n" not in str(found.value)


MADE = """
import numpy as np
from cxr_helpers.experiments import Experiment, run_all
def made(result):
    return result.runs[0].key and result.runs[0].info["trained_parameters"]
"""


def in_cells(small, shell):
    shell(MINE + MADE)
    names = {"study": small, "transforms": transforms, "v2": v2}
    InteractiveShell.instance().push(names)
    return shell


FINE = {
    "a head of zeros": DRESSED.replace("{}", "return super().forward(x)").replace(
        "study", "net = Dressed()\nnn.init.zeros_(net.fc.weight)\nstudy"
    ),
    "lazy layers": "study.check(network=lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(1)))",
    "frozen in loops": "net = Net()\nfor p in net.fc.parameters(): p.requires_grad = False\n"
    "body = net.conv\n_ = [p.requires_grad_(False) for p in body.parameters()]\n"
    "net.fc = nn.Linear(8, 1)\nassert made(study.train(network=net)) == 9",
    "layers by name": "def by_layer(params, network, lr):\n    network.conv.requires_grad_(False)\n"
    "    return SGD([{'params': network.fc.parameters(), 'lr': 10 * lr}], lr)\n"
    "assert made(study.train(network=Net, optimizer=by_layer)) == 9",
    "two outputs in a step": "class Two(Net):\n    def forward(self, x):\n"
    "        z = super().forward(x); return (z, -z) if self.training else z\n"
    "def both(net, x, y):\n    z, other = net(x); return smoothed(z, y) + smoothed(-other, y)\n"
    "assert made(study.train(network=Two, step=both))",
    "a teacher": "teacher = study.train(network=Net).network()\nassert not teacher.training\n"
    "def distil(net, x, y): return smoothed(net(x), teacher(x).detach().sigmoid())\n"
    "assert made(study.train(network=Net, step=distil))",
    "an array of the study": "mean = study.used.train.images.mean((0, 1))\n"
    "assert made(study.train(network=Net, augment=[lambda x: x - torch.rand(1) * mean[0]]))",
    "the best epoch by F1": "assert 'val_f1' in study.train(network=Net, monitor='f1').history",
    "CutMix or MixUp": "study.check(augment=[v2.RandomChoice([v2.MixUp(num_classes=2)])])",
    "in a loop": "rows = [Experiment(f'{w}', network=lambda: Net(w)) for w in (2, 3)]\n"
    "for row in rows: run_all(study, [row], 1)",
    "frozen in a loop, after it not": "kept = {}\nfor w in (2, 3):\n    net = Net(w)\n"
    "    net.conv.requires_grad_(False)\n    kept[w] = study.train(network=net)\n"
    "    net.conv.requires_grad_(True)\nassert made(kept[2]) == 3 and made(kept[3]) == 4",
    "changed inputs": "def first(x): return x.mul_(0.5)\ndef half(x): return x * 0.5\n"
    "class Shifted(Net):\n    def forward(self, x): x -= 0.2; return super().forward(x)\n"
    "class Apart(Net):\n    def forward(self, x): return super().forward(x - 0.2)\n"
    "def doubled(z, y): return smoothed(z.mul_(2), y.mul_(0.9))\n"
    "def twice(z, y): return smoothed(2 * z, 0.9 * y)\n"
    "one = study.train(network=Shifted, loss=doubled, preprocess=first).runs[0].logits\n"
    "two = study.train(network=Apart, loss=twice, preprocess=half).runs[0].logits\n"
    "assert all((one[name] == two[name]).all() for name in one)",
    "a trained network, changed": "net = study.train(network=Net).network()\nlast = net.fc\n"
    "net.conv.requires_grad_(False)\nlast.bias.data.fill_(3.0)\n"
    "again = study.train(network=net, lr=1e-9)\nassert made(again) == 9\n"
    "assert abs(again.runs[0].weights('last')['fc.bias'] - 3) < 1e-3",
    "what a check would change": "mean = Net()\ndef follow(): mean.fc.weight.data += 1\n"
    "def step(net, x, y): follow(); return smoothed(net(x), mean(x).sigmoid())\n"
    "assert all(made(study.train(network=Net, step=step, lr=lr)) for lr in (1e-3, 1e-4))",
    "a network in a file": "for parts in ({'network': Net}, {'dropout': 0.1}):\n"
    "    torch.save(study.train(**parts, resize=32).network(), 'whole.pt')",
    "several statements on a line": "net = Net(2); net.fc.requires_grad_(False); "
    "two = study.train(network=net); net = Net(3); three = study.train(network=net); net = None\n"
    "assert made(two) == 20 and made(three) == 34",
    "a saved network": "state = study.train(network=Net).network().state_dict()\n"
    "torch.save(state, 'net.pt')\nnet = Net()\nnet.load_state_dict(torch.load('net.pt'))\n"
    "again = study.train(network=net, lr=1e-9)\nread = again.network().state_dict()\n"
    "assert made(again) and all((read[name] - state[name]).abs().max() < 1e-4 for name in state)",
    "a list that is filled": "kept = []\nclass Keeps(Net):\n"
    "    def forward(self, x): kept.append(len(x)); return super().forward(x)\n"
    "run = study.train(network=Keeps).runs[0]\nassert not run.key and kept.count(32) > 1",
    "an optimizer that asks again": "from cxr_helpers.training import Method\n"
    "x, y, line, lbfgs = torch.rand(8, 4), torch.ones(8, 1), nn.Linear(4, 1), torch.optim.LBFGS\n"
    "Method(lbfgs(line.parameters()), smoothed, None).update(line, x, y)\n"
    "assert smoothed(line(x), y) < 0.21 and made(study.train(network=Net, optimizer=lbfgs))",
}


@pytest.mark.parametrize("name", FINE)
def test_what_only_looks_wrong_passes(name, small, shell, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # one cell leaves a file
    in_cells(small, shell)(FINE[name])


OWN = {
    "random numbers of Python and NumPy": "network=Net, augment=[jitter, 'flip']",
    "dropout and a loss": "network=lambda: Net(4), loss=smoothed",
    "rates by layer": "network=Net, optimizer=by_layer",
    "images prepared and a schedule": "network=Net, preprocess=v2.Normalize([0.5], [0.25]), "
    "schedule=lr_scheduler.CosineAnnealingLR",
}


@pytest.mark.parametrize("name", OWN)
def test_parts_of_ones_own_are_kept_with_their_text_and_trained_again_in_the_box_bit_for_bit(
    name, small, shell
):
    study, run = open_study("phantom", "random", "smoke", 7, "cpu"), in_cells(small, shell)
    InteractiveShell.instance().push({"study": study})
    run("import random\ndef jitter(x, y): return x + random.random() + np.random.rand(), y")
    run(FINE["layers by name"].rpartition("\n")[0])
    trained, again = (run(f"study.train({OWN[name]}).runs[0]") for _ in range(2))
    assert (files.runs_folder() / trained.key / "code.py").read_text() == trained.config.own
    assert again.key == trained.key and again.info == trained.info, "read, not trained"
    plain = run("study.train(network=Net).runs[0]")
    assert not np.array_equal(plain.logits["val_last"], trained.logits["val_last"])
    if why := box.refusal():
        pytest.skip(why)
    logits = retrained._again(trained.identity, study)
    np.testing.assert_array_equal(logits, trained.open_test()["best"])


def test_the_examples_of_the_notebook_run(small, shell):
    cells = nbformat.read(ROOT / "notebooks/05_percobaan.ipynb", 4).cells
    run = in_cells(small, shell)
    run(next(cell.source for cell in cells if "class TwoLayers" in cell.source))
    examples = re.findall(r"```python\n(.*?)```", "\n".join(cell.source for cell in cells), re.S)
    assert len(examples) > 2
    for example in examples:
        run(example)


def test_what_prepares_images_is_part_of_the_network_and_a_file_its_start(small, shell, tmp_path):
    run, file = in_cells(small, shell), tmp_path / "net.pt"
    run("prepared = study.train(network=Net, preprocess=v2.Normalize([0.5], [0.1]))")
    network, plain = run("prepared.network()"), run("study.train(network=Net).network()")
    x = data.to_tensor(small.used.val.images)
    logits = network(x).detach().numpy().ravel()
    np.testing.assert_allclose(logits, run("prepared.runs[0].logits['val_best']"), atol=1e-5)
    plain.load_state_dict(network.state_dict())
    assert torch.equal(plain(((x + 1) / 2 - 0.5) / 0.1), network(x))
    torch.save(network.state_dict(), file)
    again = run(f"study.train(network=Net, lr=1e-9, start={str(file)!r}).network()")
    torch.testing.assert_close(again(x), plain(x), atol=1e-4, rtol=0)


def test_transforms_of_a_library_see_images_from_0_to_1():
    x, seen = torch.rand(4, 1, 28, 28) * 2 - 1, []
    step = v2.Compose([lambda image: seen.append(image) or image])
    made_of_x, _ = augment.apply_own(x, torch.zeros(4, 1), [step])
    torch.testing.assert_close(torch.stack(seen), (x + 1) / 2)
    torch.testing.assert_close(made_of_x, x)


def test_a_classifier_of_scikit_learn_is_a_row_of_the_same_table(small, shell):
    run = in_cells(small, shell)
    run("from sklearn.linear_model import LogisticRegression as Logistic")
    rows = run("vars(run_all(study, [Experiment('logistik', model=Logistic(C=0.1))], 2))")
    row = rows["variants"][1]
    with pytest.raises(InputError, match="tidak disimpan"):
        run("study.train(model=Logistic(C=0.1)).network()")
    assert row["epochs"] == 1 and row["changed"]["model"] == "Logistic(C=0.1)"
    pixels = (data.to_tensor(part.images).flatten(1).numpy() for part in small.used.splits.values())
    train, _, test = pixels
    theirs = LogisticRegression(C=0.1).fit(train, small.used.train.labels).decision_function(test)
    area = evaluation.area_under_curve(theirs, small.used.test.labels)
    assert row["test"]["auc"]["value"] == pytest.approx(area)


def test_a_class_that_was_written_anew_is_said_and_what_is_of_other_code_is_cleared(
    small, shell, store, tmp_path, capsys
):
    run = in_cells(small, shell)
    run("rows = [Experiment('a', network=Net)]")
    run(MINE)
    run("run_all(study, rows, 1)")
    assert "ditulis ulang" not in capsys.readouterr().out, "the same text"
    run("class Net(nn.Flatten): pass")
    run("run_all(study, rows, 1)")
    assert "Net ditulis ulang" in capsys.readouterr().out
    (old,) = {path.parent for path in store.glob("*/code.py")}
    kept, config = json.loads((old / "config.json").read_text()), old / "config.json"
    config.write_text(json.dumps(kept | {"code": "0"}))
    about = {"run": {"key": next(path.name for path in store.iterdir() if path != old)}}
    (tmp_path / "results").mkdir()
    files.write(tmp_path / "results/02_pelatihan.json", json.dumps(about).encode())
    packed = submit._runs([], tmp_path)
    assert {name.split("/")[1] for name in packed} == {path.name for path in store.iterdir()} - {
        old.name
    }
    listed = small.runs(clear=True).set_index("kunci")
    assert not old.exists() and not listed.terbaca[old.name] and listed.MB.min() > 0
    assert list(small.runs().kunci) == [name for name in listed.index if name != old.name]


@pytest.mark.parametrize("name", ["'scale.pt'", "f'{folder}/scale.pt'", "open('scale.pt', 'rb')"])
def test_a_files_content_is_the_runs_and_what_is_drawn_leaves_the_students_numbers_alone(
    name, small, shell, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    run, file = in_cells(small, shell), tmp_path / "scale.pt"
    run(f"folder = {str(tmp_path)!r}")
    run(f"def brighter(x): return x * torch.load({name}) + np.random.rand()")
    before, keys = np.random.get_state()[1].copy(), []
    for value in (1.0, 1.0, 2.0):
        torch.save(torch.tensor(value), file)
        keys.append(run("study.train(network=Net, augment=[brighter]).runs[0].key"))
    assert keys[0] == keys[1] != keys[2]
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_experiments_are_compared_with_the_recipe_and_guesses_with_what_came_out(small, mine):
    rows = [
        Experiment("Satu", "Alasan.", duga("turun", 0.01), network=mine.Net),
        Experiment("Dua", guess=duga("sama", ukuran="kesenjangan"), dropout=0.3),
    ]
    found = vars(experiments.run_all(small, rows, 3))
    base, first, second = found["variants"]
    assert [row["title"] for row in (first, second)] == ["Satu", "Dua"]
    assert found["partner"] == "own" and base["seeds"] == [0]
    assert first["changed"] == {"network": "mine.Net"} and second["changed"] == {"dropout": 0.3}
    guesses = found["guesses"]
    assert guesses[0]["size"] == -0.01 and guesses[1]["direction"] == "across"
    assert guesses[0]["value"] == first["predicts"]["value"]
    assert guesses[1]["value"] == second["overfits"]["value"]
    assert len(found["ensembles"][0]["seeds"]) == 3


def test_every_distinct_experiment_that_was_compared_is_counted_and_corrected_for(small, store):
    recipe = small.train(seeds=3)
    assert small.compare({"resep": recipe}).before == 0  # the recipe of one seed: no p, no verdict
    with pytest.MonkeyPatch.context() as patch:
        partner = experiments._row(small, "baseline", "Resep", recipe), "own"
        patch.setattr(experiments, "partners", lambda study: partner)
        ideas = [small.train(seeds=3, dropout=share) for share in (0.1, 0.2, 0.3)]
        for place, others in ((0, 0), (1, 1), (1, 1), (2, 2), (0, 2)):
            found = small.compare({f"{place}": ideas[place]})
            assert found.before == others
        kept = [json.loads(path.read_text()) for path in store.glob("*/compared.json")]
        row, p = found.variants[1]["predicts"], [one["auc"] for one in kept]
        assert row["p"] in p and row["p_adjusted"] == evaluation.holm(p)[p.index(row["p"])]
    assert f"atas {len(kept)} percobaan" in repr(found)


def test_a_mistake_in_the_last_shows_before_the_first_is_trained(small, mine, store, capsys):
    rows = [Experiment("Satu", dropout=0.3), Experiment("Dua", network=lambda: mine.Net(colour=3))]
    with pytest.raises(InputError, match="colour"):
        experiments.run_all(small, rows, 2)
    assert not list(store.glob("*/info.json")) and not capsys.readouterr().out


def test_a_result_on_other_images_is_not_judged_by_this_studys_labels(small, mine, store, capsys):
    test = small.used.test
    part = {name: getattr(test, name)[::-1] for name in ("images", "labels", "rows")}
    other = replace(small, used=replace(small.used, test=replace(test, **part)))
    kept = small.train(network=mine.Net)
    unkept = small.train(**{"network": mine.Net()})  # no text identifies it
    assert "tidak akan disimpan" in capsys.readouterr().err
    assert unkept.runs[0].key == "" and len(list(store.glob("*/info.json"))) == 1
    for result in (kept, unkept):
        with pytest.raises(InputError, match=r"x: .*dilatih dengan data lain"):
            other.compare({"x": result})


UP, DOWN, BOTH = (0.01, 0.03), (-0.03, -0.01), (-0.01, 0.03)


def outcome(guess: Guess, ci95: tuple[float, float], **why) -> dict:
    found = {"value": sum(ci95) / 2, "ci95": ci95} | why
    return experiments.outcome(guess, {"predicts": found, "overfits": found})


@pytest.mark.parametrize(
    ("direction", "size", "ci95", "agrees", "within"),
    [
        ("naik", 0.01, UP, "ya", True),  # the interval holds its bounds
        ("naik", 0.031, UP, "ya", False),
        ("naik", 0.02, DOWN, "tidak", False),  # as large, the other way
        ("naik", 0.02, BOTH, "belum dapat diputuskan", True),
        ("turun", 0.02, DOWN, "ya", True),
        ("turun", None, UP, "tidak", None),
        ("sama", 0.0, (-0.018, 0.018), "ya", True),
        ("sama", 0.0, (-0.04, -0.022), "tidak", False),
        ("sama", 0.0, UP, "belum dapat diputuskan", False),
    ],
)
def test_a_guess_is_judged_by_the_interval_and_the_margin(direction, size, ci95, agrees, within):
    judged = outcome(duga(direction, size, "kesenjangan"), ci95)
    assert judged["agrees"] == agrees and judged["within"] is within
    for why in ({"p": None}, {"p": 0.001, "verdict": evaluation.MAJORITY}):
        assert outcome(duga("naik"), UP, **why)["agrees"] == evaluation.UNDECIDED
