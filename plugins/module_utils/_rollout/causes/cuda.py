# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Causes: the server starts, and CUDA or a library of it does not work. Names of errors are those of CUDA 11 to 13."""

from __future__ import annotations

from collections.abc import Callable

from ..rule import Look, Rule

_SHARED = (
    r"(?P<library>lib(?:cublas|cudnn|cuda|cudart|cufft|curand|cusparse|cusolver|nccl|nv)[\w.-]{0,60}\.so[\w.]{0,20})[:\s].*"
    r"(?:not found|cannot be loaded|cannot open|failed to load)"
)
_TOO_OLD = (
    r"cudaErrorInsufficientDriver|driver on your system is too old|forward compatibility was attempted|"
    r"unsupported toolchain|unsupported PTX|unsupported display driver / cuda driver|SYSTEM_DRIVER_MISMATCH|"
    r"cudaErrorCallRequiresNewerDriver|requires a newer (?:NVIDIA )?driver"
)
_CARD = "Run preflight, and choose a variant of the image for this card."
_DRIVER = "Run preflight: it names the image variant that fits this driver."


def rules(logged: Callable[..., Look]) -> tuple[Rule, ...]:
    """The rules; logged: how a line of a log is looked for."""
    return (
        Rule(
            "cuda-driver-insufficient",
            logged(
                r"driver version is insufficient|no NVIDIA driver on your system",
                when=lambda c: not any("/" in name for name in c.limits),
            ),
            "The container has no driver: it asks for no GPU.",
            "Ask for one ([spec.containers.resources]), and for NVIDIA's runtime ([spec.runtimeClassName]).",
            about=("gpu", "runtimeClass"),
        ),
        Rule(
            "cuda-driver-insufficient",
            logged(r"driver version is insufficient"),
            "The node's driver is too old for the image's CUDA, or the container was given no driver at all.",
            "Run preflight: it names the image variant that fits this driver. If the driver is new "
            "enough, the node's runtime "
            "is not NVIDIA's: set [spec.runtimeClassName].",
            about=("image", "runtimeClass", "node"),
        ),
        Rule(
            "cuda-driver-insufficient",
            logged(_TOO_OLD),
            "The node's driver is too old for the image's CUDA.",
            _DRIVER,
            about=("image", "node"),
        ),
        Rule(
            "cuda-no-kernel",
            logged(
                r"no kernel image is available|device kernel image is invalid|cudaErrorNoKernelImageForDevice|"
                r"NO_BINARY_FOR_GPU|is not compatible with the current PyTorch"
            ),
            "The image has no code for this GPU's architecture.",
            _CARD,
            about=("image", "node"),
        ),
        Rule(
            "compute-type-unsupported",
            logged(
                r"(?P<why>CU(?:BLAS|DNN)_STATUS_(?:NOT_SUPPORTED|ARCH_MISMATCH)\w*|Requested \S+ compute type.*|"
                r"do(?:es)? not support efficient \S+ computation.*)"
            ),
            "The card and the compute type do not go together: {why}.",
            "Set [WHISPER__COMPUTE_TYPE] to float16 (float32 on cards before Volta).",
            about=("settings", "image", "node"),
        ),
        Rule(
            "cuda-out-of-memory",
            logged(
                r"CUDA (?:failed with error |error: )?out of memory|CUDA_?ERROR_OUT_OF_MEMORY|cudaMalloc failed|"
                r"cudaErrorMemoryAllocation|CUBLAS_STATUS_(?:ALLOC_FAILED|NOT_INITIALIZED)|CUDNN_STATUS_ALLOC_FAILED|"
                r"failed to allocate memory for requested buffer|torch\.\S*OutOfMemoryError"
            ),
            "The card has too little memory left for the model.",
            "Make room on the card, or use a smaller model or [WHISPER__COMPUTE_TYPE]: int8.",
            times=2,
            about=("settings", "image", "node"),
        ),
        Rule(
            "cuda-library-mismatch",
            logged(
                r"(?P<why>CUDNN_STATUS_(?:NOT_INITIALIZED|EXECUTION_FAILED|\w*VERSION_MISMATCH|\w*LOADING_FAILED|"
                r"INTERNAL_ERROR|MAPPING_ERROR)\w*|cuDNN version incompatib.*|Loaded runtime CuDNN library.*|"
                r"undefined symbol: (?:cudnn|cublas|cuda|nv)\S*|version `lib(?:cudnn|cublas|cuda)\S*.*not found.*|"
                r"CUBLAS_STATUS_(?:INVALID_VALUE|INTERNAL_ERROR|EXECUTION_FAILED))"
            ),
            "The CUDA libraries of the image do not fit together, or not this driver or card: {why}.",
            "Choose the image's own variant for this driver (preflight names it), and take away "
            "LD_LIBRARY_PATH or wheels "
            "that bring another cuDNN or cuBLAS.",
            times=2,
            about=("image", "settings", "node"),
        ),
        Rule(
            "cuda-library-missing",
            logged(rf"{_SHARED}|Library (?P<name>\S+) is not found|Unable to load any of \{{(?P<any>[^,}}]+)"),
            "The container lacks a CUDA library: {library}{name}{any}.",
            "Choose an image with CUDA (tag ends in -cuda), and see that the node's runtime is NVIDIA's.",
            about=("image", "runtimeClass"),
        ),
        Rule(
            "cuda-not-in-image",
            logged(r"not compiled with CUDA|built without CUDA"),
            "The image's server is made for processors without a GPU.",
            "Choose an image with CUDA (tag ends in -cuda).",
            about=("image",),
        ),
        Rule(
            "cuda-device-busy",
            logged(
                r"busy or unavailable|cudaErrorDevicesUnavailable|CUDA_ERROR_DEVICE_UNAVAILABLE|"
                r"cudaErrorDeviceAlreadyInUse"
            ),
            "The card lets no further process in: it is in exclusive mode and another one has it.",
            "Set the card's compute mode to default on the node (nvidia-smi -c 0), or stop the other process.",
            times=2,
            outside=True,
            about=("node",),
        ),
        Rule(
            "cuda-driver-broken",
            logged(
                r"CUDA (?:failed with error |error: |driver error: )?unknown error|CUDA(?: "
                r"initialization:)? (?:CUDA )?unknown error|"
                r"cudaErrorUnknown|CUDA_ERROR_UNKNOWN|Error 999|Error 802|system not yet "
                r"initialized|SYSTEM_?NOT_?READY|"
                r"NVML: (?:Unknown Error|Driver/library)|Driver/library version mismatch|"
                r"uncorrectable ECC|ECC_?UNCORRECTABLE|"
                r"GPU is lost|fallen off the bus|unable to determine the device handle|driver shutting down|"
                r"(?:cudaError|CUDA error: |error )initialization error|hardware stack error|NVLink|"
                r"cudaErrorInitializationError|CUDA_ERROR_NOT_INITIALIZED|cuInit\S* failed"
            ),
            "The driver on the node is in a bad state.",
            "Look at nvidia-smi and dmesg (Xid) on the node; reload the driver (its pod, "
            "nvidia-fabricmanager) or restart it.",
            times=2,
            patience=30,
            outside=True,
            about=("node",),
        ),
        Rule(
            "cuda-no-device",
            logged(
                r"no CUDA-capable device|cudaErrorNoDevice|CUDA_ERROR_NO_DEVICE|CUDA driver initialization failed|"
                r"No CUDA GPUs are available|no NVIDIA driver on your system|invalid device ordinal"
            ),
            "The container sees no GPU.",
            "See that [spec.containers.resources] asks for a GPU and the node's runtime is NVIDIA's "
            "([spec.runtimeClassName]).",
            about=("gpu", "runtimeClass", "settings"),
        ),
    )
