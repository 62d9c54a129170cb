"""Weight adaptation by values, and what is read from a weights file (cxr_helpers/weights.py)."""

import hashlib
import io
import socket
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torchvision.models import resnet18

from cxr_helpers import model, weights
from cxr_helpers.engine import download, sources
from cxr_helpers.engine.errors import InputError
from tests.medmnist_files import one_line


@pytest.fixture(scope="module")
def rgb() -> torch.Tensor:
    return torch.randn(64, 3, 7, 7, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def stock() -> dict[str, torch.Tensor]:
    """torchvision's own ResNet-18 as a state dict with a thousand classes."""
    torch.manual_seed(3)
    return resnet18().state_dict()


def grey(n: int = 4, size: int = 20) -> torch.Tensor:
    return torch.randn(n, 1, size, size, generator=torch.Generator().manual_seed(2))


def test_default_is_the_course_channel_mean_and_bilinear(rgb):
    expected = F.interpolate(
        rgb.mean(1, keepdim=True), size=(3, 3), mode="bilinear", align_corners=False
    )
    assert torch.equal(weights.adapt_conv1(rgb), expected)


@pytest.mark.parametrize(("reduce", "factor"), [("sum", 1.0), ("mean", 1 / 3)])
def test_sum_keeps_the_response_to_grey_and_mean_a_third(rgb, reduce, factor):
    adapted = weights.adapt_conv1(rgb, kernel=7, reduce=reduce)
    expected = factor * F.conv2d(grey().expand(-1, 3, -1, -1), rgb)
    assert torch.allclose(F.conv2d(grey(), adapted), expected, atol=1e-4)


def test_luminance_weighs_the_channels_as_bt601(rgb):
    expected = 0.299 * rgb[:, 0] + 0.587 * rgb[:, 1] + 0.114 * rgb[:, 2]
    assert torch.allclose(
        weights.adapt_conv1(rgb, kernel=7, reduce="luminance")[:, 0], expected, atol=1e-6
    )


@pytest.mark.parametrize("resize", weights.RESIZES)
def test_dc_keeps_the_response_to_a_constant_image(rgb, resize):
    before, after = (
        rgb.sum((1, 2, 3)),
        weights.adapt_conv1(rgb, reduce="sum", resize=resize, scale="dc").sum((1, 2, 3)),
    )
    assert torch.allclose(before, after, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("resize", weights.RESIZES)
def test_norm_keeps_the_norm(rgb, resize):
    reduced = rgb.sum(1).flatten(1).norm(dim=1)
    adapted = (
        weights.adapt_conv1(rgb, reduce="sum", resize=resize, scale="norm").flatten(1).norm(dim=1)
    )
    assert torch.allclose(reduced, adapted, rtol=1e-4)


def test_bilinear_reads_only_some_taps_and_antialias_all(rgb):
    """A tap is read if changing it changes the small kernel."""

    def taps(resize: str) -> int:
        single = torch.eye(49).view(49, 1, 7, 7)
        return int(
            (
                weights.adapt_conv1(single, reduce="sum", resize=resize).abs().sum((1, 2, 3)) > 1e-9
            ).sum()
        )

    assert taps("bilinear") < 49 == taps("bilinear_antialias")


def test_pinv_is_the_least_squares_solution(rgb):
    """w' minimises Σ (⟨x, w⟩ − ⟨Bx, w'⟩)² over random patches x, which NumPy solves here independently."""
    line = weights.interpolation_matrix(7, 3).numpy()
    shrink = np.kron(line, line)  # (9, 49): resizes a patch
    expected = np.linalg.lstsq(shrink.T, rgb.sum(1).flatten(1).double().numpy().T, rcond=None)[0].T
    adapted = weights.adapt_conv1(rgb, reduce="sum", resize="pinv").flatten(1).numpy()
    assert np.allclose(adapted, expected, atol=1e-4)


def test_crop_takes_the_centre_and_channels_share_the_kernel(rgb):
    assert torch.equal(
        weights.adapt_conv1(rgb, reduce="sum", resize="crop")[:, 0], rgb.sum(1)[:, 2:5, 2:5]
    )
    three = weights.adapt_conv1(rgb, channels=3)
    assert three.shape == (64, 3, 3, 3)
    assert torch.allclose(
        F.conv2d(grey().expand(-1, 3, -1, -1), three),
        F.conv2d(grey(), weights.adapt_conv1(rgb)),
        atol=1e-5,
    )


@pytest.mark.parametrize(
    "wrong",
    [{"reduce": "max"}, {"resize": "nearest"}, {"scale": "l1"}, {"resize": "crop", "kernel": 4}],
)
def test_unknown_choices_are_refused_in_one_line(rgb, wrong):
    with pytest.raises(InputError) as caught:
        weights.adapt_conv1(rgb, **wrong)
    assert "\n" not in str(caught.value)


def test_gabor_bank_is_oriented_blind_to_flat_images_and_scaled_like_a_random_start():
    bank = weights.gabor_bank()
    assert bank.shape == (64, 3, 7, 7)
    assert bank.sum((2, 3)).abs().max() < 1e-6
    torch.manual_seed(0)
    assert bank.flatten(1).norm(dim=1).mean() == pytest.approx(
        resnet18().conv1.weight.flatten(1).norm(dim=1).mean().item(), rel=0.05
    )
    grey, colour = bank[:48], bank[48:]
    assert torch.allclose(grey[:, 0], grey[:, 2]) and colour.sum(1).abs().max() < 1e-6
    # Each grey filter answers best to a grating of its own orientation.
    y, x = torch.meshgrid(torch.arange(-3.0, 4.0), torch.arange(-3.0, 4.0), indexing="ij")
    for i, kernel in enumerate(grey[32:48:2, 0]):
        answers = []
        for j in range(8):
            along = x * np.cos(np.pi * j / 8) + y * np.sin(np.pi * j / 8)
            answers.append(float((kernel * torch.cos(2 * np.pi * along / 7)).sum().abs()))
        assert int(np.argmax(answers)) == i


def test_gabor_start_leaves_every_other_layer_as_drawn():
    random, gabor = (
        model.build(weights.resolve_weights(name), 4).state_dict() for name in ("random", "gabor")
    )
    assert [name for name in random if not torch.equal(random[name], gabor[name])] == [
        "conv1.weight"
    ]
    assert torch.equal(gabor["conv1.weight"], weights.adapt_conv1(weights.gabor_bank()))


@pytest.mark.parametrize("wrapped", ["bare", "state_dict", "model", "module."])
@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_a_stock_state_dict_is_adapted_on_the_way_in(stock, tmp_path, wrapped, ending):
    state = (
        {f"module.{name}": tensor for name, tensor in stock.items()}
        if wrapped == "module."
        else stock
    )
    path = tmp_path / f"bobot{ending}"
    if ending == ".safetensors":
        save_file(state, path)
    else:
        torch.save({wrapped: state} if wrapped in ("state_dict", "model") else state, path)
    found = weights.resolve_weights(str(path))
    loaded = model.build(found, 0).state_dict()
    assert found.kind == "file" and path.name in found.title
    assert torch.equal(loaded["conv1.weight"], weights.adapt_conv1(stock["conv1.weight"]))
    assert torch.equal(loaded["layer4.1.conv2.weight"], stock["layer4.1.conv2.weight"])
    assert loaded["fc.weight"].shape == (1, 512)


def test_ones_own_trained_network_is_taken_as_it_is(tmp_path):
    own = model.course_resnet18(28).state_dict()
    torch.save(own, tmp_path / "own.pt")
    loaded = model.build(weights.resolve_weights(str(tmp_path / "own.pt")), 0).state_dict()
    assert all(torch.equal(loaded[name], own[name]) for name in own)


def test_what_does_not_fit_is_listed_by_name_and_shape(stock):
    broken = {
        **stock,
        "layer1.0.conv1.weight": torch.zeros(64, 64, 5, 5),
        "kepala.weight": torch.zeros(2, 2),
    }
    del broken["bn1.weight"]
    with pytest.raises(InputError) as caught:
        weights.fit_state(broken, model.course_resnet18(), reset_head=True)
    for words in (
        "bn1.weight tidak ada",
        "layer1.0.conv1.weight (64, 64, 5, 5) seharusnya (64, 64, 3, 3)",
        "kepala.weight (2, 2)",
    ):
        assert words in str(caught.value)


def test_another_head_is_reset_only_when_asked(stock):
    network = model.course_resnet18()
    with pytest.raises(InputError, match=r"fc\.weight \(1000, 512\) seharusnya \(1, 512\)"):
        weights.fit_state(stock, network)
    assert "fc.weight" not in weights.fit_state(stock, network, reset_head=True)


def test_a_one_channel_conv1_is_taken_as_is(tmp_path):
    own = {**model.course_resnet18(28).state_dict(), "fc.weight": torch.zeros(1, 512)}
    assert torch.equal(
        weights.fit_state(own, model.course_resnet18())["conv1.weight"], own["conv1.weight"]
    )


class Evil:
    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return open, (self.witness, "w")


def test_a_file_that_would_run_code_is_refused_and_does_not_run(tmp_path):
    witness = str(tmp_path / "jalan")
    torch.save({"conv1.weight": Evil(witness)}, tmp_path / "jahat.pth")
    with pytest.raises(InputError, match="bukan berkas bobot yang utuh dan aman") as caught:
        weights.resolve_weights(str(tmp_path / "jahat.pth"))
    assert "\n" not in str(caught.value) and not (tmp_path / "jalan").exists()


def test_a_truncated_or_foreign_file_is_refused(stock, tmp_path):
    torch.save(stock, tmp_path / "utuh.pth")
    (tmp_path / "potong.pth").write_bytes((tmp_path / "utuh.pth").read_bytes()[:100_000])
    (tmp_path / "teks.safetensors").write_text("halo")
    torch.save([1, 2], tmp_path / "daftar.pt")
    for name in ("potong.pth", "teks.safetensors", "daftar.pt", "tidak-ada.pth"):
        with pytest.raises(InputError, match=name):
            weights.resolve_weights(str(tmp_path / name))


# --- ImageNet's own file, from a server on the loopback address -----------------------------------------------------


def official(stock) -> bytes:
    stream = io.BytesIO()
    torch.save(stock, stream)
    return stream.getvalue()


@pytest.fixture
def published(stock, answering, monkeypatch, tmp_path):
    """publish(status): the stock state dict is served as the official file; returns the folder in which it is kept."""

    def publish(status: int = 200):
        content = official(stock)
        url = answering(status, content).url.replace("set.npz", "resnet18-f37072fd.pth")
        remote = download.Remote(url, f"sha256:{hashlib.sha256(content).hexdigest()}")
        monkeypatch.setattr(weights, "IMAGENET", remote)
        monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "cache"))
        return tmp_path / "data"

    return publish


def test_the_official_file_is_fetched_once_and_kept(published, stock, monkeypatch):
    folder = published()
    for _ in range(2):
        found = weights.resolve_weights("imagenet", folder)
        assert found.kind == "imagenet" and torch.equal(
            found.state["fc.weight"], stock["fc.weight"]
        )
        monkeypatch.setattr(weights.download, "_downloader", lambda *a: pytest.fail("asked again"))
    assert [path.name for path in folder.glob("*.pth")] == ["resnet18-f37072fd.pth"]


def test_the_file_in_torchs_own_cache_is_used(published, stock, tmp_path):
    folder = published(503)
    cache = tmp_path / "cache/checkpoints"
    cache.mkdir(parents=True)
    (cache / "resnet18-f37072fd.pth").write_bytes(official(stock))
    assert weights.resolve_weights("auto", folder).kind == "imagenet" and not folder.exists()


@pytest.mark.parametrize("name", ["resnet18.pth", "bobot dari flashdisk (1)", "IMAGENET.PTH"])
def test_a_file_brought_by_hand_is_recognised_under_any_name(published, stock, name):
    folder = published(503)
    folder.mkdir()
    (folder / "catatan.txt").write_text("bukan ini")
    (folder / name).write_bytes(official(stock))
    for word in ("auto", "imagenet"):
        found = weights.resolve_weights(word, folder)
        assert found.kind == "imagenet" and torch.equal(
            found.state["fc.weight"], stock["fc.weight"]
        )


@pytest.mark.parametrize(
    ("status", "reason"), [(503, "kode 503"), (404, "kode 404"), (407, "kode 407")]
)
def test_auto_says_why_it_starts_at_random_and_imagenet_is_one_line(published, status, reason):
    folder = published(status)
    found = weights.resolve_weights("auto", folder)
    assert found.kind == "random" and reason in found.note and "tanpa jaringan" not in found.note
    with pytest.raises(InputError, match=reason) as caught:
        weights.resolve_weights("imagenet", folder)
    one_line(caught)


def test_auto_waits_for_data_and_weights_together_no_longer_than_15_seconds(
    published, tmp_path, phantom_folder, monkeypatch
):
    assert 2 * download.AUTO_TIMEOUT <= 15
    monkeypatch.setattr(download, "AUTO_TIMEOUT", 0.5)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        folder = published(503)
        silent = download.Remote(
            f"http://127.0.0.1:{deaf.getsockname()[1]}/resnet18-f37072fd.pth",
            weights.IMAGENET.digest,
        )
        monkeypatch.setattr(weights, "IMAGENET", silent)
        began = time.monotonic()
        assert sources.resolve("auto", folder=phantom_folder, remote=silent).kind == "phantom"
        assert "tidak menjawab" in weights.resolve_weights("auto", folder).note
        assert time.monotonic() - began < 6


def test_auto_does_not_wait_for_a_server_that_is_too_slow(published, monkeypatch):
    """47 minutes at the least rate that `imagenet` accepts."""
    folder, asked = published(), []
    fetch = download.fetch
    monkeypatch.setattr(
        download,
        "fetch",
        lambda remote, path, *patience: asked.append(patience) or fetch(remote, path, *patience),
    )
    weights.resolve_weights("auto", folder)
    weights.resolve_weights("imagenet", folder / "baru")
    assert asked == [(download.AUTO_TIMEOUT, 0, download.AUTO_SLOWEST), (10.0, 2, download.SLOWEST)]


def test_the_digest_is_the_one_that_the_official_name_begins():
    name = Path(weights.IMAGENET.url).name
    assert weights.IMAGENET.digest.startswith("sha256:" + name.split("-")[1].removesuffix(".pth"))
    assert len(weights.IMAGENET.digest) == len("sha256:") + 64


@pytest.mark.parametrize("where", ["data", "cache/checkpoints"])
@pytest.mark.parametrize("content", ["cut short", "one bit"])
def test_a_damaged_official_file_is_never_taken_for_none(
    published, stock, tmp_path, where, content
):
    folder, whole = published(), bytearray(official(stock))
    whole[len(whole) // 2] ^= 1
    (tmp_path / where).mkdir(parents=True)
    (tmp_path / where / "resnet18-f37072fd.pth").write_bytes(
        b"cut short" if content == "cut short" else whole
    )
    for name in ("auto", "imagenet"):
        with pytest.raises(
            InputError, match=r"Salinan bobot ImageNet di .*resnet18-f37072fd\.pth rusak"
        ) as caught:
            weights.resolve_weights(name, folder)
        one_line(caught)


def test_what_another_sends_under_the_official_name_is_not_kept(published, monkeypatch):
    folder = published()
    monkeypatch.setattr(
        weights, "IMAGENET", download.Remote(weights.IMAGENET.url, "sha256:" + "0" * 64)
    )
    found = weights.resolve_weights("auto", folder)
    assert found.kind == "random" and "sidik jari" in found.note
    with pytest.raises(InputError, match="sidik jari") as caught:
        weights.resolve_weights("imagenet", folder)
    one_line(caught)
    assert not list(folder.glob("*.pth"))
