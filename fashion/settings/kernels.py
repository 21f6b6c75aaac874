"""Which processor instructions may be used, as environment variables to set before torch is loaded."""

from typing import Literal

Kernels = Literal["portable", "fastest"]

# `portable` limits what oneDNN and MKL may choose, so that all processors with AVX512-BF16 give the same bytes.
VARIABLES: dict[Kernels, dict[str, str]] = {
    "portable": {
        # Otherwise oneDNN uses AMX or AVX10 if the processor has them, which round sums in another order.
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16",
        # Otherwise MKL chooses by the processor's maker: for the tanh of `lenet5_1998` and matrix products in fp32.
        "MKL_CBWR": "COMPATIBLE",
    },
    "fastest": {},
}
