"""Writes families.json.gz: words and ids that Hugging Face's tokenizers give to random strings, for each family of pre-tokenizers. README.md says what is in it.
Run from the project's root: python3 infer/tokenizer/testdata/families.py [STRINGS]"""
import gzip, hashlib, json, os, sys
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

HERE = os.path.dirname(os.path.abspath(__file__))
TEXTS = os.path.join(HERE, "../../../testdata/texts")

def split(regex): return {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
def bytes_of(regex): return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": regex}
def digits(single): return {"type": "Digits", "individual_digits": single}
def splits(*regexes): return [split(r) for r in regexes] + [bytes_of(False)]

# Expressions as published files have them.
C = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r"\s*[\r\n]+|\s+(?!\S)|\s+"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CL100K = C + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|" + TAIL
U, W = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
def cased(c, u=U, w=W): return rf"[^\r\n\p{{L}}\p{{N}}]?{u}*{w}+{c}|[^\r\n\p{{L}}\p{{N}}]?{u}+{w}*{c}"
O200K = cased(C + "?") + r"|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + TAIL
def v3(rest): return "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+" + rest + r"|\s+(?!\S)|\s+"
DEEPSEEK3 = v3("[\r\n]*|\\s*[\r\n]+")
JAPANESE = "[一-龥\u3040-ゟ゠-ヿ]+"
BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"
LETTERS = (r"\s?"
           "[A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-"
           "\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-"
           "\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-"
           "\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-"
           "\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-"
           "\U000118df\U0001e900-\U0001e943]+")
IDEOGRAPHS = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
NOT_HAN = lambda s: s[:-1] + r"&&[^\p{Han}]]"
FAMILIES = {
    "llama-bpe": splits(CL100K % "{1,3}"), "qwen2": splits(CL100K % ""),
    "qwen35": splits(C + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|" + TAIL),
    "ufakzeka": splits((CL100K % "").removeprefix(C + "|")),
    "gpt-4o": splits(O200K % "{1,3}"), "tekken": splits(cased("") + r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + TAIL),
    "tiny_aya": splits(r"\d{1,3}(?=(?:\d{3})*\b)", O200K % "{1,3}"),
    "deepseek-v3": splits(r"\p{N}{1,3}", JAPANESE, DEEPSEEK3),
    "deepseek-llm": [split("[\r\n]"), split(LETTERS), split("\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+"), split(r"\s+$"), split(IDEOGRAPHS), digits(True), bytes_of(False)],
    "deepseek-coder": [split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split(IDEOGRAPHS), digits(True), bytes_of(False)],
    "gpt-2": [bytes_of(True)], "starcoder": [digits(True), bytes_of(True)],
    "falcon": [{"type": "Punctuation", "behavior": "Contiguous"}, bytes_of(True), digits(False), split("[0-9][0-9][0-9]")],
    "bloom": splits(BLOOM), "viking": [split(BLOOM), digits(True), bytes_of(False)],
    "kimi-k2": splits(r"[\p{Han}]+|" + cased(C + "?", NOT_HAN(U), NOT_HAN(W)) + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + TAIL),
    "bailingmoe": splits(r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"),
    "seed-coder": splits(C + "|[^\r\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\r\n]+|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"),
    "minicpm5": splits(r"\p{N}{1,3}", CL100K % "+"),
    "exaone-moe": splits(C + r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"),
    "superbpe": splits(r"\p{N}+", r"(?=(\d{3})+(?!\d))"),
    "jais-2": splits((CL100K % "{1,3}").removesuffix(r"\s+(?!\S)|\s+") + "".join(rf"\s{{{2**i}}}(?!\S)|" for i in range(9, 1, -1)) + r"\s{1,2}(?!\S)|\s{1}"),
    "youtu": splits("[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|" + JAPANESE, O200K % ""),
    "afmoe": splits(r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))",
                    "[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\u3040-ゟ゠-ヿ･-ﾟ⼀-⿟เ-๿຀-໿ក-៿က-႟ꩠ-ꩿꧠ-꧿가-\ud7afᄀ-ᇿ]+", DEEPSEEK3),
    "laguna": splits(r"[^\n]+|[\n]+", CL100K % ""),
    "spark2_5": splits(r"\p{N}{1,3}", JAPANESE, v3("|[\r\n]"), r"\p{N}"),
    "k2-horizon": splits(C + r"|[^\r\n\p{L}\p{N}]?(?:\p{L}|\p{M}|\u200C|\u200D)+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + TAIL),
    "chameleon": [split(r"<sentinel:[0-9]+>"), split(r"(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z"), split(r"([\t\n]|    |  )"), digits(True),
                  {"type": "Punctuation", "behavior": "Isolated"}, bytes_of(True)],
    "default": splits(r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"),
}
IGNORE_MERGES = ["llama-bpe", "tekken", "minicpm5", "youtu"]

# What random strings are made of: pieces that the expressions tell apart, and ranges of characters.
PIECES = ["'s", "'S", "'ſ", "'LL", "'re", "I'd", " ", " ", "  ", "   ", "    ", " " * 21, " " * 600, "\t", "\n", "\r\n", "\n\n\n", " \n", "\u3000", "\u00a0", "\u0085", "\u2028", "1", "12",
          "123", "1234567", "12345678901", "٣", "١٢٣٤", "½", "²", "Ⅷ", "a", "Z", "the", " and", "Hello", "HTTPServer", "iPhone", "ÉCOLE", "ǅ", "é", "e\u0301", "中文", "漢字かな", "한국", "ㄱㄴ", "हिन्दी",
          "ไทย", "عربي", "/", "//", "...", "!", "_", "-", "#", "<", "|", "$x", "x^2", "“q”", "…", "，", "。", "—", "😀", "👨\u200d👩", "\u200c", "<sentinel:12>", "IMGIMGABZ", " unmerged", "unmerged", "Zq"]
RANGES = [[0x20, 0x7e], [0x20, 0x7e], [0, 0x1f], [0xa0, 0x24f], [0x2b0, 0x36f], [0x370, 0x52f], [0x531, 0x6ff], [0x700, 0xdff], [0xe00, 0x13ff], [0x1400, 0x1cff], [0x1d00, 0x1fff], [0x2000, 0x206f],
          [0x2070, 0x24ff], [0x2500, 0x2fff], [0x3000, 0x31ff], [0x3400, 0x9fff], [0xa000, 0xabff], [0xac00, 0xd7ff], [0xe000, 0xffff], [0x10000, 0x11fff], [0x12000, 0x1efff], [0x1f000, 0x1ffff], [0x20000, 0x33fff],
          [0x34000, 0x10ffff]]

class Random:
    """A generator that any language has in a line: that of Numerical Recipes."""
    def __init__(self, state): self.state = state
    def below(self, n):
        self.state = (self.state * 1664525 + 1013904223) % 2**32
        return self.state * n >> 32

def strings(n):
    r = Random(1)
    for _ in range(n):
        parts = []
        for _ in range(1 + r.below(25)):
            if r.below(5) < 3: parts.append(PIECES[r.below(len(PIECES))])
            else:
                low, high = RANGES[r.below(len(RANGES))]
                parts += [chr(low + r.below(high - low + 1)) for _ in range(1 + r.below(3))]
        yield "".join(parts)

MARKS = "aeoAKΩ\u1100\u1161\u11a8각é\u0344ậΐ\u0958\U0001d15e\u0300\u0301\u0302\u0323\u0316\u0334\u0345\u0359\u05b0\u064b\u094d\u1df9\u0898\u1abf\u0f71\u0f72 "

def composed(n):
    """Texts with what they are in normal form C: some have long runs of marks, some marks of Unicode 10 and later."""
    r = Random(2)
    for i in range(n):
        text = "".join(MARKS[r.below(len(MARKS))] for _ in range(60)) if i % 3 else MARKS[r.below(14)] + "".join(MARKS[18 + r.below(12)] for _ in range(60))
        yield text, normalizers.NFC().normalize_str(text)

# Other expressions, and what becomes of their matches.
CUTS = [(r"(?<=\p{Ll})(?=\p{Lu})", "Isolated", False), (r"(?<!\p{L}|\d)[\p{L}\d]+", "Isolated", False), (r"(?<![\p{L}\s]\s)\p{L}", "Isolated", False), (r"\p{L}+?\p{N}*?", "Isolated", False),
        (r"\p{L}{2,4}?", "Isolated", False), (r"(?:ab|\p{L})+?\s", "Isolated", False), (r"(?>\s+|\p{L}\p{M}*)(?!\S)", "Isolated", False), (r"^\s*\S", "Isolated", False), (r"\S$", "Isolated", False), (r"\b\w", "Isolated", False),
        (r"\s", "MergedWithPrevious", False), (r"\s", "MergedWithNext", False), (r"\s", "MergedWithPrevious", True), (r"\s", "MergedWithNext", True), (r"\p{L}+|\p{N}", "MergedWithPrevious", False), (r"\p{L}+|\p{N}", "MergedWithNext", True),
        (r"(?=\p{Lu})", "Isolated", False), (r"\p{Greek}+|\p{Han}+|[^\p{Latin}\s]", "Isolated", False)]

def cut(texts):
    for regex, behavior, inverted in CUTS:
        step = pre_tokenizers.Split(Regex(regex), {"MergedWithPrevious": "merged_with_previous", "MergedWithNext": "merged_with_next"}.get(behavior, "isolated"), inverted)
        words = [[len(w.encode()) for w, _ in step.pre_tokenize_str(text)] for text in texts]
        yield regex, behavior, inverted, hashlib.sha256(json.dumps(words, separators=(",", ":")).encode()).hexdigest()[:8]

def shared_merges(n):
    """Merges that do not stop at words: what differs in words then differs in ids."""
    text = "".join(open(os.path.join(TEXTS, f), encoding="utf-8").read()for f in sorted(os.listdir(TEXTS)) if f.endswith(".txt"))
    parts = [text[i:i + 60] for i in range(0, len(text), 60)] + [s.replace("unmerged", "").replace("Zq", "") for s in strings(1500)]
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    t.train_from_iterator(parts, trainers.BpeTrainer(vocab_size=256 + n, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    return [list(m) for m in json.loads(t.to_str())["model"]["merges"]]

def main(count):
    merges = shared_merges(700)
    vocab = {}
    for token in sorted(pre_tokenizers.ByteLevel.alphabet()) + ["".join(m) for m in merges] + ["Ġunmerged", "unmerged", "Zq"]: vocab.setdefault(token, len(vocab))
    texts = list(strings(count))
    hashes = {}
    for name, steps in FAMILIES.items():
        t = Tokenizer.from_str(json.dumps({
            "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None, "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}, "post_processor": None, "decoder": None,
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                      "ignore_merges": name in IGNORE_MERGES, "vocab": vocab, "merges": merges}}))
        hashes[name] = []
        for i in range(0, count, 100):
            h = hashlib.sha256()
            for text in texts[i:i + 100]:
                words = [len(word) for word, _ in t.pre_tokenizer.pre_tokenize_str(text)]
                h.update((" ".join(map(str, words + t.encode(text).ids)) + "\n").encode())
            hashes[name].append(h.hexdigest()[:8])
        print(name, file=sys.stderr)
    data = {"pieces": PIECES, "ranges": RANGES, "merges": [" ".join(m) for m in merges], "ignore_merges": IGNORE_MERGES, "nfc": list(composed(60)), "texts": texts[:100], "cuts": list(cut(texts[:100])),
            "pre_tokenizers": {n: {"type": "Sequence", "pretokenizers": s} for n, s in FAMILIES.items()}, "ids": hashes}
    with open(os.path.join(HERE, "families.json.gz"), "wb") as f:
        f.write(gzip.compress(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode(), mtime=0))

if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
