"""Weight adaptation by values, and what is read from a weights file (notebook 01)."""

import hashlib
import io
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torchvision import models

from cxr_helpers import model
from cxr_helpers.engine import sources
from cxr_helpers.engine.errors import InputError
from tests.medmnist_files import one_line


@pytest.fixture(scope="module")
def rgb() -> torch.Tensor:
    return torch.randn(64, 3, 7, 7, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def stock() -> dict[str, torch.Tensor]:
    """torchvision's own ResNet-18 as a state dict with a thousand classes."""
    return models.resnet18().state_dict()


def grey(n: int = 4, size: int = 20) -> torch.Tensor:
    return torch.randn(n, 1, size, size, generator=torch.Generator().manual_seed(2))


def test_reduced_kernels_answer_grey_images_as_the_sum_of_their_channels_does(rgb):
    response = F.conv2d(grey().expand(-1, 3, -1, -1), rgb)
    for reduce, factor in (("sum", 1), ("mean", 1 / 3)):
        adapted = model.adapt_conv1(rgb, kernel=7, reduce=reduce)
        torch.testing.assert_close(F.conv2d(grey(), adapted), factor * response, atol=1e-4, rtol=0)
    luminance = model.adapt_conv1(rgb, kernel=7, reduce="luminance")[:, 0]
    bt601 = 0.299 * rgb[:, 0] + 0.587 * rgb[:, 1] + 0.114 * rgb[:, 2]
    torch.testing.assert_close(luminance, bt601)
    three = model.adapt_conv1(rgb, channels=3)
    answer = F.conv2d(grey().expand(-1, 3, -1, -1), three)
    alone = F.conv2d(grey(), model.adapt_conv1(rgb))
    torch.testing.assert_close(answer, alone, atol=1e-5, rtol=0)


def test_every_way_to_resize_a_kernel_against_its_definition(rgb):
    """The course's mean first; pinv minimises Σ (⟨x, w⟩ − ⟨Bx, w'⟩)² over random patches x."""
    mean = rgb.mean(1, keepdim=True)
    line = np.array([[1, 2, 0, 0, 0, 0, 0], [0, 0, 0, 3, 0, 0, 0], [0, 0, 0, 0, 0, 2, 1]]) / 3
    np.testing.assert_allclose(model.interpolation_matrix(7, 3), line, atol=1e-12)
    shrink = np.kron(line, line)  # (9, 49): resizes a patch
    flat = mean.flatten(1).double().numpy().T
    bins = [slice(0, 3), slice(2, 5), slice(4, 7)]
    pictures = [Image.fromarray(kernel) for kernel in mean[:, 0].numpy()]
    smooth = [picture.resize((3, 3), Image.Resampling.BILINEAR) for picture in pictures]
    expected = {
        "bilinear": shrink @ flat,
        "pinv": np.linalg.lstsq(shrink.T, flat, rcond=None)[0],
        "crop": mean[:, 0, 2:5, 2:5].flatten(1).T.numpy(),
        "area": [mean[:, 0, y, x].mean((1, 2)).numpy() for y in bins for x in bins],
        "bilinear_antialias": np.array([np.array(one).flatten() for one in smooth]).T,
        "bicubic": F.interpolate(mean, (3, 3), mode="bicubic").flatten(1).T.numpy(),
    }
    assert set(expected) == set(model.RESIZES)
    for resize, wanted in expected.items():
        found = model.adapt_conv1(rgb, resize=resize).flatten(1).T.numpy()
        np.testing.assert_allclose(found, wanted, atol=1e-5, err_msg=resize)
    assert torch.equal(model.adapt_conv1(rgb), model.adapt_conv1(rgb, resize="bilinear"))


@pytest.mark.parametrize("resize", model.RESIZES)
def test_dc_keeps_the_sum_and_norm_the_norm_of_a_kernel(rgb, resize):
    reduced = rgb.sum(1).flatten(1)
    dc, norm = (
        model.adapt_conv1(rgb, reduce="sum", resize=resize, scale=s) for s in ("dc", "norm")
    )
    torch.testing.assert_close(dc.sum((1, 2, 3)), reduced.sum(1), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(norm.flatten(1).norm(dim=1), reduced.norm(dim=1))


def test_dc_leaves_a_kernel_alone_whose_resized_sum_is_nearly_zero():
    kernel = torch.zeros(1, 1, 7, 7)
    kernel[0, 0, 3, 2:5] = torch.tensor([1.0, 0, -1])  # the centre's sum is zero
    kernel[0, 0, 0, 0] = 5
    left = model.adapt_conv1(kernel, resize="crop", scale="dc")
    assert torch.equal(left, kernel[..., 2:5, 2:5])
    kernel[0, 0, 3, 3] = 0.01
    scaled = model.adapt_conv1(kernel, resize="crop", scale="dc")
    torch.testing.assert_close(scaled, kernel[..., 2:5, 2:5] * 501)


WRONG = {
    "max": {"reduce": "max"},
    "3 kanal": {"weight": torch.zeros(8, 1, 7, 7), "reduce": "luminance"},
    "7, 5": {"weight": torch.zeros(8, 3, 7, 5)},
}


@pytest.mark.parametrize("named", WRONG)
def test_what_cannot_be_adapted_is_refused_in_one_line(rgb, named):
    with pytest.raises(InputError, match=named) as caught:
        model.adapt_conv1(**{"weight": rgb, **WRONG[named]})
    one_line(caught)


def test_the_gabor_bank_is_that_of_the_formula():
    y, x = np.mgrid[-3:4, -3:4]
    phases, turns = (0, np.pi / 2), range(8)
    wanted = [(n, i, phase, (1, 1, 1)) for n in (3, 4.5, 7) for i in turns for phase in phases]
    wanted += [(7, i, np.pi / 2, c) for c in ((1, -1, 0), (0.5, 0.5, -1)) for i in turns]
    for kernel, (length, i, phase, colour) in zip(model.gabor_bank(), wanted, strict=True):
        along = x * np.cos(np.pi * i / 8) + y * np.sin(np.pi * i / 8)
        envelope = np.exp(-(x**2 + y**2) / (2 * (length / 2) ** 2))
        wave = envelope * np.cos(2 * np.pi * along / length + phase)
        wave -= envelope * wave.sum() / envelope.sum()  # no answer to a flat image
        expected = np.multiply.outer(colour, wave)
        # Scaled to the norm that He et al. 2015 draw on average: 147 taps of variance 2/(64·49).
        expected *= math.sqrt(147 * 2 / (64 * 49)) / np.linalg.norm(expected)
        np.testing.assert_allclose(kernel, expected, atol=1e-6)


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_a_stock_state_dict_is_adapted_on_the_way_in(stock, tmp_path, ending):
    path = tmp_path / f"bobot{ending}"
    (save_file if ending == ".safetensors" else torch.save)(stock, path)
    found = model.resolve_weights(str(path))
    loaded = model.build(found, 0, reduce="sum").state_dict()
    assert found.kind == "file" and path.name in found.title
    stem = model.adapt_conv1(stock["conv1.weight"], reduce="sum")
    assert torch.equal(loaded["conv1.weight"], stem)
    assert torch.equal(loaded["layer4.1.conv2.weight"], stock["layer4.1.conv2.weight"])
    assert loaded["fc.weight"].shape == (1, 512)


def weights(state: dict) -> model.Weights:
    return model.Weights("file", "Berkas", "", state, "x")


def test_what_does_not_fit_is_listed_by_name(stock):
    broken = {**stock, "layer1.9.weight": torch.zeros(2, 2)}
    broken["layer1.0.conv1.weight"] = torch.zeros(64, 64, 5, 5)
    del broken["bn1.weight"], broken["bn1.num_batches_tracked"]  # the latter decides nothing
    with pytest.raises(InputError) as caught:
        model.fill(model.course_resnet18(), weights(broken))
    assert all(name in one_line(caught) for name in ("bn1.weight", "layer1.9", "layer1.0.conv1"))


def test_a_head_may_differ_and_stages_may_be_cut_but_nothing_else_is_missing(stock):
    headless = {name: t for name, t in stock.items() if not name.startswith("fc.")}
    for given in (stock, headless, {**headless, "fc.0.weight": torch.zeros(2, 512)}):
        network = model.course_resnet18()
        head = network.fc.weight.clone()
        model.fill(network, weights(given))
        assert torch.equal(network.fc.weight, head)
        assert torch.equal(network.layer4[0].conv1.weight, stock["layer4.0.conv1.weight"])
    short = model.course_resnet18(architecture="resnet18_layer2")
    model.fill(short, weights(stock))  # it lacks layer3 and layer4
    assert torch.equal(short.bn1.weight, stock["bn1.weight"])


class Evil:
    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return open, (self.witness, "w")


def test_a_file_that_would_run_code_is_refused_and_does_not_run(tmp_path):
    witness = str(tmp_path / "jalan")
    torch.save({"conv1.weight": Evil(witness)}, tmp_path / "jahat.pth")
    with pytest.raises(InputError, match=r"jahat\.pth") as caught:
        model.resolve_weights(str(tmp_path / "jahat.pth"))
    assert "\n" not in str(caught.value) and not (tmp_path / "jalan").exists()


@pytest.fixture(scope="module")
def content(stock) -> bytes:
    stream = io.BytesIO()
    torch.save(stock, stream)
    return stream.getvalue()


@pytest.fixture
def published(content, answering, monkeypatch, tmp_path):
    """publish(status): the file is served as the official one; gives the folder that keeps it."""

    def publish(status: int = 200):
        url = answering(status, content).url.replace("set.npz", "resnet18-f37072fd.pth")
        best = SimpleNamespace(DEFAULT=SimpleNamespace(url=url))
        monkeypatch.setattr(models, "get_model_weights", lambda name: best)
        monkeypatch.setitem(model.SHA256, "resnet18", hashlib.sha256(content).hexdigest())
        monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "cache"))
        return tmp_path / "data"

    return publish


def test_the_official_file_is_fetched_once_and_kept(published, stock, monkeypatch):
    folder = published()
    for word in ("auto", "imagenet"):
        found = model.resolve_weights(word, folder)
        assert found.kind == "imagenet"
        assert torch.equal(found.state["fc.weight"], stock["fc.weight"])
    assert [path.name for path in folder.glob("*.pth")] == ["resnet18-f37072fd.pth"]
    monkeypatch.setattr(sources, "fetch", lambda *_: pytest.fail("fetched again"))
    (folder / "resnet18-f37072fd.pth").rename(folder / "unduhan (1).pth")
    assert model.resolve_weights("imagenet", folder).kind == "imagenet"
    (folder / "resnet18-f37072fd.pth").write_bytes(b"rusak")
    (folder / "unduhan (1).pth").unlink()
    with pytest.raises(InputError, match=r"f37072fd\.pth rusak"):
        model.resolve_weights("auto", folder)


@pytest.mark.parametrize("reason", ["kode 503", "sidik jari"])
def test_auto_says_why_it_starts_at_random_and_imagenet_is_one_line(published, monkeypatch, reason):
    folder = published(503 if "503" in reason else 200)
    if reason == "sidik jari":  # another file under the official name
        monkeypatch.setitem(model.SHA256, "resnet18", "0" * 64)
    found = model.resolve_weights("auto", folder)
    assert (found.kind, found.state, found.digest) == ("random", None, "random")
    assert reason in found.note
    with pytest.raises(InputError, match=reason) as caught:
        model.resolve_weights("imagenet", folder)
    one_line(caught)
    assert not list(folder.glob("*.pth"))
