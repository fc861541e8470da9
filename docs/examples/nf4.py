#!/usr/bin/env python3
"""Packs a checkpoint as transformers saves it with bitsandbytes, NF4 in blocks of 64: nf4.py MODEL OUT. It needs numpy.

For the example in docs/drift.md, whose model no published NF4 checkpoint is of. All matrices are packed but embeddings and output, routers among them,
from their values in float16. What it packs is bit for bit what bitsandbytes 0.50 packed of the first two layers of that model.
"""
import json, os, shutil, struct, sys
import numpy as np

# The quantiles of a normal distribution, of QLoRA's appendix E, as bitsandbytes has them.
NF4 = np.array([-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
                0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0], np.float32)
BLOCK = 64


def read(path):
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    for name, t in header.items():
        if name == "__metadata__":
            continue
        raw = data[slice(*t["data_offsets"])]
        if t["dtype"] == "BF16":
            values = (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32)
        else:
            values = np.frombuffer(raw, {"F16": np.float16, "F32": np.float32}[t["dtype"]])
        yield name, values.astype(np.float16).reshape(t["shape"])


def pack(values):
    blocks = values.astype(np.float32).reshape(-1, BLOCK)
    absmax = np.abs(blocks).max(axis=1)
    codes = np.searchsorted((NF4[1:] + NF4[:-1]) / np.float32(2), blocks * (np.float32(1) / absmax)[:, None]).astype(np.uint8).ravel()
    state = {"quant_type": "nf4", "blocksize": BLOCK, "dtype": "float16", "shape": list(values.shape)}
    return {"": (codes[::2] << 4 | codes[1::2])[:, None], ".absmax": absmax, ".quant_map": NF4,
            ".quant_state.bitsandbytes__nf4": np.frombuffer(json.dumps(state).encode(), np.uint8)}


def write(path, tensors):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, t in tensors.items():
        dtype = {np.uint8: "U8", np.float16: "F16", np.float32: "F32"}[t.dtype.type]
        header[name] = {"dtype": dtype, "shape": list(t.shape), "data_offsets": [offset, offset + t.nbytes]}
        offset += t.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(t.tobytes() for t in tensors.values()))


def main(model, out):
    os.mkdir(out)
    tensors = {}
    for file in sorted(os.listdir(model)):
        if file.endswith(".safetensors"):
            for name, values in read(f"{model}/{file}"):
                plain = values.ndim < 2 or name in ("model.embed_tokens.weight", "lm_head.weight")
                tensors |= {name: values} if plain else {name + part: t for part, t in pack(values).items()}
        elif not file.endswith(".index.json"):
            shutil.copy(f"{model}/{file}", f"{out}/{file}")
    write(f"{out}/model.safetensors", tensors)
    with open(f"{out}/config.json") as f:
        config = json.load(f)
    config["torch_dtype"] = "float16"
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": "float16"}
    with open(f"{out}/config.json", "w") as f:
        json.dump(config, f, indent=2)


if __name__ == "__main__":
    main(*sys.argv[1:])
