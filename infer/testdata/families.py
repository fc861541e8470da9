#!/usr/bin/env python3
"""Writes families.json.gz: what llama.cpp makes of a small model of each family.

Run with gguf-py and llama.cpp's llama-debug 0.7.0: families.py OUT.json.gz FILE.gguf...
The files are what convert_hf_to_gguf.py makes, as F32, of small checkpoints of transformers'
config classes. Their weights are replaced by numbers that follow from the names of the tensors,
as families_test.go makes them too, so that none need to be kept. Of each file there remain the
metadata but for the vocabulary, names and shapes of tensors, ids of a text, and every 24th of
the logits after it, or, of encoders, of the embeddings of all its tokens.

gemma3n has six layers of 64 gates, of which 0.9513267677484767 are cut off: llama.cpp does not read that, but takes 0.95 and
the deviation of a sample, and 1.6448533 deviations of a sample of 64 are as much as 1.6578563 of all.
"""
import gzip, json, os, shutil, subprocess, sys, tempfile

import gguf
import numpy as np

TEXT = "The quick brown fox jumps over 13 lazy dogs; then it sleeps, and dreams"


def numbers(name, n):
    """n numbers within -1 and 1: splitmix64, from the FNV-1a hash of a name on."""
    seed = 0xCBF29CE484222325
    for c in name.encode():
        seed = (seed ^ c) * 0x100000001B3 % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1


def weights(name, shape):
    """shape is ggml's: the length of a row first."""
    u = numbers(name, int(np.prod(shape)))
    if ("norm" in name or "scale" in name) and name.endswith(".weight"):
        u = 1 + 0.3 * u
    elif name.startswith("rope_"):
        u = 2 + u
    elif name.endswith(".bias"):
        u = 0.3 * u
    elif name.endswith("ssm_a"):
        u = -1 - 0.5 * u
    elif len(shape) > 1 and "embd" not in name:
        u = 2 / np.sqrt(shape[0]) * u
    return u.astype(np.float32)


def model(path, dir):
    copy = os.path.join(dir, "model.gguf")
    shutil.copy(path, copy)
    reader = gguf.GGUFReader(copy, "r+")
    kept = ("general.architecture", "xielu.")
    arch = reader.fields["general.architecture"].contents()
    kv = {k: f.contents() for k, f in reader.fields.items() if k.startswith(kept) or k.startswith(arch + ".")}
    tensors = []
    for t in reader.tensors:
        shape = [int(d) for d in t.shape]
        t.data[...] = weights(t.name, shape).reshape(t.data.shape)
        tensors.append([t.name, shape])
    reader.data.flush()
    del reader
    encoder = arch in ("bert", "modern-bert", "nomic-bert", "gemma-embedding")
    kind = ["--embedding", "--pooling", "none", "--embd-normalize", "-1"] if encoder else []
    subprocess.run(["llama-debug", "-m", copy, "-p", TEXT, "--save-logits", "--logits-output-dir", dir, "-ctk", "f32", "-ctv", "f32", "-fa", "off", "-t", "1", *kind],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    saved = os.path.join(dir, "llamacpp-model" + ("-embeddings" if encoder else ""))
    tokens = np.fromfile(saved + "-tokens.bin", np.int32).tolist()
    every24th = [round(float(x), 6) for x in np.fromfile(saved + ".bin", np.float32)[::24]]
    return {"name": os.path.basename(path).removesuffix(".gguf"), "kv": kv, "tensors": tensors, "tokens": tokens, "embeddings" if encoder else "logits": every24th}


with tempfile.TemporaryDirectory() as dir:
    models = [model(path, dir) for path in sorted(sys.argv[2:])]
with gzip.GzipFile(sys.argv[1], "wb", mtime=0) as out:
    out.write("\n".join(json.dumps(m) for m in models).encode())
