"""What trains in a real JupyterLab: a student's own experiment (notebook 05) and the laboratory (notebook 04)."""

import os
from pathlib import Path

import nbformat
from playwright.sync_api import expect

from tests.test_pages import lab, page  # noqa: F401 - fixtures

EPOCHS = 200  # an epoch writes a checkpoint, which a busy disk makes slow
CELLS = (
    """
import torch
from torch import nn
from cxr_helpers.study import open_study

study = open_study(data="phantom", weights="random", preset="smoke")
""",
    """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 16, 5), nn.Linear(16, 1)

    def forward(self, x):
        return self.fc(torch.relu(self.conv(x)).mean((2, 3)))
""",
    f"""
result = study.train(network=Net, epochs={EPOCHS})
result
""",
    """
study.compare({"Jaringan saya": result})
""",
)


def test_an_experiment_is_defined_trained_interrupted_resumed_and_compared(built, lab, page):  # noqa: F811
    notebook = nbformat.read(
        built.folder / "notebooks/05_percobaan.ipynb", 4
    )  # its kernel, without which JupyterLab would ask
    notebook.cells = [nbformat.v4.new_code_cell(cell.strip()) for cell in CELLS]
    nbformat.write(notebook, built.folder / "notebooks/saya.ipynb")
    page.goto(lab("saya.ipynb"))
    page.wait_for_function(
        "window.jupyterapp?.shell.currentWidget?.content?.model?.cells?.length === 4",
        timeout=180_000,
    )
    content, session = (
        f"jupyterapp.shell.currentWidget.{part}" for part in ("content", "sessionContext")
    )
    page.wait_for_function(f"{session}.session?.kernel?.status === 'idle'", timeout=180_000)
    outputs = f"{content}.model.toJSON().cells.map(c => JSON.stringify(c.outputs))"

    def run(cell: int) -> None:
        page.evaluate(
            f"{content}.activeCellIndex = {cell}; jupyterapp.commands.execute('notebook:run-cell'); true"
        )

    def wait(cell: int, words: str) -> None:
        page.wait_for_function(
            f"{outputs}[{cell}].includes({words!r})", timeout=900_000, polling=200
        )

    run(0)
    run(1)
    run(2)
    wait(2, "image/png")  # the first curves
    page.evaluate("jupyterapp.commands.execute('notebook:interrupt-kernel'); true")
    wait(2, "KeyboardInterrupt")
    page.wait_for_function(f"{session}.session.kernel.status === 'idle'", timeout=180_000)
    page.wait_for_timeout(2000)  # what is asked at once after an interrupt, the kernel throws away
    (checkpoint,) = {path.parent for path in (built.folder / "runs").glob("*/checkpoint-*.pt")}
    assert "class Net" in (checkpoint / "code.py").read_text()
    stopped_at = max(int(path.stem.split("-")[1]) for path in checkpoint.glob("checkpoint-*.pt"))
    assert 0 < stopped_at < EPOCHS
    run(2)
    wait(2, f"{EPOCHS} epoch: akurasi latih")
    assert len((checkpoint / "history.csv").read_text().splitlines()) == EPOCHS + 1
    run(3)
    wait(3, "Jaringan saya")
    wait(3, "Perbandingan 1 percobaan")
    assert '"output_type":"error"' not in page.evaluate(f"{outputs}.slice(2).join('')")


LABORATORY = (
    """
from cxr_helpers import laboratory, widgets
from cxr_helpers.study import open_study

study = open_study(data="phantom", weights="random", preset="smoke")
""",
    """
widgets.show(laboratory.open_laboratory, study)
""",
)


def test_the_laboratory_waits_for_a_guess_then_trains_and_shows_its_curve(built, lab, page):  # noqa: F811
    notebook = nbformat.read(built.folder / "notebooks/05_percobaan.ipynb", 4)
    notebook.cells = [nbformat.v4.new_code_cell(cell.strip()) for cell in LABORATORY]
    nbformat.write(notebook, built.folder / "notebooks/laboratorium.ipynb")
    page.goto(lab("laboratorium.ipynb"))
    page.wait_for_function(
        "window.jupyterapp?.shell.currentWidget?.content?.model?.cells?.length === 2",
        timeout=180_000,
    )
    page.wait_for_function(
        "jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status === 'idle'",
        timeout=180_000,
    )
    page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells'); true")
    button, choices = (
        page.get_by_role("button", name="Latih"),
        page.locator(".jp-OutputArea .jupyter-widgets select"),
    )
    expect(button).to_be_disabled(timeout=120_000)
    seed, guess = choices.nth(choices.count() - 2), choices.nth(choices.count() - 1)
    seed.select_option(index=1)
    guess.select_option("sama")
    expect(button).to_be_enabled(timeout=180_000)
    button.click()
    expect(page.get_by_text("Sejauh ini")).to_be_visible(timeout=300_000)
    picture = page.locator(".jp-OutputArea img.jupyter-widgets")
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 300
    row = page.get_by_role("row", name="tanpa perubahan")
    expect(row).to_contain_text("sama")
    expect(button).to_be_disabled()  # until the next guess
    if os.environ.get("CXR_PICTURES"):
        page.screenshot(path=Path(os.environ["CXR_PICTURES"]) / "laboratorium.png")
