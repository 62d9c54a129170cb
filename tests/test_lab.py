"""JupyterLab itself: notebook 01 with its widgets, a network of one's own, the laboratory of 04."""

import re
import shutil
import subprocess
import sys
import time

import nbformat
import pytest
from playwright.sync_api import expect

from cxr_helpers.engine import runs
from tests.conftest import environment
from tests.test_pages import page  # noqa: F401 - a fixture

EPOCHS = 40
OWN = f"""import time
from torch import nn
from cxr_helpers import panels

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 4, 5, stride=4), nn.Linear(4, 1)

    def forward(self, x):
        time.sleep(0.03)  # long enough to be interrupted
        return self.fc(torch.relu(self.conv(x)).mean((2, 3)))
# %%
result = study.train(network=Net, epochs={EPOCHS})
result
# %%
study.compare({{"Jaringan saya": result}})
# %%
panels.show_panel(panels.Laboratory, study)
"""
SHOWN = "sel-02 sel-03 lihat-tahap satu-kernel kernel-lenyap pelajaran-adaptasi-kode kemiripan"
SHOWN += " sel-09 sel-16"
WIDGET = "jupyterapp.shell.currentWidget"
CELLS = f"{WIDGET}?.content?.model?.cells"
IDLE = f"{WIDGET}.sessionContext.session?.kernel?.status === 'idle'"


@pytest.fixture
def folder(built, tmp_path):
    """A copy of the project with notebook coba: 01 without its computation, and behind it OWN."""
    folder = shutil.copytree(built.folder, tmp_path / "project")
    notebook = nbformat.read(folder / "notebooks/01_adaptasi_bobot.ipynb", 4)
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            cell.source += '\ndata, weights, preset = "phantom", "random", "smoke"'
    shown = [cell for cell in notebook.cells if cell.id in SHOWN.split()]
    notebook.cells = shown + [nbformat.v4.new_code_cell(cell) for cell in OWN.split("# %%\n")]
    nbformat.write(notebook, folder / "notebooks/coba.ipynb")
    return folder


@pytest.fixture
def lab(folder, tmp_path):
    """The address of coba in a JupyterLab on the loopback address."""
    places = ("JUPYTER_CONFIG", "JUPYTER_RUNTIME", "JUPYTERLAB_SETTINGS", "JUPYTERLAB_WORKSPACES")
    variables = {f"{name}_DIR": str(tmp_path / name) for name in places}
    variables |= {"IPYTHONDIR": str(tmp_path / "ipython"), "PYTHONPATH": str(folder)}
    variables["JUPYTER_CONFIG_PATH"] = str(folder / "report/jupyter")
    options = "--no-browser --allow-root --expose-app-in-browser --ip=127.0.0.1"
    (ours,) = re.findall(r"--notebook-dir.*", (folder / "Makefile").read_text())
    options += f" {ours.replace('01_adaptasi_bobot', 'coba')}"
    command = [sys.executable, "-m", "jupyterlab", *options.split()]
    log, where = tmp_path / "log", {"cwd": folder, "env": environment() | variables}
    with log.open("w") as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said, **where)
    try:
        while not (printed := re.findall(r"http://\S+token=\w+", log.read_text())):
            assert process.poll() is None
            time.sleep(0.2)
        yield printed[0]
    finally:
        process.terminate()
        process.wait(30)


def test_a_student_reads_moves_widgets_trains_interrupts_resumes_compares_and_guesses(
    folder,
    lab,
    page,  # noqa: F811 - page ends before lab, which it still asks
):
    cells = nbformat.read(folder / "notebooks/coba.ipynb", 4).cells
    training, comparing, laboratory = range(len(cells) - 3, len(cells))

    def until(condition):
        page.wait_for_function(condition, timeout=600_000, polling=500)

    def show(cell):
        content = f"{WIDGET}.content"
        there = f"{content}.scrollToItem({cell}, 'center').then(() => true)"
        page.evaluate(f"{content}.activeCellIndex = {cell}; {there}")

    def command(name):
        page.evaluate(f"jupyterapp.commands.execute('notebook:{name}'); true")

    def said(cell, words):
        return f"JSON.stringify({CELLS}.get({cell}).toJSON().outputs).includes({words!r})"

    def run(cell, *words):
        show(cell)
        command("run-cell")
        for each in words:
            until(said(cell, each))

    page.goto(lab)
    until(f"window.jupyterapp && {CELLS}?.length === {len(cells)} && {IDLE}")

    # notebook 01: it runs, its widget answers
    show(training)
    command("run-all-above")
    code = f"[...{CELLS}].slice(0, {training}).map(c => c.toJSON()).filter(c => c.outputs)"
    failed = "flatMap(c => c.outputs).filter(o => o.output_type === 'error').map(o => o.evalue)"
    until(f"{code}.every(c => c.execution_count) || {code}.{failed}.length")
    assert page.evaluate(f"{code}.{failed}") == []
    show(next(i for i, cell in enumerate(cells) if "adaptation_panel" in cell.source))
    picture = page.locator(".jupyter-widgets img.cxr").first
    before = picture.get_attribute("src")
    page.locator(".jupyter-widgets select").nth(1).select_option(index=4)
    expect(picture).not_to_have_attribute("src", before, timeout=90_000)

    # a network of one's own: trained, interrupted, resumed where it was, compared
    run(training, "cxr")  # the first curves
    command("interrupt-kernel")
    until(f"{said(training, 'Dihentikan')} && {IDLE}")
    page.wait_for_timeout(2000)  # what is asked at once after an interrupt, the kernel throws away
    codes = [path for path in folder.glob("runs/*/code.py") if "time.sleep" in path.read_text()]
    (kept,) = {path.parent for path in codes}
    assert 0 < len(runs.load_checkpoint(kept)["progress"]["history"]) < EPOCHS
    run(training, f"{EPOCHS} epoch: akurasi latih")
    assert len((kept / "history.csv").read_text().splitlines()) == EPOCHS + 1
    run(comparing, "Jaringan saya", "Perbandingan 1 percobaan")

    # the laboratory: it waits for a guess, then trains and shows the curve
    run(laboratory)
    button = page.get_by_role("button", name="Latih")
    expect(button).to_be_disabled(timeout=120_000)
    panel = page.locator(".jp-OutputArea").filter(has=button).last
    choices = panel.locator(".jupyter-widgets select")
    seed, guess = choices.nth(choices.count() - 2), choices.nth(choices.count() - 1)
    seed.select_option(index=1)
    guess.select_option("sama")
    expect(button).to_be_enabled(timeout=180_000)
    button.click()
    expect(page.get_by_role("row", name="tanpa perubahan")).to_contain_text("sama", timeout=300_000)
    curve = panel.locator(".jupyter-widgets img.cxr")
    assert curve.evaluate("image => image.decode().then(() => image.naturalWidth)") > 300
    expect(button).to_be_disabled()  # until the next guess
