"""A student's own idea, trained and judged as our remedies are (notebook 05).

`Study.train` trains it, `Study.compare` holds it against the course's recipe, and `duga` writes a
prediction down before either. On the phantom the reference study's seeds of the recipe are the
partners, so that a student pays for their own trainings only.
"""

import difflib
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from numbers import Integral, Real
from pathlib import Path

import pandas as pd
import torch

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
YES, NO = "ya", "tidak"  # what came of a guess, or UNDECIDED
FEW = 16  # images of the batch that `check` sends through
# images that a network with enough capacity, and no mistake in its training, can learn by heart
MEMORISED = 32
NEARLY_ALL = 0.95
ALSO_CALLED = {"learning_rate": "lr", "model": "network", "criterion": "loss"}
INSTEAD = {  # of a name, which these do not take
    "network": "berikan kelas atau fungsi yang membuat jaringan; "
    "jaringan torchvision dipilih dengan architecture=…",
    "loss": "berikan sebuah nn.Module atau fungsi, misalnya nn.BCEWithLogitsLoss()",
}


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

    live: the parts themselves, where no text identifies them; such a run is not kept.
    """

    changes: dict
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
    for name, advice in INSTEAD.items():
        if isinstance(changes.get(name), str):
            raise InputError(f"{name}={changes[name]!r} tidak dapat dipakai: {advice}.")
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
        return Recipe({**plain, "own": owncode.program(own, frame)})
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
            raise InputError(
                "start: bobot pelatihan itu tidak disimpan, karena dilatih oleh beberapa proses; "
                "latihlah lagi dengan n_jobs=1."
            ) from None
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
        raise InputError(
            f"seeds={seeds!r} tidak dapat dipakai: berikan bilangan bulat mulai dari 1."
        )
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
        raise InputError(
            "start: berikan hasil study.train, 'imagenet', atau letak berkas bobot, "
            f"bukan {type(start).__name__}."
        )
    if architecture == "small_cnn":
        raise InputError(
            f"start={str(start)!r}: CNN kecil tidak mempunyai bobot terbitan; "
            "latihlah dahulu, lalu berikan hasilnya."
        )
    given, folder = files.from_root(str(start)), files.data_folder()
    if architecture in model.OURS:
        return resolve_weights(given, folder)
    return model.published(architecture, given, folder)


def check(
    study,
    recipe: Recipe,
    start: "Result | Weights | str | None" = None,
    memorise: bool = False,
) -> float | None:
    """Send one batch through a recipe before it is trained: shapes, a finite loss, a gradient that
    reaches the first layer. Raises InputError with one line.

    memorise: also train MEMORISED images without augmentation for up to 60 epochs, and return the
    share that is then right; less than NEARLY_ALL says that something in the training is wrong.
    """
    config = replace(study.config(**recipe.changes), batch_size=FEW)
    start = starting(study, config.architecture, start)
    with owncode.explained():
        fitting = training.Fitting(config, _few(study, FEW), start, study.device, recipe.live)
        x, y = fitting.transform(fitting.inputs["train"], fitting.target)
        fitting.network.train()
        output = fitting.part(x)
        _check_output(output, len(x), fitting.criterion)
        loss = fitting.criterion(output.float(), y)
        if not (isinstance(loss, torch.Tensor) and loss.shape == () and torch.isfinite(loss)):
            got = tuple(getattr(loss, "shape", ())) or loss
            raise InputError(
                f"loss: hasilnya {got}, seharusnya satu bilangan terhingga (tensor tanpa dimensi); "
                "rata-ratakan."
            )
        loss.backward()
    weights = [p for p in fitting.network.parameters() if p.requires_grad]
    if not weights:
        raise InputError("Jaringan itu tidak mempunyai parameter yang dilatih.")
    first = weights[0].grad
    whole = config.trainable == "all" and not config.unfreeze
    if whole and (first is None or not first.any()):
        raise InputError(
            "Gradien tidak sampai ke lapisan pertama: "
            "periksa detach(), no_grad(), atau aktivasi yang selalu nol."
        )
    return _memorise(study, replace(config, epochs=60), start, recipe.live) if memorise else None


def _check_output(output: object, n: int, criterion: object) -> None:
    """The network's answer must be one logit an image."""
    shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
    if shape != (n, 1):
        raise InputError(
            f"Jaringan memberi {shape} untuk {n} citra, seharusnya ({n}, 1): "
            "satu logit setiap citra."
        )
    if isinstance(criterion, torch.nn.BCELoss):
        raise InputError(
            "BCELoss mengharapkan probabilitas; di sini jaringan memberi logit, tanpa sigmoid: "
            "pakai nn.BCEWithLogitsLoss()."
        )
    if type(output.grad_fn).__name__.startswith("Sigmoid"):
        raise InputError(
            "Keluaran jaringan sudah melewati sigmoid, sedangkan yang diperlukan logit: "
            "hapus sigmoid di akhir."
        )
    if isinstance(criterion, torch.nn.CrossEntropyLoss):
        raise InputError(
            "CrossEntropyLoss atas satu logit selalu nol, jadi tidak ada yang dipelajari: "
            "pakai nn.BCEWithLogitsLoss()."
        )


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


@dataclass(frozen=True)
class Comparison:
    """Experiments beside the recipe: rows of remedies.judge (the recipe first), whose seeds of the
    recipe, and by experiment what came of its guess and the mean of its seeds.
    """

    rows: list[dict]
    partner: str
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
        return f"Perbandingan {len(self.rows) - 1} percobaan dengan resep mata kuliah"

    def as_dict(self) -> dict:
        """As 05_percobaan.json holds it."""
        return {
            "variants": self.rows,
            "partner": self.partner,
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
            raise InputError(
                f"{title}: berikan hasil dari study.train, bukan {type(result).__name__}."
            )
        if any(run.data != study.used.fingerprint for run in result.runs):
            raise InputError(
                f"{title}: dilatih dengan data lain daripada studi ini; "
                "latih lagi dengan study.train."
            )
    recipe, whose = partners(study)
    rows = [
        _row(study, f"experiment{place}", title, result)
        for place, (title, result) in enumerate(results.items(), start=1)
    ]
    judged = remedies.judge([recipe, *rows], study.used)
    guesses = guesses or [None] * len(rows)
    outcomes = [outcome(guess, row) for guess, row in zip(guesses, judged[1:], strict=True)]
    ensembles = [remedies.ensemble(row, study.used) for row in rows]
    return Comparison(judged, whose, outcomes, ensembles)


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
    if not isinstance(experiments, Sequence) or not all(
        isinstance(row, Experiment) for row in experiments
    ):
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
