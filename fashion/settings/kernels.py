"""Which processor instructions may be used; the environment must say so before torch is loaded."""

from typing import Literal

Kernels = Literal["portable", "fastest"]

# What oneDNN and MKL may choose, so that all processors with AVX512-BF16 give the same bytes.
VARIABLES: dict[Kernels, dict[str, str]] = {
    "portable": {
        # Without it oneDNN takes AMX or AVX10 where they are, whose sums are rounded in another order.
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16",
        # Without it MKL chooses by the processor's maker: the tanh of `lenet5_1998`, matrix products in fp32.
        "MKL_CBWR": "COMPATIBLE",
    },
    "fastest": {},
}
