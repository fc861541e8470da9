#!/usr/bin/env python3
"""Writes expected.json: what llama-gguf-split makes of the files in a directory, which
GGUFKIT_TEST_INPUTS=DIR go test ./gguf -run TestSplitAsLlamaCpp leaves there.  record.py DIR"""
import glob, hashlib, json, os, subprocess, sys, tempfile

def digest(path):
    return hashlib.sha256(open(path, "rb").read()).hexdigest()

cases = []
first = "--no-tensor-first-split"
for name in ["plain", "aligned", "heavy", "joined"]:
    for args in [["--split-max-tensors", "5"], ["--split-max-tensors", "1"], ["--split-max-tensors", "3", first], [],
                 ["--split-max-size", "2M"], ["--split-max-size", "2M", first]]:
        with tempfile.TemporaryDirectory() as out:
            quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            source = os.path.join(sys.argv[1], name + ".gguf")
            subprocess.run(["llama-gguf-split", "--split", *args, source, out + "/out"], **quiet)
            files = sorted(glob.glob(out + "/out-*"))
            case = {"input": name, "args": args, "files": [digest(f) for f in files]}
            if name != "aligned":  # of which it cannot read what it wrote
                subprocess.run(["llama-gguf-split", "--merge", files[0], out + "/merged.gguf"], **quiet)
                case["merged"] = digest(out + "/merged.gguf")
            cases.append(case)
with open(os.path.join(os.path.dirname(__file__), "expected.json"), "w") as f:
    f.write("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
