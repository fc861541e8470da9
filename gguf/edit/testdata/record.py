#!/usr/bin/env python3
"""Writes expected.json: what gguf-new-metadata and gguf-set-metadata make of the files in a directory, which
GGUFKIT_TEST_INPUTS=DIR go test ./gguf/edit -run TestEditAsGgufPy leaves there.  record.py DIR"""
import hashlib, json, os, shutil, subprocess, sys, tempfile

new = [
    ["--general-name", "A model with a name that is longer than the one before, so that nothing stays in its place"],
    ["--general-name", "b", "--general-description", "two lines\nand ü", "--chat-template", "{% for m in messages %}{{ m.content }}{% endfor %}"],
    ["--chat-template", "{{ short }}"],
    ["--remove-metadata", "x.byte", "--remove-metadata", "general.name"],
    ["--pre-tokenizer", "default", "--special-token", "eos", "tök5", "--special-token", "bos", "a=b"],
    ["--special-token-by-id", "padding", "299"],
]
put = [["llama.block_count", "77"], ["tokenizer.ggml.eos_token_id", "299"], ["x.byte", "255"], ["llama.rope.freq_base", "1234567.5"]]

cases = []
for name in ["plain", "aligned"]:
    source = os.path.join(sys.argv[1], name + ".gguf")
    with tempfile.TemporaryDirectory() as out:
        path = out + "/out.gguf"
        quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        for tool, lists in [("gguf-new-metadata", new), ("gguf-set-metadata", put)]:
            for args in lists:
                if tool == "gguf-new-metadata":
                    subprocess.run([tool, "--force", *args, source, path], **quiet)
                else:
                    shutil.copy(source, path)
                    subprocess.run([tool, "--force", path, *args], **quiet)
                digest = hashlib.sha256(open(path, "rb").read()).hexdigest()
                cases.append({"tool": tool, "input": name, "args": args, "sha256": digest})
with open(os.path.join(os.path.dirname(__file__), "expected.json"), "w") as f:
    f.write("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
