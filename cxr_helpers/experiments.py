"""A student's own idea, trained and judged as our remedies are (notebook 05); on the phantom the
reference study's seeds of the recipe are its partners.
"""

import difflib
import json
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from cxr_helpers import augment, data, evaluation, model, remedies, training
from cxr_helpers.engine import files, owncode, ownfiles, settings
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.indonesian import number
from cxr_helpers.engine.runs import Run
from cxr_helpers.model import Weights, resolve_weights
from cxr_helpers.remedies import Remedy, Row, trained
from cxr_helpers.training import PARTS, TrainConfig

DIRECTIONS = {"naik": "above", "turun": "below", "sama": "across"}
MEASURES = {"auc": "predicts", "kesenjangan": "overfits"}
P_VALUES = {"auc": "predicts", "gap": "overfits"}
COMPARED = "compared.json"  # beside a run whose experiment was compared: its p-values
YES, NO = "ya", "tidak"  # what came of a guess, or UNDECIDED
FEW = 16  # images of the batch that `check` sends through
SOME = 200  # images of which a classifier of scikit-learn learns in `check`
DRAWS = 16  # of a step that augments: one that always gives the same draws nothing
CUT = "Gradien tidak sampai ke lapisan pertama: periksa detach(), no_grad(), dan aktivasi nol"
ALSO_CALLED = {"learning_rate": "lr", "criterion": "loss", "transform": "augment"}
RESHAPING = ("View", "Unsafe", "Reshape", "Slice", "Select", "Unsqueeze", "Squeeze", "Index")
STOPPED = "Dihentikan. Jalankan lagi untuk melanjutkan dari epoch terakhir yang utuh."


# --- an experiment --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Guess:
    """What is expected of an experiment before it is trained: see `duga`."""

    measure: str
    direction: str
    size: float | None


def duga(arah: str, besar: float | None = None, ukuran: str = "auc") -> Guess:
    """A prediction: arah "naik", "turun" or "sama"; besar: by how much (a share 0…1), or None;
    ukuran "auc" or "kesenjangan". Raises InputError.
    """
    if besar is not None:
        besar = abs(settings.to_number("duga: besar", besar, (-1, 1), whole=False))
    for name, value, known in (("arah", arah, DIRECTIONS), ("ukuran", ukuran, MEASURES)):
        if value not in known:
            raise InputError(f"duga: {name}={value!r} tidak dikenal: pilih {', '.join(known)}.")
    return Guess(MEASURES[ukuran], DIRECTIONS[arah], besar)


@dataclass(frozen=True)
class Recipe:
    """Settings that a student changes, own parts as a program; passed: what it defines, as it was
    passed (owncode.passed); live: the parts where no text identifies them.
    """

    changes: dict
    passed: dict | None = None
    live: dict | None = None


class Experiment:
    """One row of notebook 05: its name, why, what is expected, and what changes in the recipe."""

    def __init__(
        self,
        title: str,
        motivation: str = "",
        guess: Guess | None = None,
        start: "Result | Weights | str | None" = None,
        **changes,
    ):
        self.title, self.motivation, self.guess, self.start = title, motivation, guess, start
        self.recipe = separate(changes, sys._getframe(1))


def separate(changes: dict, frame: types.FrameType) -> Recipe:
    """Tell plain settings from own parts, whose program the call in `frame` gives. InputError."""
    known = [field.name for field in fields(TrainConfig) if field.name != "own"] + list(PARTS)
    for name in set(changes) - set(known):
        near = ALSO_CALLED.get(name) or "".join(difflib.get_close_matches(name, known, n=1))
        asked = f"mungkin maksud Anda {near}?" if near else f"yang ada: {', '.join(known)}."
        raise InputError(f"{name} bukan pengaturan: {asked}")
    worded = any(isinstance(changes.get(name), str) for name in ("network", "loss"))
    listed = isinstance(changes.get("augment", ()), Sequence)
    classifier, others = changes.get("model"), changes.keys() - {"model", "preprocess", "epochs"}
    unfit = classifier is not None and bool(others or not hasattr(classifier, "fit"))
    _refuse(
        (worded, "network, loss: berikan kelas atau fungsi; dari torchvision: architecture=…."),
        (not listed, "augment: berikan daftar, misalnya augment=[geser]."),
        (unfit, "model: berikan hanya pengklasifikasi scikit-learn; untuk jaringan, network=…."),
    )
    if classifier is not None:
        changes = changes | {"epochs": 1}
    named = [name for name, part in changes.items() if isinstance(part, str)]
    if all(isinstance(step, str) for step in changes.get("augment", ())):
        named.append("augment")
    own = {name: changes[name] for name in changes if name in PARTS and name not in named}
    plain = {name: value for name, value in changes.items() if name not in own}
    if "augment" in plain:
        names = plain["augment"]
        plain["augment"] = (names,) if isinstance(names, str) else tuple(names)
    if not own:
        return Recipe(plain)
    try:
        program = owncode.program(own, frame)
        return Recipe({**plain, "own": program}, owncode.passed(own, program, frame))
    except owncode.Unknown as why:
        print(f"Pelatihan ini tidak akan disimpan: {why}.", file=sys.stderr, flush=True)
        return Recipe(plain, live=own)


# --- training it ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """The trainings of one experiment, one a seed; live: as of its Recipe."""

    runs: tuple[Run, ...]
    live: dict | None = None

    @property
    def history(self) -> pd.DataFrame:
        """Of the first seed: epoch, losses, accuracies and validation AUC."""
        return self.runs[0].history

    def network(self, which: str = "best") -> nn.Module:
        """The first seed's network after its "best" or "last" epoch, in eval mode. InputError."""
        return training.restored(self.runs[0], which, self.live)

    def __repr__(self) -> str:
        last = self.history.iloc[-1]
        return (
            f"{len(self.runs)} pelatihan, {len(self.history)} epoch: "
            f"akurasi latih {number(last['train_acc'])}, akurasi validasi "
            f"{number(last['val_acc'])}, AUC validasi {number(last['val_auc'])} (seed pertama)"
        )


@contextmanager
def interruptible() -> Iterator[None]:
    """An interrupt is one line: what has been trained is kept."""
    try:
        yield
    except KeyboardInterrupt:
        raise InputError(STOPPED) from None


def train(study, recipe: Recipe, seeds: int = 1, start=None, **how) -> Result:
    """The runs of a recipe, read from the store or trained, after `check`; start: see `starting`;
    how: n_jobs, cluster (training.run_all), on_epoch (training.fit). Raises InputError.
    """
    return _prepared(study, recipe, seeds, start)(**how)


def _prepared(study, recipe: Recipe, seeds: int, start) -> Callable[..., Result]:
    """What trains a recipe, after one batch has gone through what is not ours."""
    seeds = settings.to_number("seeds", seeds, (1, 1000))
    first = study.config(**recipe.changes)
    start = starting(study, first, start, recipe.live)
    if first.own or recipe.live or first.architecture not in model.OURS:
        check(study, recipe, start)
    configs = [replace(first, seed=first.seed + i) for i in range(seeds)]
    given = [(config, study.used, start, study.device) for config in configs]

    def trained(n_jobs: int = 1, cluster: str = "", on_epoch=lambda history: None) -> Result:
        n_jobs, cluster = settings.parse_jobs(n_jobs, cluster)
        if recipe.live is None and (n_jobs > 1 or cluster):
            return Result(tuple(training.run_all(given, n_jobs, cluster)))
        run = partial(training.run, on_epoch=on_epoch, parts=recipe.live)
        return Result(tuple(run(*one_seed) for one_seed in given), recipe.live)

    return trained


def few(study, n: int) -> data.Dataset:
    """n of the images that a study uses, of each split and both classes."""
    used = study.used
    parts = {name: data.subset(getattr(used, name), n, 0) for name in used.splits}
    return replace(used, extra=None, **parts)


def starting(
    study, config: TrainConfig, start: "Result | Weights | str | None", live: dict | None = None
) -> Weights:
    """The weights that a training begins with: the study's (None), those of a Result, of a file of
    that network, or torchvision's "imagenet". Raises InputError.
    """
    if start is None or isinstance(start, Weights):
        return start or study.weights
    if isinstance(start, Result):
        return _as_start("pelatihan sebelumnya", start.runs[0].weights("best"))
    if not isinstance(start, str | Path):
        raise InputError("start: berikan hasil study.train, 'imagenet', atau letak berkas bobot.")
    given, cpu = files.from_root(str(start)), torch.device("cpu")
    parts = training.parts_of(config, cpu) if live is None else live
    if config.architecture == "small_cnn" or "network" in parts:
        random, size = resolve_weights("random"), study.used.source.size
        network = training.network_of(config, size, random, cpu, parts)
        path = Path(given).expanduser()
        weights = _as_start(path.name, ownfiles.read_checkpoint(path, network)[0])
        model.fill(network, weights)
        return weights
    architecture = "resnet18" if config.architecture in model.OURS else config.architecture
    return resolve_weights(given, files.data_folder(), architecture)


def _as_start(whence: str, state: dict[str, torch.Tensor]) -> Weights:
    return Weights("run", f"Bobot dari {whence}", "", state, model.digest(state))


def check(study, recipe: Recipe, start: "Result | Weights | str | None" = None) -> None:
    """Send one batch through a recipe: its parts as they were passed and as their text makes them
    must behave alike. Raises InputError.
    """
    config = replace(study.config(**recipe.changes), batch_size=FEW)
    with owncode.explained():
        start = starting(study, config, start, recipe.live)
        fit = partial(training.Fitting, config, weights=start, device=study.device)
        if not config.own:
            _observe(study, fit, recipe.live or {})
            return
        with training.seeded(config.seed, study.device):
            made = owncode.namespace(config.own)
        differs = owncode.align(made, recipe.passed)
        if not differs:
            ours = _observe(study, fit, made[owncode.PARTS])
            theirs = _observe(study, fit, recipe.passed[owncode.PARTS])
            # bit for bit on a CPU; a GPU may add in another order
            same = partial(torch.allclose, rtol=1e-4, atol=1e-6, equal_nan=True)
            differs = next((name for name in ours if not same(ours[name], theirs[name])), "")
        why = f"Yang dilatih dibuat dari teks, dan {differs} lain daripada yang diberikan"
        _refuse((bool(differs), f"{why}: ubahlah di dalam fungsi atau __init__."))


def _refuse(*rules: tuple[bool, str]) -> None:
    for wrong, why in rules:
        if wrong:
            raise InputError(why)


def _observe(study, fit: Callable[..., training.Fitting], parts: dict) -> dict[str, torch.Tensor]:
    """What one batch and two steps give, by name. InputError where a training would go wrong."""
    if "model" in parts:
        fitting = fit(data=few(study, SOME), parts=parts)
        fitting.epoch()
        return {"keluaran model": fitting.predict("val")}
    fitting = fit(data=few(study, FEW), parts=parts)
    network, config, method = fitting.network, fitting.config, fitting.method
    images, labels = fitting.inputs["train"], fitting.target
    trained = [p for p in network.parameters() if p.requires_grad]
    before = [p.detach().clone() for p in trained]
    with training.seeded(config.seed, fitting.device):
        for step in parts.get("augment", ()):
            _refuse_fixed(step, images, labels)
        x, y = method.transform(images, labels)
        loss, output = _loss(fitting, x, y)
        gradients = [p.grad.norm() for p in trained if p.grad is not None]
        judged, again = _logits(network.eval(), x), _logits(network, x)
        method.optimizer.step()
        _loss(fitting, x, y)  # a head may start at zero and let a gradient through only now
        method.optimizer.step()
    rates = []
    for _ in range(min(3, config.epochs)):
        method.schedule.step()
        method.schedule.end_epoch(1.0, 1.0)
        rates += [group["lr"] for group in method.optimizer.param_groups]
    name, first = next((n, p) for n, p in network.named_parameters() if p.requires_grad)
    cut = first.grad is None or not first.grad.any()
    cut = cut and config.trainable == "all" and not config.unfreeze
    restless = not torch.allclose(judged, again, rtol=1e-4, atol=1e-6)
    _refuse(
        (restless, "Jaringan acak dalam mode eval: tulis F.dropout(x, training=self.training)."),
        (cut, f"{CUT}; bila {name} memang tidak dilatih, bekukan."),
    )
    moved = [(p.detach() - old).norm() for p, old in zip(trained, before, strict=True)]
    return {
        "hasil augmentasi": x,
        "label augmentasi": y,
        "keluaran jaringan dalam mode train": output,
        "loss": loss,
        "gradien loss": torch.stack(gradients),
        "langkah pengoptimal": torch.stack(moved),
        "jadwal learning rate": torch.tensor(rates),
        "keluaran jaringan dalam mode eval": judged,
    }


def _refuse_fixed(step: Callable | str, images: torch.Tensor, labels: torch.Tensor) -> None:
    """Refuse a step that changes training images always in one way: the others would lack it."""
    if isinstance(step, str):
        return
    draws = [augment.apply_own(images, labels, [step])[0] for _ in range(DRAWS)]
    if torch.equal(draws[0], images) or any(not torch.equal(draws[0], draw) for draw in draws):
        return
    name = getattr(step, "__name__", type(step).__name__)
    cure = "untuk citra latih, validasi, dan uji, berikan dengan preprocess="
    raise InputError(f"augment: {name} selalu memberi hasil yang sama: {cure}{name}.")


def _loss(fitting: training.Fitting, x: torch.Tensor, y: torch.Tensor) -> tuple:
    """The loss of a batch, whose gradient it leaves, and the logits."""
    network, method, labels = fitting.network.train(), fitting.method, y.clone()
    method.optimizer.zero_grad()
    if method.step is not None:
        loss, output = training.watched(method.step, network, x, y)
        logits = output
    else:
        output = _logits(network, x)
        kind = type(method.criterion).__name__
        unfit = kind in ("BCELoss", "CrossEntropyLoss", "NLLLoss")
        _refuse((unfit, f"{kind} meminta probabilitas atau kelas: pakai nn.BCEWithLogitsLoss()."))
        logits, loss = output.detach().clone(), method.criterion(output.float(), y)
    scalar = isinstance(loss, torch.Tensor) and loss.shape == () and bool(loss.isfinite())
    changed = not torch.equal(logits, output) or not torch.equal(labels, y)
    _refuse(
        (not scalar, "loss harus memberi satu bilangan terhingga: rata-ratakan hasilnya."),
        (changed, "loss mengubah masukannya: tulis y = 0.9 * y, bukan y *= 0.9."),
        (len(output) != len(x), "step harus memanggil network(x) dengan semua citra batch itu."),
    )
    if loss.requires_grad:
        loss.backward()
    return loss.detach(), output.detach()


def _logits(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The network's answer: one logit an image, from parameters that it knows."""
    given, output = x.clone(), network(x)
    shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
    mode, n = "train" if network.training else "eval", len(x)
    given_back = f"Jaringan memberi {shape} dalam mode {mode}"
    _refuse(
        (shape == (n, 2), f"{given_back}, dua logit: jadikan satu, return z[:, 1:] - z[:, :1]."),
        (shape != (n, 1), f"{given_back}, seharusnya ({n}, 1): satu logit setiap citra."),
    )
    nodes = [output.grad_fn] if output.requires_grad else []
    for node in nodes:  # and those that are added on the way
        nodes += {before for before, _ in node.next_functions if before} - set(nodes)
    known = set(map(id, network.parameters()))
    reached = {id(node.variable) for node in nodes if hasattr(node, "variable")}
    kinds = [type(node).__name__ for node in nodes]
    end = next((kind for kind in kinds if not kind.startswith(RESHAPING)), "")
    confined = bool(((output >= 0) & (output <= 1)).all())
    squashed = confined and (not end or end.startswith(("Sigmoid", "Softmax")))
    _refuse(
        (not torch.equal(given, x), "Jaringan mengubah citranya: tulis x = x - …, bukan x -= …."),
        (not output.isfinite().all(), "Jaringan memberi NaN: periksa pembagian, log, dan akarnya."),
        (mode == "train" and not nodes, f"{CUT}."),
        (bool(reached - known), "Lapisan dalam daftar Python tidak dilatih: pakai nn.ModuleList."),
        (squashed, f"Dalam mode {mode} jaringan memberi probabilitas: hapus sigmoid di akhir."),
    )
    return output


# --- holding it against the recipe ----------------------------------------------------------------


def _row(study, name: str, title: str, result: Result) -> Row:
    config, recipe = asdict(result.runs[0].config), asdict(study.config())
    parts = owncode.expressions(config["own"])
    config |= {"own": "", "seed": study.seed}
    changed = {name: config[name] for name in config if config[name] != recipe[name]} | parts
    return Row(Remedy(name, None, title), [trained(run) for run in result.runs], changed)


def partners(study) -> tuple[Row, str]:
    """The recipe's row that experiments are compared with, and whose: "reference" or "own"."""
    kept = remedies.reference_baseline(study)
    if kept is not None and len(kept.trained) >= evaluation.LEAST_SEEDS:
        return kept, "reference"
    return remedies.baseline(study), "own"


def compared_before(study, results: Sequence[Result]) -> dict[str, list[float]]:
    """The p-values, by question, of every other experiment of this run store that was compared on
    these images: twenty ideas without effect are twenty chances to look better.
    """
    own, others = {result.runs[0].folder for result in results}, []
    for path in sorted(files.runs_folder().glob(f"*/{COMPARED}")):
        kept = json.loads(path.read_text(encoding="utf-8"))
        if path.parent not in own and kept["data"] == study.used.fingerprint:
            others.append(kept)
    return {name: [kept[name] for kept in others] for name in P_VALUES}


def _count(study, result: Result, row: dict) -> None:
    """Keep an experiment's p-values beside its first run, however often it is compared."""
    p_values = {name: row[question]["p"] for name, question in P_VALUES.items()}
    if None not in p_values.values():  # else no verdict is possible
        kept = {"data": study.used.fingerprint} | p_values
        files.write(result.runs[0].folder / COMPARED, json.dumps(kept).encode())


@dataclass(frozen=True)
class Comparison:
    """Experiments beside the recipe (variants: rows of remedies.judge), as 05_percobaan.json holds
    it; before: how many others were compared; compared: rows whose curves are shown.
    """

    variants: list[dict]
    partner: str
    before: int
    guesses: list[dict | None]
    ensembles: list[dict | None]
    summary: dict
    compared: list[str]
    margin: dict

    def __repr__(self) -> str:
        here = len(self.variants) - 1
        corrected = f"p-nya dikoreksi atas {here + self.before} percobaan yang pernah dibandingkan"
        return f"Perbandingan {here} percobaan dengan resep mata kuliah; {corrected} di sini"


def compare(study, results: dict[str, Result], guesses: Sequence[Guess | None] = ()) -> Comparison:
    """Hold experiments {title: result} against the recipe, on the test split, by the rules of
    notebook 04; guesses: one a result, or none. Raises InputError.
    """
    if not results or not isinstance(results, dict):
        raise InputError("Belum ada percobaan bernama: berikan study.compare({'nama': hasil}).")
    for title, result in results.items():
        runs, images = getattr(result, "runs", ()), study.used.fingerprint
        if not runs or any(run.identity.get("data") != images for run in runs):
            cure = "latih dengan study.train, dan berikan hasilnya"
            raise InputError(f"{title}: tidak dilatih, atau dilatih dengan data lain: {cure}.")
    recipe, whose = partners(study)
    numbered = enumerate(results.items(), start=1)
    rows = [_row(study, f"experiment{n}", title, result) for n, (title, result) in numbered]
    earlier = compared_before(study, results.values())
    judged = remedies.judge([recipe, *rows], study.used, earlier)
    for result, row in zip(results.values(), judged[1:], strict=True):
        _count(study, result, row)
    guesses = guesses or [None] * len(rows)
    outcomes = [outcome(guess, row) for guess, row in zip(guesses, judged[1:], strict=True)]
    ensembles = [remedies.ensemble(row, study.used) for row in rows]
    names = [row["name"] for row in judged][:4]
    about = (remedies.summarise(judged), names, evaluation.MARGIN)
    return Comparison(judged, whose, len(earlier["auc"]), outcomes, ensembles, *about)


def outcome(guess: Guess | None, row: dict) -> dict | None:
    """A guess beside what came out, and whether it agrees: UNDECIDED where the interval holds both
    or there is no verdict.
    """
    if guess is None:
        return None
    came = row[guess.measure]
    low, high = came["ci95"]
    if guess.size is not None and guess.direction == "below":
        guess = replace(guess, size=-guess.size)
    undecided = came.get("p", 0) is None or came.get("verdict") == evaluation.MAJORITY
    return asdict(guess) | {
        "value": came["value"],
        "ci95": [low, high],
        "agrees": evaluation.UNDECIDED if undecided else _agrees(guess, low, high),
        "within": None if guess.size is None else bool(low <= guess.size <= high),
    }


def _agrees(guess: Guess, low: float, high: float) -> str:
    """Whether an interval agrees with the guessed direction."""
    same = guess.direction == "across"
    margin = evaluation.MARGIN["auc" if guess.measure == "predicts" else "gap"] if same else 0.0
    sides = {"above": low > margin, "below": high < -margin}
    sides["across"] = same and -margin < low and high < margin
    if sides[guess.direction]:
        return YES
    return NO if any(sides.values()) else evaluation.UNDECIDED


def run_all(
    study, experiments: Sequence[Experiment], seeds: int, n_jobs: int = 1, cluster: str = ""
) -> Comparison:
    """Train every experiment over `seeds` seeds, once one batch has gone through each, and compare
    them. Raises InputError.
    """
    listed = isinstance(experiments, Sequence)
    if not listed or not all(isinstance(row, Experiment) for row in experiments):
        raise InputError("Berikan sebuah daftar percobaan: [Experiment('nama', 'alasan', …), …].")
    if len({row.title for row in experiments}) < len(experiments):
        raise InputError("Dua percobaan bernama sama: beri nama yang berbeda.")
    for row in experiments:
        for name in owncode.rewritten(row.recipe.changes.get("own", ""), sys._getframe(1)):
            why = f"{name} ditulis ulang sesudah percobaan “{row.title}” didaftar"
            print(f"Catatan: {why}; jalankan lagi sel daftarnya untuk memakai yang baru.")
    with interruptible():
        tasks = [(row.title, _prepared(study, row.recipe, seeds, row.start)) for row in experiments]
        results = {title: train_row(n_jobs, cluster) for title, train_row in tasks}
    return compare(study, results, [row.guess for row in experiments])
