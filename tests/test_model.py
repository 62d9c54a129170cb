"""Weight adaptation by values, the network's shapes, and what is read from a weights file (model.py, adaptation.py)."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import resnet18

from cxr_helpers import adaptation, model
from cxr_helpers.data import Split, to_tensor
from cxr_helpers.engine.errors import InputError


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


# --- adaptation -----------------------------------------------------------------------------------------------------


def test_default_is_the_course_channel_mean_and_bilinear(rgb):
    expected = F.interpolate(rgb.mean(1, keepdim=True), size=(3, 3), mode="bilinear", align_corners=False)
    assert torch.equal(model.adapt_conv1(rgb), expected)


@pytest.mark.parametrize(("reduce", "factor"), [("sum", 1.0), ("mean", 1 / 3)])
def test_sum_keeps_the_response_to_grey_and_mean_a_third(rgb, reduce, factor):
    adapted = model.adapt_conv1(rgb, kernel=7, reduce=reduce)
    expected = factor * F.conv2d(grey().expand(-1, 3, -1, -1), rgb)
    assert torch.allclose(F.conv2d(grey(), adapted), expected, atol=1e-4)


def test_luminance_weighs_the_channels_as_bt601(rgb):
    expected = 0.299 * rgb[:, 0] + 0.587 * rgb[:, 1] + 0.114 * rgb[:, 2]
    assert torch.allclose(model.adapt_conv1(rgb, kernel=7, reduce="luminance")[:, 0], expected, atol=1e-6)


@pytest.mark.parametrize("resize", model.RESIZES)
def test_dc_keeps_the_response_to_a_constant_image(rgb, resize):
    before, after = rgb.sum((1, 2, 3)), model.adapt_conv1(rgb, reduce="sum", resize=resize, scale="dc").sum((1, 2, 3))
    assert torch.allclose(before, after, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("resize", model.RESIZES)
def test_norm_keeps_the_norm(rgb, resize):
    reduced = rgb.sum(1).flatten(1).norm(dim=1)
    adapted = model.adapt_conv1(rgb, reduce="sum", resize=resize, scale="norm").flatten(1).norm(dim=1)
    assert torch.allclose(reduced, adapted, rtol=1e-4)


def test_bilinear_reads_only_some_taps_and_antialias_all(rgb):
    """A tap is read if changing it changes the small kernel."""

    def taps(resize: str) -> int:
        single = torch.eye(49).view(49, 1, 7, 7)
        return int((model.adapt_conv1(single, reduce="sum", resize=resize).abs().sum((1, 2, 3)) > 1e-9).sum())

    assert taps("bilinear") < 49 == taps("bilinear_antialias")


def test_pinv_is_the_least_squares_solution(rgb):
    """w' minimises Σ (⟨x, w⟩ − ⟨Bx, w'⟩)² over random patches x, which NumPy solves here independently."""
    line = model._interpolation_matrix(7, 3).numpy()
    shrink = np.kron(line, line)  # (9, 49): resizes a patch
    expected = np.linalg.lstsq(shrink.T, rgb.sum(1).flatten(1).double().numpy().T, rcond=None)[0].T
    adapted = model.adapt_conv1(rgb, reduce="sum", resize="pinv").flatten(1).numpy()
    assert np.allclose(adapted, expected, atol=1e-4)


def test_crop_takes_the_centre_and_channels_share_the_kernel(rgb):
    assert torch.equal(model.adapt_conv1(rgb, reduce="sum", resize="crop")[:, 0], rgb.sum(1)[:, 2:5, 2:5])
    three = model.adapt_conv1(rgb, channels=3)
    assert three.shape == (64, 3, 3, 3)
    assert torch.allclose(F.conv2d(grey().expand(-1, 3, -1, -1), three), F.conv2d(grey(), model.adapt_conv1(rgb)), atol=1e-5)


@pytest.mark.parametrize("wrong", [{"reduce": "max"}, {"resize": "nearest"}, {"scale": "l1"}, {"resize": "crop", "kernel": 4}])
def test_unknown_choices_are_refused_in_one_line(rgb, wrong):
    with pytest.raises(InputError) as caught:
        model.adapt_conv1(rgb, **wrong)
    assert "\n" not in str(caught.value)


# --- the network ----------------------------------------------------------------------------------------------------


def test_small_images_get_the_course_stem():
    network = model.course_resnet18(28)
    stem = network.conv1
    assert stem.weight.shape == (64, 1, 3, 3) and stem.bias is None
    assert (stem.stride, stem.padding) == ((1, 1), (1, 1)) and isinstance(network.maxpool, torch.nn.Identity)
    assert network(torch.zeros(2, 1, 28, 28)).shape == (2, 1)


def test_larger_images_keep_the_stock_stem():
    network = model.course_resnet18(64)
    assert network.conv1.weight.shape == (64, 1, 7, 7) and network.conv1.stride == (2, 2)
    assert isinstance(network.maxpool, torch.nn.MaxPool2d)
    assert network(torch.zeros(2, 1, 64, 64)).shape == (2, 1)


def test_architectures_are_counted_as_torch_counts_them():
    stock, _, ours = adaptation.describe_architectures(28)
    assert stock["parameters"] == 11_689_512
    for described, network, channels in ((stock, resnet18(), 3), (ours, model.course_resnet18(28), 1)):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network.eval()(torch.zeros(1, channels, 28, 28))
        assert described["multiply_adds"] == counter.get_total_flops() / 2
        assert described["parameters"] == sum(p.numel() for p in network.parameters())


def test_build_draws_from_its_seed_and_leaves_the_global_state():
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    random = model.resolve_weights("random")
    one, same, other = (model.build(random, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["conv1.weight"], other["conv1.weight"])


@pytest.mark.parametrize("trainable", ["head", "layer4+head"])
def test_split_network_is_the_network(trainable):
    network = model.build(model.resolve_weights("random"), 0).eval()
    frozen, trained = model.split_frozen(network, trainable)
    with torch.no_grad():
        assert torch.allclose(trained.eval()(frozen.eval()(grey(2, 28))), network(grey(2, 28)), atol=1e-5)


def test_frozen_batch_norm_keeps_its_statistics_in_train_mode():
    network = model.build(model.resolve_weights("random"), 0)
    model.freeze(network, "head")
    network.train()(grey(8, 28))
    assert torch.equal(network.bn1.running_mean, torch.zeros(64))


def test_same_kernels_on_same_images_answer_alike():
    images = np.random.default_rng(0).integers(0, 256, (8, 64, 64)).astype(np.uint8)
    table = adaptation.compare_strategies(torch.randn(64, 3, 7, 7), images, kernel=7)
    summed = table[(table["reduce"] == "sum") & (table["scale"] == "none")]
    assert (summed["correlation"] > 0.8).all() and len(table) == 3


def test_gabor_bank_is_oriented_blind_to_flat_images_and_scaled_like_a_random_start():
    bank = model.gabor_bank()
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
    random, gabor = (model.build(model.resolve_weights(name), 4).state_dict() for name in ("random", "gabor"))
    assert [name for name in random if not torch.equal(random[name], gabor[name])] == ["conv1.weight"]
    assert torch.equal(gabor["conv1.weight"], model.adapt_conv1(model.gabor_bank()))


def test_a_network_without_rgb_kernels_has_the_bank_to_show():
    own = model.Weights("file", "Bobot dari own.pt", "", model.course_resnet18().state_dict(), "x")
    kernels, said = adaptation.source_kernels(own, 0)
    assert torch.equal(kernels, model.gabor_bank()) and "Gabor" in said


# --- batch normalisation --------------------------------------------------------------------------------------------


def images(n: int = 96) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 28, 28)).astype(np.uint8)


def test_reestimated_statistics_are_those_of_the_images():
    network = model.build(model.resolve_weights("random"), 0)
    drift = adaptation.batch_norm_drift(network, images())
    assert len(drift) == 20 and drift[0]["layer"] == "bn1"
    assert abs(drift[0]["scale"] - 1) > 0.1
    repaired = adaptation.reestimate_batch_norm(network, images())
    assert network.bn1.running_mean.abs().max() == 0  # the network itself is left alone
    after = adaptation.batch_norm_drift(repaired, images())[0]
    assert after["shift"] < 0.02 and after["scale"] == pytest.approx(1, abs=0.02)
    response = repaired.conv1(to_tensor(images()))
    assert torch.allclose(repaired.bn1.running_mean, response.mean((0, 2, 3)), atol=0.01)


def test_probe_reads_what_the_features_hold():
    labels = (np.arange(96) % 2).astype(np.uint8)
    told = images()
    told[labels == 1] //= 3
    split = Split(told, labels, np.arange(96))
    network = adaptation.reestimate_batch_norm(model.build(model.resolve_weights("random"), 0), told)
    assert adaptation.probe(network, split, split)["value"] > 0.95


# --- weights --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrapped", ["bare", "state_dict", "model", "module."])
@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_a_stock_state_dict_is_adapted_on_the_way_in(stock, tmp_path, wrapped, ending):
    state = {f"module.{name}": tensor for name, tensor in stock.items()} if wrapped == "module." else stock
    path = tmp_path / f"bobot{ending}"
    if ending == ".safetensors":
        save_file(state, path)
    else:
        torch.save({wrapped: state} if wrapped in ("state_dict", "model") else state, path)
    weights = model.resolve_weights(str(path))
    loaded = model.build(weights, 0).state_dict()
    assert weights.kind == "file" and path.name in weights.title
    assert torch.equal(loaded["conv1.weight"], model.adapt_conv1(stock["conv1.weight"]))
    assert torch.equal(loaded["layer4.1.conv2.weight"], stock["layer4.1.conv2.weight"])
    assert loaded["fc.weight"].shape == (1, 512)


def test_ones_own_trained_network_is_taken_as_it_is(tmp_path):
    own = model.course_resnet18(28).state_dict()
    torch.save(own, tmp_path / "own.pt")
    loaded = model.build(model.resolve_weights(str(tmp_path / "own.pt")), 0).state_dict()
    assert all(torch.equal(loaded[name], own[name]) for name in own)


def test_what_does_not_fit_is_listed_by_name_and_shape(stock):
    broken = {**stock, "layer1.0.conv1.weight": torch.zeros(64, 64, 5, 5), "kepala.weight": torch.zeros(2, 2)}
    del broken["bn1.weight"]
    with pytest.raises(InputError) as caught:
        model.fit_state(broken, model.course_resnet18(), reset_head=True)
    for words in (
        "bn1.weight tidak ada",
        "layer1.0.conv1.weight (64, 64, 5, 5) seharusnya (64, 64, 3, 3)",
        "kepala.weight (2, 2)",
    ):
        assert words in str(caught.value)


def test_another_head_is_reset_only_when_asked(stock):
    network = model.course_resnet18()
    with pytest.raises(InputError, match=r"fc\.weight \(1000, 512\) seharusnya \(1, 512\)"):
        model.fit_state(stock, network)
    assert "fc.weight" not in model.fit_state(stock, network, reset_head=True)


def test_a_one_channel_conv1_is_taken_as_is(tmp_path):
    own = {**model.course_resnet18(28).state_dict(), "fc.weight": torch.zeros(1, 512)}
    assert torch.equal(model.fit_state(own, model.course_resnet18())["conv1.weight"], own["conv1.weight"])


class Evil:
    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return open, (self.witness, "w")


def test_a_file_that_would_run_code_is_refused_and_does_not_run(tmp_path):
    witness = str(tmp_path / "jalan")
    torch.save({"conv1.weight": Evil(witness)}, tmp_path / "jahat.pth")
    with pytest.raises(InputError, match="bukan berkas bobot yang utuh dan aman") as caught:
        model.resolve_weights(str(tmp_path / "jahat.pth"))
    assert "\n" not in str(caught.value) and not (tmp_path / "jalan").exists()


def test_a_truncated_or_foreign_file_is_refused(stock, tmp_path):
    torch.save(stock, tmp_path / "utuh.pth")
    (tmp_path / "potong.pth").write_bytes((tmp_path / "utuh.pth").read_bytes()[:100_000])
    (tmp_path / "teks.safetensors").write_text("halo")
    torch.save([1, 2], tmp_path / "daftar.pt")
    for name in ("potong.pth", "teks.safetensors", "daftar.pt", "tidak-ada.pth"):
        with pytest.raises(InputError, match=name):
            model.resolve_weights(str(tmp_path / name))
