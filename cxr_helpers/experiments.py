"""A student's own idea, trained and judged as our remedies are (notebook 05).

`Study.train` trains it, `Study.compare` holds it against the course's recipe, and `duga` writes a
prediction down before either. On the phantom the reference study's seeds of the recipe are the
partners, so that a student pays for their own trainings only.
"""

import copy
import difflib
import json
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from numbers import Integral, Real
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from cxr_helpers import data, evaluation, model, remedies, training
from cxr_helpers.engine import files, owncode, settings
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.indonesian import interval, number, points, signed
from cxr_helpers.engine.runs import Run
from cxr_helpers.engine.runtime import someone_watches
from cxr_helpers.model import Weights, resolve_weights
from cxr_helpers.remedies import Remedy, Row, trained
from cxr_helpers.training import PARTS, TrainConfig

DIRECTIONS = {"naik": "above", "turun": "below", "sama": "across"}
MEASURES = {"auc": "predicts", "kesenjangan": "overfits"}
P_VALUES = {"auc": "predicts", "gap": "overfits"}
COMPARED = "compared.json"  # beside a run whose experiment was compared: its p-values
YES, NO = "ya", "tidak"  # what came of a guess, or UNDECIDED
FEW = 16  # images of the batch that `check` sends through
# images that a network with enough capacity, and no mistake in its training, can learn by heart
MEMORISED = 32
NEARLY_ALL = 0.95
CUT = "Gradien tidak sampai ke lapisan pertama: periksa detach(), no_grad(), dan aktivasi nol."
RESHAPING = ("View", "Unsafe", "Reshape", "Slice", "Select", "Unsqueeze", "Squeeze", "Index")
ALSO_CALLED = {"learning_rate": "lr", "model": "network", "criterion": "loss"}


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
    if besar is not None and not (isinstance(besar, Real) and abs(besar) <= 1):
        raise InputError(
            f"duga: besar={besar!r} tidak dapat dipakai: tulis sebagai bilangan 0 sampai 1; "
            "0.10 berarti 10 poin persen."
        )
    for name, value, known in (("arah", arah, DIRECTIONS), ("ukuran", ukuran, MEASURES)):
        if value not in known:
            raise InputError(f"duga: {name}={value!r} tidak dikenal: pilih {', '.join(known)}.")
    return Guess(MEASURES[ukuran], DIRECTIONS[arah], None if besar is None else abs(float(besar)))


@dataclass(frozen=True)
class Recipe:
    """Settings of TrainConfig that a student changes, parts of their own among them as a program.

    passed: what that program defines, as it was passed (owncode.passed). live: the parts
    themselves, where no text identifies them; such a run is not kept.
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
    """Tell plain settings from parts of one's own, which become a program (engine/owncode.py) by
    the call that runs in `frame`. Raises InputError.
    """
    known = [field.name for field in fields(TrainConfig) if field.name != "own"] + list(PARTS)
    for name in set(changes) - set(known):
        near = ALSO_CALLED.get(name) or "".join(difflib.get_close_matches(name, known, n=1))
        asked = f"mungkin maksud Anda {near}?" if near else f"yang ada: {', '.join(known)}."
        raise InputError(f"{name} bukan pengaturan: {asked}")
    for name in ("network", "loss"):
        if isinstance(changes.get(name), str):
            instead = "berikan kelas atau fungsi; jaringan torchvision: architecture=…"
            raise InputError(f"{name}={changes[name]!r} tidak dapat dipakai: {instead}.")
    if callable(changes.get("augment")):
        raise InputError("augment: berikan sebuah daftar, misalnya augment=[geser].")
    own = {name: part for name, part in changes.items() if name in PARTS and not _is_named(part)}
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


def _is_named(part: object) -> bool:
    """Whether a part is one of ours, or a list of ours, by name."""
    steps = [part] if isinstance(part, str) else part
    return isinstance(steps, Sequence) and all(isinstance(step, str) for step in steps)


# --- training it ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """The trainings of one experiment, one a seed."""

    runs: tuple[Run, ...]

    @property
    def history(self) -> pd.DataFrame:
        """Of the first seed: epoch, losses, accuracies and validation AUC."""
        return self.runs[0].history

    def start(self) -> Weights:
        """The first seed's best weights as the start of another training. Raises InputError."""
        try:
            state = self.runs[0].weights("best")
        except FileNotFoundError:
            why = "bobotnya tidak disimpan oleh beberapa proses"
            raise InputError(f"start: {why}; latihlah lagi dengan n_jobs=1.") from None
        return Weights("run", "Bobot dari pelatihan sebelumnya", "", state, model.digest(state))

    def __repr__(self) -> str:
        last = self.history.iloc[-1]
        return (
            f"{len(self.runs)} pelatihan, {len(self.history)} epoch: "
            f"akurasi latih {number(last['train_acc'])}, akurasi validasi "
            f"{number(last['val_acc'])}, AUC validasi {number(last['val_auc'])} (seed pertama)"
        )


def train(
    study,
    recipe: Recipe,
    seeds: int = 1,
    start: "Result | str | None" = None,
    n_jobs: int = 1,
    cluster: str = "",
    on_epoch: Callable[[list[dict]], None] = lambda history: None,
) -> Result:
    """The runs of a recipe over `seeds` seeds, read from the store or trained; one batch goes
    through first (`check`). start: see `starting`. n_jobs, cluster: as of training.run_all. Raises
    InputError.
    """
    given = _prepared(study, recipe, seeds, start)
    return _trained(given, recipe.live, n_jobs, cluster, on_epoch)


def _prepared(study, recipe: Recipe, seeds: int, start: "Result | str | None") -> list[tuple]:
    """What each seed's training is given, after one batch has gone through what is not ours."""
    if isinstance(seeds, bool) or not isinstance(seeds, Integral) or seeds < 1:
        raise InputError(f"seeds={seeds!r} tidak dapat dipakai: berikan bilangan bulat dari 1.")
    first = study.config(**recipe.changes)
    start = starting(study, first.architecture, start)
    if first.own or recipe.live or first.architecture not in model.OURS:
        check(study, recipe, start)
    configs = [replace(first, seed=first.seed + i) for i in range(seeds)]
    return [(config, study.used, start, study.device) for config in configs]


def _trained(
    given: list[tuple],
    live: dict | None,
    n_jobs: int,
    cluster: str,
    on_epoch: Callable[[list[dict]], None] = lambda history: None,
) -> Result:
    n_jobs, cluster = settings.parse_jobs(n_jobs, cluster)
    if live is None and (n_jobs > 1 or cluster):
        return Result(tuple(training.run_all(given, n_jobs, cluster)))
    how = {"on_epoch": on_epoch, "parts": live}
    return Result(tuple(training.run(*settings_of_seed, **how) for settings_of_seed in given))


def _few(study, n: int) -> data.Dataset:
    used = study.used
    parts = {name: data.subset(getattr(used, name), n, 0) for name in ("train", "val", "test")}
    return replace(used, extra=None, **parts)


def starting(study, architecture: str, start: "Result | Weights | str | None") -> Weights:
    """The weights that a training begins with: the study's (None), those given or of a Result, or
    for any torchvision network "imagenet" or the path of its file. Raises InputError.
    """
    if start is None or isinstance(start, Weights):
        return start or study.weights
    if isinstance(start, Result):
        return start.start()
    if not isinstance(start, str | Path):
        given = "hasil study.train, 'imagenet', atau letak berkas bobot"
        raise InputError(f"start: berikan {given}, bukan {type(start).__name__}.")
    if architecture == "small_cnn":
        cure = "CNN kecil tidak mempunyai bobot terbitan; latihlah dahulu, lalu berikan hasilnya"
        raise InputError(f"start={str(start)!r}: {cure}.")
    given, folder = files.from_root(str(start)), files.data_folder()
    if architecture in model.OURS:
        return resolve_weights(given, folder)
    return model.published(architecture, given, folder)


def check(
    study, recipe: Recipe, start: "Result | Weights | str | None" = None, memorise: bool = False
) -> float | None:
    """Send one batch through a recipe before it is trained (`_observe`): with parts of one's own as
    they were passed and as their text makes them, which must behave alike. Raises InputError.

    memorise: also train MEMORISED images without augmentation for up to 60 epochs, and return the
    share that is then right; less than NEARLY_ALL says that something in the training is wrong.
    """
    config = replace(study.config(**recipe.changes), batch_size=FEW)
    start = starting(study, config.architecture, start)
    fit = partial(training.Fitting, config, _few(study, FEW), start, study.device)
    with owncode.explained():
        if not config.own:
            _observe(fit(recipe.live and _copied(recipe.live)))
        else:
            with training.seeded(config.seed, study.device):
                made = owncode.namespace(config.own)
            differs = owncode.align(made, recipe.passed)
            if not differs:
                ours = _observe(fit(made[owncode.PARTS]))
                theirs = _observe(fit(_copied(recipe.passed[owncode.PARTS])))
                # bit for bit on a CPU; a GPU may add in another order
                same = partial(torch.allclose, rtol=1e-4, atol=1e-6, equal_nan=True)
                differs = next((name for name in ours if not same(ours[name], theirs[name])), "")
            if differs:
                why = f"Yang dilatih dibuat dari teks, dan {differs} lain daripada yang diberikan"
                raise InputError(f"{why}: ubahlah di dalam fungsi atau __init__.")
    return _memorise(study, replace(config, epochs=60), start, recipe.live) if memorise else None


def _copied(parts: dict) -> dict:
    """Parts to be tried, so that those which were passed stay as they are."""
    copies = copy.deepcopy(parts)
    network = copies.get("network")

    def anew() -> object:  # it may give one that is there already
        made = network()
        try:
            return copy.deepcopy(made)
        except RuntimeError:  # which torch cannot copy: under the old weight_norm
            return made

    if callable(network) and not isinstance(network, nn.Module):
        copies["network"] = anew
    return copies


def _refuse(*rules: tuple[bool, str]) -> None:
    for wrong, why in rules:
        if wrong:
            raise InputError(why)


def _observe(fitting: training.Fitting) -> dict[str, torch.Tensor]:
    """What one batch gives, by name; a step follows, since a head may start at zero and let a
    gradient through only then. Raises InputError where a training would go wrong.
    """
    network, config, criterion = fitting.network, fitting.config, fitting.criterion
    with training.seeded(config.seed, fitting.device):
        x, y = fitting.transform(fitting.inputs["train"], fitting.target)
        output, labels = _logits(network.train(), x), y.clone()
        output.retain_grad()
        if isinstance(criterion, nn.BCELoss | nn.CrossEntropyLoss):
            unfit = f"{type(criterion).__name__} tidak berlaku bagi satu logit setiap citra"
            raise InputError(f"{unfit}: pakai nn.BCEWithLogitsLoss().")
        logits, loss = output.detach().clone(), criterion(output.float(), y)
        scalar = isinstance(loss, torch.Tensor) and loss.shape == () and bool(loss.isfinite())
        changed = not torch.equal(logits, output) or not torch.equal(labels, y)
        _refuse(
            (not scalar, "loss harus memberi satu bilangan terhingga: rata-ratakan hasilnya."),
            (changed, "loss mengubah masukannya: tulis y = 0.9 * y, bukan y *= 0.9."),
        )
        loss.backward()
        judged, again = _logits(network.eval(), x), _logits(network, x)
        fitting.optimizer.step()
        fitting.optimizer.zero_grad()
        criterion(network.train()(x).float(), y).backward()
    first = next(p for p in network.parameters() if p.requires_grad).grad
    cut = config.trainable == "all" and not config.unfreeze and (first is None or not first.any())
    restless = not torch.allclose(judged, again, rtol=1e-4, atol=1e-6)
    _refuse(
        (restless, "Jaringan acak dalam mode eval: tulis F.dropout(x, training=self.training)."),
        (cut, CUT),
    )
    return {
        "hasil augmentasi": x,
        "label augmentasi": y,
        "keluaran jaringan dalam mode train": output,
        "loss": loss,
        "gradien loss": output.grad,
        "keluaran jaringan dalam mode eval": judged,
    }


def _logits(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The network's answer: one logit an image, from parameters that it knows."""
    given, output = x.clone(), network(x)
    shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
    mode = "train" if network.training else "eval"
    if shape != (len(x), 1):
        wanted = f"({len(x)}, 1): satu logit setiap citra"
        raise InputError(f"Jaringan memberi {shape} dalam mode {mode}, seharusnya {wanted}.")
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
        (mode == "train" and not nodes, CUT),
        (
            bool(reached - known),
            "Ada lapisan dalam daftar Python, tidak dilatih: pakai nn.ModuleList.",
        ),
        (squashed, f"Dalam mode {mode} jaringan memberi probabilitas: hapus sigmoid di akhir."),
    )
    return output


def _memorise(study, config: TrainConfig, start: Weights, live: dict | None) -> float:
    if live is not None:
        live = {name: part for name, part in live.items() if name != "augment"}
    config = replace(config, augment=(), augment_target="all", tta=0)
    few, share = _few(study, MEMORISED), 0.0
    with owncode.explained():
        fitting = training.Fitting(config, few, start, study.device, live)
        if config.own:
            fitting.transform = lambda x, y: (x, y)
        while len(fitting.history) < config.epochs and share < 1:
            fitting.epoch()
            share = evaluation.right([fitting.predict("train").numpy()], few.train.labels).mean()
    return float(share)


# --- holding it against the recipe ----------------------------------------------------------------


def _row(study, name: str, title: str, result: Result) -> Row:
    config, recipe = asdict(result.runs[0].config), asdict(study.config())
    program = config.pop("own")
    changed = {
        name: value for name, value in config.items() if name != "seed" and value != recipe[name]
    }
    changed |= owncode.expressions(program)
    return Row(Remedy(name, None, title), [trained(run) for run in result.runs], changed)


def partners(study) -> tuple[Row, str]:
    """The recipe's row that experiments are compared with, and whose it is: "reference" where that
    study is about these very images, length and start and has seeds enough, else "own".
    """
    kept = remedies.reference_baseline(study)
    if kept is not None and len(kept.trained) >= evaluation.LEAST_SEEDS:
        return kept, "reference"
    return remedies.baseline(study), "own"


def compared_before(study, results: Sequence[Result]) -> dict[str, list[float]]:
    """The p-values under each question of every other experiment in this run store that was
    compared on these images: twenty ideas of which none helps are twenty chances to look better.
    """
    own, earlier = {result.runs[0].folder for result in results}, {name: [] for name in P_VALUES}
    for path in sorted(files.runs_folder().glob(f"*/{COMPARED}")):
        kept = json.loads(path.read_text(encoding="utf-8"))
        if path.parent not in own and kept["data"] == study.used.fingerprint:
            for name in earlier:
                earlier[name].append(kept[name])
    return earlier


def _count(result: Result, row: dict) -> None:
    """Keep an experiment's p-values beside its first run, however often it is compared."""
    p_values = {name: row[question]["p"] for name, question in P_VALUES.items()}
    if None not in p_values.values():  # else no verdict is possible
        kept = {"data": result.runs[0].data} | p_values
        files.write(result.runs[0].folder / COMPARED, json.dumps(kept).encode())


@dataclass(frozen=True)
class Comparison:
    """Experiments beside the recipe: rows of remedies.judge (the recipe first), whose seeds of the
    recipe, by experiment what came of its guess and the mean of its seeds, and how many other
    experiments were compared before (`compared_before`).
    """

    rows: list[dict]
    partner: str
    before: int
    guesses: list[dict | None]
    ensembles: list[dict | None]

    @property
    def table(self) -> pd.DataFrame:
        """One line a row, formatted for people."""
        lines = {}
        for row in self.rows:
            line = {"Seed": len(row["seeds"]), "AUC uji": number(row["test"]["auc"]["value"])}
            line |= dict.fromkeys(("Selisih AUC", "Selisih kesenjangan"), "–")
            line |= dict.fromkeys(("Putusan AUC", "Putusan kesenjangan"), row["verdict"])
            if row["predicts"]:
                auc, gap = row["predicts"], row["overfits"]
                line["Selisih AUC"] = f"{signed(auc['value'])} [{interval(auc['ci95'], 3, 1)}]"
                line["Selisih kesenjangan"] = f"{points(gap['value'])} [{interval(gap['ci95'])}]"
                line["Putusan kesenjangan"] = gap["verdict"]
            lines[row["title"]] = line
        return pd.DataFrame.from_dict(lines, orient="index").rename_axis("Percobaan")

    def __repr__(self) -> str:
        here, n = len(self.rows) - 1, len(self.rows) - 1 + self.before
        corrected = f"p-nya dikoreksi atas {n} percobaan yang pernah dibandingkan di sini"
        return f"Perbandingan {here} percobaan dengan resep mata kuliah; {corrected}"

    def as_dict(self) -> dict:
        """As 05_percobaan.json holds it."""
        return {
            "variants": self.rows,
            "partner": self.partner,
            "before": self.before,
            "guesses": self.guesses,
            "ensembles": self.ensembles,
            "summary": remedies.summarise(self.rows),
            "compared": [row["name"] for row in self.rows][:4],
            "margin": evaluation.MARGIN,
        }


def compare(study, results: dict[str, Result], guesses: Sequence[Guess | None] = ()) -> Comparison:
    """Hold experiments {title: result} against the recipe, on the test split, by the rules of
    notebook 04; guesses: one a result, or none.

    Raises InputError where there is nothing to compare, or a result is no result of `Study.train`
    on this study's images.
    """
    if not results or not isinstance(results, dict):
        raise InputError("Belum ada percobaan bernama: berikan study.compare({'nama': hasil}).")
    for title, result in results.items():
        if not isinstance(result, Result):
            kind = type(result).__name__
            raise InputError(f"{title}: berikan hasil dari study.train, bukan {kind}.")
        if any(run.data != study.used.fingerprint for run in result.runs):
            raise InputError(f"{title}: dilatih dengan data lain; latih lagi dengan study.train.")
    recipe, whose = partners(study)
    rows = [
        _row(study, f"experiment{place}", title, result)
        for place, (title, result) in enumerate(results.items(), start=1)
    ]
    earlier = compared_before(study, results.values())
    judged = remedies.judge([recipe, *rows], study.used, earlier)
    for result, row in zip(results.values(), judged[1:], strict=True):
        _count(result, row)
    guesses = guesses or [None] * len(rows)
    outcomes = [outcome(guess, row) for guess, row in zip(guesses, judged[1:], strict=True)]
    ensembles = [remedies.ensemble(row, study.used) for row in rows]
    return Comparison(judged, whose, len(earlier["auc"]), outcomes, ensembles)


def outcome(guess: Guess | None, row: dict) -> dict | None:
    """A guess beside what came out, and whether it agrees: UNDECIDED where the interval holds both,
    there are too few seeds for a verdict, or the networks guess one class.
    """
    if guess is None:
        return None
    came = row[guess.measure]
    low, high = came["ci95"]
    size, within = guess.size, None
    if size is not None:
        size = -size if guess.direction == "below" else size
        within = bool(low <= size <= high)
    agrees = _agrees(guess, low, high)
    if came.get("p", 0) is None or came.get("verdict") == evaluation.MAJORITY:
        agrees = evaluation.UNDECIDED
    return {
        "measure": guess.measure,
        "direction": guess.direction,
        "size": size,
        "value": came["value"],
        "ci95": [low, high],
        "agrees": agrees,
        "within": within,
    }


def _agrees(guess: Guess, low: float, high: float) -> str:
    """Whether an interval agrees with the guessed direction."""
    if guess.direction == "across":
        margin = evaluation.MARGIN["auc" if guess.measure == "predicts" else "gap"]
        if -margin < low and high < margin:
            return YES
        return NO if low > margin or high < -margin else evaluation.UNDECIDED
    side = evaluation.side((low, high))
    if side == "across":
        return evaluation.UNDECIDED
    return YES if side == guess.direction else NO


def run_all(
    study, experiments: Sequence[Experiment], seeds: int, n_jobs: int = 1, cluster: str = ""
) -> Comparison:
    """Train every experiment over `seeds` seeds and compare them. Raises InputError.

    One batch goes through each of them first, so that a mistake in the last does not wait for the
    others' trainings.
    """
    rows = experiments if isinstance(experiments, Sequence) else [experiments, None]
    if not all(isinstance(row, Experiment) for row in rows):
        raise InputError("Berikan sebuah daftar percobaan: [Experiment('nama', 'alasan', …), …].")
    titles = [experiment.title for experiment in experiments]
    twice = sorted({title for title in titles if titles.count(title) > 1})
    if twice:
        raise InputError(f"Dua percobaan bernama {twice[0]}: beri nama yang berbeda.")
    tasks = [(row, _prepared(study, row.recipe, seeds, row.start)) for row in experiments]
    results = {}
    for place, (row, given) in enumerate(tasks, start=1):
        if someone_watches():
            print(f"Percobaan ke-{place}: {row.title}", flush=True)
        results[row.title] = _trained(given, row.recipe.live, n_jobs, cluster)
    return compare(study, results, [experiment.guess for experiment in experiments])
