#!/usr/bin/env python3
"""Records kinds.json.gz: kinds.py TEXTS OUT [N [SEED]]. TEXTS is a directory of texts, N the number of texts whose ids are recorded.
Needs tokenizers 0.23.1 and sentencepiece 0.2.2. With N = 20000 and `full` as the fifth argument, the normalizer of Unigram is SentencePiece's nmt_nfkc."""
import base64, glob, gzip, io, json, random, sys
import sentencepiece
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

texts, out = sys.argv[1:3]
count = int(sys.argv[3]) if len(sys.argv) > 3 else 150
rng = random.Random(int(sys.argv[4]) if len(sys.argv) > 4 else 1)
full = len(sys.argv) > 5
corpus = []
for path in sorted(glob.glob(texts + "/*.txt")):
    corpus += open(path, encoding="utf-8").read()[:60000].splitlines(keepends=True)
corpus += ["Été, naïve café — 東京 is nice!\n", "Привет, как дела? Ёлка.\n", "ｆｕｌｌ ﬁne ① ㍿ Å\n", "한국어 텍스트\n", "a  b   c\td\n\n\n\n\n"] * 20
rng.shuffle(corpus)

def wordpiece(lowercase):
    t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    t.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.decoder = decoders.WordPiece()
    t.train_from_iterator(corpus, trainers.WordPieceTrainer(vocab_size=700, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False))
    return t

def characters(cut):
    """Gemma's; cut is how texts are cut up for training."""
    t = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    t.normalizer = normalizers.Replace(" ", "▁")
    t.pre_tokenizer = cut
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    t.train_from_iterator(["".join(corpus[i:i + 40]) for i in range(0, len(corpus), 40)],
                          trainers.BpeTrainer(vocab_size=560, special_tokens=special + [f"<0x{b:02X}>" for b in range(256)], limit_alphabet=120, show_progress=False))
    j = json.loads(t.to_str())
    j["added_tokens"] = j["added_tokens"][:len(special)]
    j["pre_tokenizer"] = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
    t = Tokenizer.from_str(json.dumps(j))
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return t

def unigram(**options):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter([c.rstrip("\n") for c in corpus]), model_writer=model, model_type="unigram",
                                             vocab_size=500, minloglevel=2, num_threads=1, **options)
    return model.getvalue()

rules = out + ".tsv"
with open(rules, "w") as f:  # what nmt_nfkc does to some characters
    for a, b in [("ﬁ", "fi"), ("①", "1"), ("㍿", "株式会社"), ("e\u0301", "é"), ("e\u0301\u0323", "ẹ́"), ("ｆ", "f"), ("ｕ", "u"), ("ｌ", "l"), ("\t", " "), ("\n", " "),
                 ("\u3000", " "), ("\u00a0", " "), ("\u200b", " "), ("\u00ad", ""), ("\u212b", "Å"), ("か\u3099", "が"), ("¨", " \u0308")]:
        f.write(" ".join(f"{ord(c):X}" for c in a) + "\t" + " ".join(f"{ord(c):X}" for c in b) + "\n")
normalization = {"normalization_rule_name": "nmt_nfkc"} if full else {"normalization_rule_tsv": rules}
files, encode = {}, {}
for name, t in {"wordpiece": wordpiece(True), "wordpiece-cased": wordpiece(False),
                "gemma4": characters(pre_tokenizers.Sequence([pre_tokenizers.Split("▁", "merged_with_next"), pre_tokenizers.Split("\n", "contiguous")])),
                "gemma4-lines": characters(pre_tokenizers.Split("th", "isolated"))}.items():
    files[name] = {"tokenizer.json": json.loads(t.to_str())}
    if name.startswith("gemma4"):
        files[name]["tokenizer_config.json"] = {"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>"}
    encode[name] = lambda s, t=t: t.encode(s, add_special_tokens=False).ids
for name, options in {"unigram": normalization | {"character_coverage": 0.999}, "unigram-spaces": {"normalization_rule_name": "identity", "remove_extra_whitespaces": False,
                      "byte_fallback": True, "add_dummy_prefix": False, "split_by_whitespace": False, "character_coverage": 0.99}}.items():
    model = unigram(**options)
    p = sentencepiece.SentencePieceProcessor(model_proto=model)
    files[name] = {"tokenizer.model": base64.b64encode(model).decode()}
    encode[name] = lambda s, p=p: p.encode(s)

def bpe():
    """SentencePiece's BPE, and what transformers makes a tokenizer.json of."""
    data = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter([c.rstrip("\n") for c in corpus]), model_writer=data, model_type="bpe", vocab_size=600, minloglevel=2, num_threads=1,
                                             normalization_rule_name="identity", remove_extra_whitespaces=False, byte_fallback=True, allow_whitespace_only_pieces=True, character_coverage=0.99)
    p = sentencepiece.SentencePieceProcessor(model_proto=data.getvalue())
    vocab = {p.id_to_piece(i): i for i in range(len(p))}
    score = {t: p.get_score(i) for t, i in vocab.items()}
    merges = []
    for t in vocab:
        if not (p.is_byte(vocab[t]) or p.is_control(vocab[t]) or p.is_unknown(vocab[t])):
            pairs = [(t[:i], t[i:]) for i in range(1, len(t)) if t[:i] in vocab and t[i:] in vocab]
            merges += [(score[t], pair) for pair in sorted(pairs, key=lambda x: (vocab[x[0]], vocab[x[1]]))]
    merges = [pair for _, pair in sorted(merges, key=lambda x: -x[0])]
    t = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return data.getvalue(), p, t
model, p, t = bpe()
files["pieces"] = {"tokenizer.model": base64.b64encode(model).decode()}
encode["pieces"] = lambda s, p=p: p.encode(s)
files["pieces-fast"] = {"tokenizer.json": json.loads(t.to_str())}
encode["pieces-fast"] = lambda s, t=t: t.encode(s, add_special_tokens=False).ids

blocks = [(0x20, 0x7f), (0xa0, 0x250), (0x250, 0x530), (0x590, 0x700), (0x900, 0xe00), (0x1100, 0x1200), (0x1e00, 0x2100), (0x2000, 0x2c00), (0x3000, 0x3100),
          (0x3300, 0x3400), (0x4e00, 0x9fff), (0xac00, 0xd7a4), (0xf900, 0xfb50), (0xfe00, 0xffff), (0x10000, 0x11f00), (0x1d400, 0x1f9ff), (0x2a600, 0x2b900), (0, 0xd800), (0xe000, 0x110000)]
parts = ["\n", "\n\n", "\n" * 7, " ", "  ", "     ", "\t", "\r\n", "\u00a0", "\u3000", "▁", "▁▁", "e\u0301", "İ", "ǅ", "ß", "ﬁ", "①", "ｆ", "が", "\u200b", "\ufeff", "\x00", "\x85", "\ufffd",
         "don't", "!!!", "...", "1234567", "[CLS]", "[UNK]", "<bos>", "<unk>", "<0x41>", "<0x0A>", "##ing", "ing", "the ", " the", "The", "NAÏVE", "東京", "Ёлка", "x" * 101, "y" * 100, "🙂", "👩‍👩‍👧"]
def text():
    kind = rng.random()
    if kind < 0.2:
        line = "".join(rng.sample(corpus, 2))
        start = rng.randrange(len(line))
        return line[start:start + rng.randrange(1, 120)]
    s = ""
    for _ in range(rng.randrange(1, 12)):
        kind = rng.random()
        if kind < 0.4:
            s += rng.choice(parts)
        elif kind < 0.6:
            s += rng.choice(rng.choice(corpus).split(" "))
        else:
            s += "".join(chr(rng.randrange(*rng.choice(blocks))) for _ in range(rng.randrange(1, 4)))
    return s
cases = []
while len(cases) < count:
    s = text()
    cases.append({"text": s, "ids": {name: e(s) for name, e in encode.items()}})
data = json.dumps({"files": files, "cases": cases}, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
open(out, "wb").write(gzip.compress(data, 9, mtime=0))
