"""Prints how many million weights a second ggml_quantize_chunk takes, by type: python3 ggml.py libggml-base.so Q4_K ...

The weights are normally distributed, 256 rows of 4096; 8 rows for the IQ types. Best of three runs."""

import ctypes
import json
import random
import sys
import time

# enum ggml_type
TYPES = dict(Q4_0=2, Q4_1=3, Q5_0=6, Q5_1=7, Q8_0=8, Q2_K=10, Q3_K=11, Q4_K=12, Q5_K=13, Q6_K=14, IQ2_XXS=16, IQ2_XS=17, IQ3_XXS=18, IQ1_S=19, IQ4_NL=20,
             IQ3_S=21, IQ2_S=22, IQ4_XS=23, IQ1_M=29, TQ1_0=34, TQ2_0=35, MXFP4=39)
WITHOUT_IMATRIX = {"Q8_0", "MXFP4", "TQ1_0", "TQ2_0"}

ggml = ctypes.CDLL(sys.argv[1])
ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
ggml.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
ggml.ggml_quantize_requires_imatrix.restype = ctypes.c_bool

WIDTH = 4096
speeds = {}
for name in sys.argv[2:]:
    if name not in TYPES:
        continue
    rows = 8 if name.startswith("IQ") else 256
    n = rows * WIDTH
    random.seed(1)
    weights = (ctypes.c_float * n)(*(random.gauss(0, 0.02) for _ in range(n)))
    importance = (ctypes.c_float * WIDTH)(*(random.expovariate(1) for _ in range(WIDTH)))
    blocks = ctypes.create_string_buffer(4 * n)
    for imatrix, label in ((None, name), (importance, name + ", importance matrix")):
        if imatrix is None and ggml.ggml_quantize_requires_imatrix(TYPES[name]) or imatrix is not None and name in WITHOUT_IMATRIX:
            continue
        times = []
        for _ in range(4):  # the first makes tables
            start = time.perf_counter()
            ggml.ggml_quantize_chunk(TYPES[name], weights, blocks, 0, rows, WIDTH, imatrix)
            times.append(time.perf_counter() - start)
        speeds[label] = n / min(times[1:]) / 1e6
json.dump(speeds, sys.stdout)
