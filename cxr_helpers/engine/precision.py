"""float32 or bfloat16: the multiplications of training, and what PRECISION=auto takes
(setup.open_setup).

bfloat16 has float32's range with 8 instead of 24 significant bits. Processors and GPUs that
multiply it themselves are faster with it; elsewhere it is emulated, and slower. auto takes it where
three things hold: the device has it, the reference study has shown that networks trained with it
are as good (bench/precision.py), and a probe of about a second says that it pays.
"""

import json
import timeit
from functools import cache, partial

import torch
from torch import Tensor
from torchvision.models.resnet import BasicBlock

from cxr_helpers.engine import files
from cxr_helpers.engine.errors import InputError

ROUNDS = 8  # with the two that warm up about a second on two laptop cores
PAYS = 1.2  # times faster: less would not be worth other numbers than most computers give


def pick(name: str, device: torch.device) -> str:
    """auto: "bfloat16" or "float32", as above. Raises InputError where the device cannot train in
    bfloat16.
    """
    if name == "bfloat16" and device.type == "mps":
        raise InputError(
            "PRECISION=bfloat16 tidak tersedia pada GPU Apple: pakai PRECISION=float32."
        )
    if name != "auto":
        return name
    return "bfloat16" if native(device) and equivalent() and gain(device) > PAYS else "float32"


def native(device: torch.device) -> bool:
    """Whether the processor or GPU multiplies bfloat16 itself. Where PyTorch is too old to tell, or
    the computer is a Mac: no.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    known = getattr(torch.cpu, "get_capabilities", dict)() if device.type == "cpu" else {}
    return any(known.get(name) for name in ("avx512_bf16", "amx_bf16"))


def equivalent() -> bool:
    """Whether the reference study that is shipped shows both its rows to be as good in bfloat16."""
    try:
        rows = json.loads((files.REFERENCE / "results.json").read_text(encoding="utf-8"))[
            "precisions"
        ]
        return len(rows) > 0 and all(row["shown"] for row in rows)
    except (OSError, ValueError, KeyError, TypeError):
        # a missing or damaged study shows nothing; who needs it says so (reference.read)
        return False


@cache
def gain(device: torch.device) -> float:
    """How many times faster this device trains a residual block of the network in bfloat16 than in
    float32, measured once.

    Of each the fastest of ROUNDS steps, taken in turns: another program slows single steps down,
    seldom every one.
    """
    block = BasicBlock(64, 64).to(device)
    x = torch.rand(16, 64, 28, 28, device=device)
    seconds = {}
    for bfloat16 in (False, True):
        _step(block, x, bfloat16)  # the first chooses kernels and finds memory
    for _ in range(ROUNDS):
        for bfloat16 in (False, True):
            once = timeit.timeit(partial(_step, block, x, bfloat16), number=1)
            seconds[bfloat16] = min(once, seconds.get(bfloat16, once))
    return seconds[False] / seconds[True]


def _step(block: BasicBlock, x: Tensor, bfloat16: bool) -> None:
    with torch.autocast(x.device.type, torch.bfloat16, enabled=bfloat16):
        output = block(x)
    output.float().sum().backward()
    if x.device.type == "cuda":
        torch.cuda.synchronize(x.device)  # it works on while Python goes on
