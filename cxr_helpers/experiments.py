"""A student's own idea, trained and judged as our remedies are (notebook 05)."""

import difflib
import json
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from cxr_helpers import augment, evaluation, model, remedies, training
from cxr_helpers.engine import files, owncode, ownfiles, settings
from cxr_helpers.engine.errors import InputError, explained, interruptible
from cxr_helpers.engine.indonesian import number
from cxr_helpers.engine.runs import Run
from cxr_helpers.model import Weights, resolve_weights
from cxr_helpers.remedies import Remedy, Row, trained
from cxr_helpers.training import PARTS, TrainConfig

DIRECTIONS = {"naik": "above", "turun": "below", "sama": "across"}
MEASURES = {"auc": "predicts", "kesenjangan": "overfits"}
QUESTIONS = {"predicts": "auc", "overfits": "gap"}  # what answers them
COMPARED = "compared.json"  # beside a run whose experiment was compared: its p-values
FEW = 16  # images of the batch that `check` sends through
SOME = 200  # images of which a classifier of scikit-learn learns in `check`
DRAWS = 16  # of a step that augments: one that always gives the same draws nothing
ALSO_CALLED = {"learning_rate": "lr", "criterion": "loss", "transform": "augment"}
CUT = "Gradien tidak sampai ke lapisan pertama: periksa detach(), no_grad(), dan aktivasi nol"
UNTRAINED = "Parameter di luar model tidak dilatih: pakai nn.ModuleList; bila dalam loss, step=…."
UNDEFINED = "NaN atau tak hingga: periksa pembagian, log, dan akarnya."


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
        besar *= -1 if arah == "turun" else 1
    for name, value, known in (("arah", arah, DIRECTIONS), ("ukuran", ukuran, MEASURES)):
        if value not in known:
            raise InputError(f"duga: {name}={value!r} tidak dikenal: pilih {', '.join(known)}.")
    return Guess(MEASURES[ukuran], DIRECTIONS[arah], besar)


@dataclass(frozen=True)
class Recipe:
    """What is to be trained. changes: the settings that differ from the course's recipe; `own`
    among them is the program of one's own parts. passed: what that program defines, as it was
    passed. live: the parts themselves where no text of them was found; they are not kept.
    """

    changes: dict
    passed: dict | None = None
    live: dict | None = None


class Experiment:
    """One row of notebook 05: its name, why, what is expected, and what changes in the recipe."""

    def __init__(
        self, title: str, motivation: str = "", guess: Guess | None = None, start=None, **changes
    ):
        self.title, self.motivation, self.guess, self.start = title, motivation, guess, start
        self.recipe = separate(changes, sys._getframe(1))


def separate(changes: dict, frame: types.FrameType) -> Recipe:
    """Tell plain settings from own parts, whose program the call in `frame` gives. InputError."""
    settable = [field.name for field in fields(TrainConfig) if field.name != "own"]
    known = list(dict.fromkeys([*settable, *PARTS]))
    for name in changes.keys() - set(known):
        near = ALSO_CALLED.get(name) or "".join(difflib.get_close_matches(name, known, n=1))
        asked = f"mungkin maksud Anda {near}?" if near else f"yang ada: {', '.join(known)}."
        raise InputError(f"{name} bukan pengaturan: {asked}")
    worded = {name for name in settable if name not in PARTS or _worded(changes.get(name))}
    own = {name: part for name, part in changes.items() if name not in worded}
    plain = {name: value for name, value in changes.items() if name in worded}
    for name, part in own.items():
        fits = isinstance(part, Sequence) if name == "augment" else callable(part)
        also = "; model torchvision: architecture=…" * (name == "network")
        _refuse((name != "model" and not fits, f"{name}: berikan {PARTS[name]}{also}."))
    if "model" in own:
        beside = changes.keys() - {"model", "preprocess", "epochs"}
        why = "model: berikan hanya pengklasifikasi scikit-learn; untuk jaringan saraf, network=…."
        scores = [hasattr(own["model"], name) for name in ("decision_function", "predict_proba")]
        _refuse((bool(beside) or not any(scores), why))
        plain["epochs"] = 1
    if not own:
        return Recipe(plain)
    try:
        program, passed = owncode.program(own, frame)
        return Recipe({**plain, "own": program}, passed)
    except owncode.Unknown as why:
        print(f"Pelatihan ini tidak akan disimpan: {why}.", file=sys.stderr, flush=True)
        return Recipe(plain, live=own)


def _worded(part: object) -> bool:
    """Whether a part is given by its name: a word, or a list of words."""
    return isinstance(part, Sequence) and all(isinstance(step, str) for step in part)


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
        train, val, auc = (number(last[name]) for name in ("train_acc", "val_acc", "val_auc"))
        found = f"akurasi latih {train}, akurasi validasi {val}, AUC validasi {auc} (seed pertama)"
        return f"{len(self.runs)} pelatihan, {len(self.history)} epoch: {found}"


def train(
    study, recipe: Recipe, seeds: int = 1, start=None, n_jobs: int = 1, cluster: str = "", **how
) -> Result:
    """The runs of a recipe, read or trained, after `check` of what is not ours; start: `starting`;
    n_jobs, cluster: training.run_all; how: on_epoch (training.fit). Raises InputError.
    """
    seeds = settings.to_number("seeds", seeds, (1, 1000))
    n_jobs, cluster = settings.parse_jobs(n_jobs, cluster)
    first = study.config(**recipe.changes)
    start = starting(study, first, start, recipe.live)
    if first.own or recipe.live or first.architecture not in model.OURS:
        recipe = check(study, recipe, start)
        first = study.config(**recipe.changes)
    configs = [replace(first, seed=first.seed + i) for i in range(seeds)]
    given = [(config, study.used, start, study.device) for config in configs]
    if recipe.live is None and (n_jobs > 1 or cluster):
        return Result(tuple(training.run_all(given, n_jobs, cluster)))
    run = partial(training.run, parts=recipe.live, **how)
    return Result(tuple(run(*one_seed) for one_seed in given), recipe.live)


def starting(
    study, config: TrainConfig, start: "Result | Weights | str | None", live: dict | None = None
) -> Weights:
    """The weights that a training begins with; start: as of Study.train. Raises InputError."""
    if start is None or isinstance(start, Weights):
        return start or study.weights
    if isinstance(start, Result):
        whence, state = "pelatihan sebelumnya", start.runs[0].weights("best")
    elif isinstance(start, str | Path):
        given, cpu = files.from_root(str(start)), torch.device("cpu")
        parts = training.parts_of(config, cpu) if live is None else live
        if config.architecture != "small_cnn" and "network" not in parts:
            known = "resnet18" if config.architecture in model.OURS else config.architecture
            return resolve_weights(given, files.data_folder(), known)
        random, size = resolve_weights("random"), study.used.source.size
        network, whence = training.network_of(config, size, random, cpu, parts), Path(given).name
        state, _ = ownfiles.read_checkpoint(Path(given).expanduser(), network)
    else:
        raise InputError("start: berikan hasil study.train, 'imagenet', atau letak berkas bobot.")
    return Weights("run", f"Bobot dari {whence}", "", state, model.digest(state))


def check(study, recipe: Recipe, start: "Result | Weights | str | None" = None) -> Recipe:
    """One batch through a recipe: parts as passed and as of their text behave alike. Returns it
    with the files that they read. Raises InputError.
    """
    config = replace(study.config(**recipe.changes), batch_size=FEW)
    with explained():
        start = starting(study, config, start, recipe.live)
        fit = partial(training.Fitting, config, weights=start, device=study.device)
        if not config.own:
            _observe(study, fit, recipe.live or {})
            return recipe
        ownfiles.OPENED.clear()
        with training.seeded(config.seed, study.device):
            made = owncode.namespace(config.own)
        differs = owncode.align(made, recipe.passed)
        if not differs:
            both = (made, owncode.apart(recipe.passed))
            ours, theirs = (_observe(study, fit, given[owncode.PARTS]) for given in both)
            # bit for bit on a CPU; a GPU may add in another order
            same = partial(torch.allclose, rtol=1e-4, atol=1e-6, equal_nan=True)
            pairs = {name: (ours[name], theirs[name]) for name in ours}
            alike = {name: a.shape == b.shape and same(a, b) for name, (a, b) in pairs.items()}
            differs = next((name for name in alike if not alike[name]), "")
        why = f"Yang dilatih dibuat dari teks, dan {differs} lain daripada yang diberikan"
        cure = "buat dan ubah di satu fungsi atau __init__, atau jalankan lagi selnya"
        _refuse((bool(differs), f"{why}: {cure}."))
        return replace(recipe, changes=recipe.changes | {"own": ownfiles.reading(config.own)})


def _refuse(*rules: tuple[bool, str]) -> None:
    for wrong, why in rules:
        if wrong:
            raise InputError(why)


def _observe(study, fit: Callable[..., training.Fitting], parts: dict) -> dict[str, torch.Tensor]:
    """What one batch and two steps give, by name. InputError where a training would go wrong."""
    if "model" in parts:
        fitting = fit(data=study.few(SOME).used, parts=parts)
        fitting.epoch()
        return {"keluaran model": fitting.predict("val")}
    fitting = fit(data=study.few(FEW).used, parts=parts)
    network, config, method = fitting.part, fitting.config, fitting.method
    images, labels = fitting.inputs["train"], fitting.target
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    before, numbers = [p.detach().clone() for p in trained.values()], model.plain_numbers(network)
    modes = (False, False) if method.step else (True, False, False)
    with training.seeded(config.seed, fitting.device):
        for step in parts.get("augment", ()):
            if not isinstance(step, str):
                _refuse_fixed(step, images, labels)
        x, y = method.transform(images, labels)
        logits = torch.stack([_logits(network.train(mode), x).detach() for mode in modes])
        loss = _loss(method, network.train(), x, y)
        method.update(network, x, y)
        gradients = [p.grad.norm() for p in trained.values() if p.grad is not None]
        for _ in range(min(3, config.epochs)):  # how far the next step goes tells the schedule
            method.schedule.step()
            method.schedule.end_epoch(1.0, 1.0)
        method.update(network, x, y)  # a head may start at zero and let a gradient through only now
    restless = not torch.allclose(logits[-2], logits[-1], rtol=1e-4, atol=1e-6)
    counted = dict(model.plain_numbers(network).items() - numbers.items())
    _refuse(
        (restless, "Model (atau preprocess) acak dalam mode eval: pakai training=self.training."),
        (bool(counted), f"{', '.join(counted)} berubah selagi dipakai: pakai register_buffer."),
    )
    _refuse_untrained(fitting, *next(iter(trained.items())))
    moved = [(p.detach() - old).norm() for p, old in zip(trained.values(), before, strict=True)]
    return {
        "hasil augmentasi": x,
        "label augmentasi": y,
        "keluaran model": logits,
        "loss": loss,
        "gradien loss": torch.stack(gradients),
        "langkah pengoptimal, atau jadwalnya,": torch.stack(moved),
    }


def _refuse_untrained(fitting: training.Fitting, name: str, first: nn.Parameter) -> None:
    """Refuse what leaves the network as it is; first: its first trained parameter."""
    network, config, groups = fitting.part, fitting.config, fitting.method.optimizer.param_groups
    foreign = {id(p) for g in groups for p in g["params"]} - set(map(id, network.parameters()))
    cut = first.grad is None or not first.grad.any()
    cut = cut and config.trainable == "all" and not config.unfreeze
    other = "Pengoptimal melatih model lain: tulis optimizer=lambda params, network: …."
    _refuse((bool(foreign), other), (cut, f"{CUT}; bila {name} memang tidak dilatih, bekukan."))


def _refuse_fixed(step: Callable, images: torch.Tensor, labels: torch.Tensor) -> None:
    """Refuse a step that changes training images always in one way: the others would lack it."""
    draws = [augment.apply_own(images, labels, [step])[0] for _ in range(DRAWS)]
    fixed = all(torch.equal(draws[0], draw) for draw in draws) and not torch.equal(draws[0], images)
    cut = images.min() < -0.1 and torch.stack(draws).min() >= 0
    name = getattr(step, "__name__", type(step).__name__)
    if any(type(part).__name__ == "Normalize" for part in getattr(step, "transforms", ())):
        fixed, name = True, "Normalize"
    cure = "untuk citra latih, validasi, dan uji, berikan dengan preprocess="
    _refuse(
        (fixed, f"augment: {name} selalu memberi hasil yang sama: {cure}{name}."),
        (bool(cut), f"augment: {name} memotong nilai di bawah 0: berikan (x + 1) / 2, lalu balik."),
    )


def _loss(method: training.Method, network: nn.Module, x: torch.Tensor, y: torch.Tensor):
    """The loss of a batch: one finite number, of all its images."""
    kind = type(method.criterion).__name__
    unfit = kind in ("BCELoss", "CrossEntropyLoss", "NLLLoss")
    _refuse((unfit, f"{kind} meminta probabilitas atau kelas: pakai nn.BCEWithLogitsLoss()."))
    loss, logits = method.loss(network, x, y)
    one_number = isinstance(loss, torch.Tensor) and loss.shape == ()
    _refuse(
        (not one_number, "loss harus memberi satu bilangan: rata-ratakan hasilnya."),
        (one_number and not loss.isfinite(), f"loss memberi {UNDEFINED}"),
        (one_number and not method.step and _made_of(loss, network)[1], UNTRAINED),
        (logits.shape != y.shape, "step harus memanggil network(x); keluaran pertamanya (N, 1)."),
    )
    return loss.detach()


def _logits(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The network's answer: one logit an image, from parameters that it knows."""
    output, n = network(x), len(x)
    shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
    mode = f"dalam mode {'train' if network.training else 'eval'}"
    wanted = f"satu logit setiap citra, ({n}, 1); dua dijadikan satu: return z[:, 1:] - z[:, :1]."
    _refuse((shape != (n, 1), f"Model memberi {shape} {mode}, seharusnya {wanted}"))
    kinds, foreign = _made_of(output, network)
    last = any(kind.startswith(("Sigmoid", "Softmax")) for kind in kinds[:3])  # but for reshaping
    squashed = last and bool(((output >= 0) & (output <= 1)).all())
    _refuse(
        (not output.isfinite().all(), f"Model memberi {UNDEFINED}"),
        (foreign, UNTRAINED),
        (squashed, f"Model memberi probabilitas {mode}: hapus sigmoid di akhir."),
    )
    return output


def _made_of(output: torch.Tensor, network: nn.Module) -> tuple[list[str], bool]:
    """The kinds of a tensor's steps, the last first; whether others' parameters are in it."""
    nodes = [output.grad_fn] if output.requires_grad else []
    for node in nodes:  # and those that are added on the way
        nodes += {before for before, _ in node.next_functions if before} - set(nodes)
    reached = {id(node.variable) for node in nodes if hasattr(node, "variable")}
    foreign = bool(reached - set(map(id, network.parameters())))
    return [type(node).__name__ for node in nodes], foreign


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
    """The p-values, by measure, of all others compared here: each is a chance to look better."""
    ours = {result.runs[0].folder for result in results}
    paths = sorted(files.runs_folder().glob(f"*/{COMPARED}"))
    kept = [json.loads(path.read_text("utf-8")) for path in paths if path.parent not in ours]
    others = [row for row in kept if row["data"] == study.used.fingerprint]
    return {name: [row[name] for row in others] for name in QUESTIONS.values()}


@dataclass(frozen=True)
class Comparison:
    """Experiments beside the recipe. variants: the rows of remedies.judge, the recipe's first;
    partner: whose recipe that is, "reference" or "own"; before: how many other experiments have
    been compared on these data; guesses, ensembles: one an experiment (see `outcome` and
    remedies.ensemble); summary: of all rows; compared: the names of the rows whose curves are
    shown; margin: the least difference of each measure that counts.
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
        corrected = f"nilai-p dikoreksi atas {here + self.before} percobaan yang pernah diuji"
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
    rows = [_row(study, f"experiment{n}", *item) for n, item in enumerate(results.items(), 1)]
    earlier = compared_before(study, results.values())
    judged = remedies.judge([recipe, *rows], study.used, earlier)
    for result, row in zip(results.values(), judged[1:], strict=True):
        p_values = {name: row[question]["p"] for question, name in QUESTIONS.items()}
        if None not in p_values.values():  # else no verdict is possible
            kept = json.dumps({"data": study.used.fingerprint} | p_values)
            files.write(result.runs[0].folder / COMPARED, kept.encode())
    guesses = guesses or [None] * len(rows)
    outcomes = [outcome(guess, row) for guess, row in zip(guesses, judged[1:], strict=True)]
    ensembles = [remedies.ensemble(row, study.used) for row in rows]
    about = (remedies.summarise(judged), [row["name"] for row in judged[:4]], evaluation.MARGIN)
    return Comparison(judged, whose, len(earlier["auc"]), outcomes, ensembles, *about)


def outcome(guess: Guess | None, row: dict) -> dict | None:
    """A guess beside what came, and whether it agrees: UNDECIDED where both may hold."""
    if guess is None:
        return None
    came = row[guess.measure]
    low, high = came["ci95"]
    undecided = came.get("p", 0) is None or came.get("verdict") == evaluation.MAJORITY
    return asdict(guess) | {
        "value": came["value"],
        "ci95": [low, high],
        "agrees": evaluation.UNDECIDED if undecided else agrees(guess, (low, high)),
        "within": None if guess.size is None else bool(low <= guess.size <= high),
    }


def agrees(guess: Guess, ci95: tuple[float, float]) -> str:
    """Whether an interval agrees with the guessed direction: "ya", "tidak" or UNDECIDED."""
    across = guess.direction == "across"
    margin = evaluation.MARGIN[QUESTIONS[guess.measure]] if across else 0
    sides = {evaluation.side(ci95, bound) for bound in (-margin, margin)}
    if "across" in sides:
        return evaluation.UNDECIDED
    return "ya" if sides == ({"above", "below"} if across else {guess.direction}) else "tidak"


def run_all(
    study, experiments: Sequence[Experiment], seeds: int, n_jobs: int = 1, cluster: str = ""
) -> Comparison:
    """Send a batch through every experiment, train each over `seeds` seeds, compare. InputError."""
    listed = isinstance(experiments, Sequence)
    if not listed or not all(isinstance(row, Experiment) for row in experiments):
        raise InputError("Berikan sebuah daftar percobaan: [Experiment('nama', 'alasan', …), …].")
    if len({row.title for row in experiments}) < len(experiments):
        raise InputError("Dua percobaan bernama sama: beri nama yang berbeda.")
    for row in experiments:
        for name in owncode.rewritten(row.recipe.changes.get("own", ""), sys._getframe(1)):
            why = f"{name} ditulis ulang sesudah percobaan “{row.title}” didaftar"
            print(f"Catatan: {why}; jalankan lagi sel daftarnya untuk memakai yang baru.")
    results = {}
    with interruptible():
        for row in experiments:  # a mistake in the last shows before the first is trained
            check(study, row.recipe, row.start)
        for row in experiments:
            results[row.title] = train(study, row.recipe, seeds, row.start, n_jobs, cluster)
    return compare(study, results, [row.guess for row in experiments])
