"""families.py CHECKPOINTS NAME... writes families.json.gz: of small checkpoints of many
families with random weights, config.json, the names and shapes of their tensors, and the
metadata and the tensors of what convert_hf_to_gguf.py (llama.cpp 0.7.0, transformers 5.12.1)
makes of them as F32. CHECKPOINTS has a folder NAME of each, with that result in expected.json.gz."""
import glob, gzip, json, os, struct, sys

def json_value(v):
    """JSON has no infinities."""
    if isinstance(v, list):
        return [json_value(x) for x in v]
    return str(v) if v in (float("inf"), float("-inf")) else v


families = []
for name in sys.argv[2:]:
    path = os.path.join(sys.argv[1], name)
    with gzip.open(path + "/expected.json.gz") as f:
        expected = json.load(f)
    sources = []
    for file in sorted(glob.glob(path + "/*.safetensors")):
        with open(file, "rb") as f:
            data = f.read()
        size = 8 + struct.unpack("<Q", data[:8])[0]
        header = json.loads(data[8:size])
        for n, t in sorted(header.items()):
            if n != "__metadata__":
                sources.append([n, t["shape"]])
                if t["dtype"] == "BF16" and t["shape"] in ([], [1]):  # whose value is metadata
                    bits = data[size + t["data_offsets"][0]:][:2]
                    sources[-1].append(struct.unpack("<f", b"\0\0" + bits)[0])
    kv = [[x["key"], json_value(x.get("value", x.get("first")))] for x in expected["kv"]]
    kv = kv[:[key for key, _ in kv].index("general.quantization_version")]  # before those of the vocabulary
    kv = [x for x in kv if not x[0].startswith("general.") or x[0] == "general.file_type"]
    families.append({"name": name, "config": open(path + "/config.json").read(), "sources": sources, "kv": kv, "tensors": expected["tensors"]})
with gzip.GzipFile(os.path.join(os.path.dirname(os.path.abspath(__file__)), "families.json.gz"), "w", mtime=0) as f:
    f.write(json.dumps(families, separators=(",", ":")).encode())
