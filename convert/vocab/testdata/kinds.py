#!/usr/bin/env python3
"""Records kinds.json.gz: kinds.py OUT. Runs set_vocab of convert_hf_to_gguf.py's classes (llama.cpp 0.7.0, in /usr/share/llama.cpp/llama.cpp-tools) on the files of small
tokenizers and records what it gives to the GGUF writer. mistral_common, protobuf, tiktoken and the code that comes with checkpoints of Kimi and Hunyuan are stood in for by what of them it uses."""
import base64, gzip, io, json, os, struct, sys, tempfile, types
from pathlib import Path
sys.path.insert(1, "/usr/share/llama.cpp/llama.cpp-tools")
os.environ["HF_HUB_OFFLINE"] = "1"

import transformers  # looks for mistral_common, which is not there
from transformers import AutoTokenizer

# --- stand-ins ---
def fields(b):
    i = 0
    def varint():
        nonlocal i
        n = s = 0
        while True:
            c = b[i]; i += 1; n |= (c & 127) << s; s += 7
            if c < 128: return n
    while i < len(b):
        t = varint()
        if t & 7 == 0: v = varint()
        elif t & 7 == 2:
            n = varint(); v = b[i:i + n]; i += n
        else: v = struct.unpack("<f", b[i:i + 4])[0]; i += 4
        yield t >> 3, v
class ModelProto:
    def ParseFromString(self, data):
        parts = {n: dict(fields(v)) for n, v in fields(data) if n in (2, 3)}
        self.trainer_spec = types.SimpleNamespace(model_type=parts[2].get(3, 1))
        n = parts[3]
        self.normalizer_spec = types.SimpleNamespace(add_dummy_prefix=bool(n.get(3, 1)), remove_extra_whitespaces=bool(n.get(4, 1)), precompiled_charsmap=n.get(2, b""))
import sentencepiece
pb = types.ModuleType("sentencepiece.sentencepiece_model_pb2")
pb.ModelProto = ModelProto
sys.modules[pb.__name__] = sentencepiece.sentencepiece_model_pb2 = pb

class Tekkenizer:
    def __init__(self, path):
        j = json.load(open(path))
        c = j["config"]
        self.version, self.n_words, self.num_special_tokens = "v7", c["default_vocab_size"], c["default_num_special_tokens"]
        special = [t["token_str"] for t in j["special_tokens"]]
        self.special = special + [f"<SPECIAL_{i}>" for i in range(len(special), self.num_special_tokens)]
        self._tekken_token2id_nospecial = {base64.b64decode(t["token_bytes"]): t["rank"] for t in j["vocab"][:self.n_words - self.num_special_tokens]}
        self._model = types.SimpleNamespace(_mergeable_ranks=self._tekken_token2id_nospecial)
        self.bos_id, self.eos_id, self.unk_id, self.pad_id = map(self.special.index, ["<s>", "</s>", "<unk>", "<pad>"])
    def id_to_piece(self, i): return self.special[i]
class Ranks:
    """tokenization_kimi.py and tokenization_hy.py: tokens by rank, and special ones behind them."""
    def __init__(self, path):
        kimi = Path(path, "tiktoken.model")
        lines = (kimi if kimi.exists() else Path(path, "hy.tiktoken")).read_bytes().splitlines()
        self.mergeable_ranks = {base64.b64decode(t): int(r) for t, r in (l.split() for l in lines if l)}
        self.model, n = types.SimpleNamespace(_mergeable_ranks=self.mergeable_ranks), len(self.mergeable_ranks)
        if kimi.exists():
            named = json.loads(Path(path, "tokenizer_config.json").read_text())["added_tokens_decoder"]
            self.special_tokens = {named.get(str(i), {"content": f"<|reserved_token_{i}|>"})["content"]: i for i in range(n, n + 256)}
        else:
            names = ["<|endoftext|>", "<|startoftext|>", "<|bos|>", "<|eos|>", "<|pad|>"] + [f"<|extra_{i}|>" for i in range(205)]
            self.special_tokens = {t: n + i for i, t in enumerate(names)}
        self.vocab_size = json.loads(Path(path, "config.json").read_text())["vocab_size"]
def module(name, **members):
    m = types.ModuleType(name); m.__dict__.update(members); m.__path__ = []; sys.modules[name] = m
prefix = "mistral_common.tokens.tokenizers"
for name in ("mistral_common", "mistral_common.tokens", prefix): module(name)
module(prefix + ".base", TokenizerVersion=types.SimpleNamespace(v1="v1", v3="v3", v7="v7", v11="v11", v13="v13"))
module(prefix + ".multimodal", DATASET_MEAN=None, DATASET_STD=None)
module(prefix + ".tekken", Tekkenizer=Tekkenizer)
module(prefix + ".sentencepiece", SentencePieceTokenizer=type("SentencePieceTokenizer", (), {}), get_mm_config=None, get_spm_version=None)
module(prefix + ".mistral", MistralTokenizer=types.SimpleNamespace(from_file=lambda p: types.SimpleNamespace(instruct_tokenizer=types.SimpleNamespace(tokenizer=Tekkenizer(p)))))
module(prefix + ".utils", _filter_valid_tokenizer_files=len, get_one_valid_tokenizer_file=lambda files: [f for f in files if f.endswith("tekken.json")][0])

import gguf
from conversion import base
from conversion.deepseek import DeepseekV2Model
from conversion.hunyuan import HunYuanMoEModel
from conversion.bert import BertModel, ModernBertModel, XLMRobertaModel
from conversion.gemma import Gemma4Model
from conversion.internlm import InternLM3Model
from conversion.llama import LlamaModel
from conversion.t5 import T5Model
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

# --- tokenizers ---
def added(*tokens, special=True): return [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": not special, "special": special} for i, t in tokens]
def saved(t, more=()):
    j = json.loads(t.to_str())
    j["added_tokens"] = list(more)
    return j
bert_roles = dict(cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", unk_token="[UNK]", mask_token="[MASK]")
words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "##s", "a", "##b", ".", "##", "é", "[unused1]"]
def bert(lowercase=True, strip=None, more=(), template=True):
    t = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    t.normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=strip)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.decoder = decoders.WordPiece()
    if template:
        t.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return saved(t, added(*enumerate(words[:5])) + list(more))
gemma_roles = dict(bos_token="<bos>", eos_token="<eos>", unk_token="<unk>", pad_token="<pad>")
pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<turn|>", "<|channel>", "<|\"|>"] + [f"<0x{b:02X}>" for b in range(256)] + ["▁", "a", "b", "\n", "▁a", "ab", "\n\n", "▁▁"]
def gemma(more=()):
    t = Tokenizer(models.BPE({p: i for i, p in enumerate(pieces)}, [("▁", "a"), ("a", "b"), ("\n", "\n"), ("▁", "▁")], unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    t.normalizer = normalizers.Replace(" ", "▁")
    t.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    t.post_processor = processors.TemplateProcessing(single="<bos> $A", pair="<bos> $A <bos>:1 $B:1", special_tokens=[("<bos>", 2)])
    return saved(t, added(*enumerate(pieces[:8])) + list(more))
corpus = ["the quick brown fox", "jumps over the lazy dog", "naïve café ①"] * 30
def sp(**options):
    model = io.BytesIO()
    rules = Path(tempfile.mkdtemp()) / "rules.tsv"
    rules.write_text("2460\t31\n9\t20\n")
    o = dict(model_type="unigram", vocab_size=48, hard_vocab_limit=False, minloglevel=2, num_threads=1, normalization_rule_tsv=str(rules)) | options
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(corpus), model_writer=model, **o)
    return model.getvalue()
def xlmr(model, more=()):
    p = sentencepiece.SentencePieceProcessor(model_proto=model)
    vocab = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)] + [(p.id_to_piece(i), p.get_score(i)) for i in range(3, len(p))] + [("<mask>", 0.0)]
    t = Tokenizer(models.Unigram(vocab, unk_id=3, byte_fallback=False))
    charsmap = [dict(fields(v))[2] for n, v in fields(model) if n == 3][0]
    t.normalizer = normalizers.Precompiled(charsmap)
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    t.decoder = decoders.Metaspace()
    t.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    return saved(t, added((0, "<s>"), (1, "<pad>"), (2, "</s>"), (3, "<unk>"), (len(vocab) - 1, "<mask>")) + list(more)), len(vocab)
xlmr_roles = dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>", sep_token="</s>", pad_token="<pad>", cls_token="<s>", mask_token="<mask>", clean_up_tokenization_spaces=True)
def tekken(special, size):
    tokens = [bytes([b]) for b in range(256)] + [b"th", b"he", b"the", b" th", b" the", b"\xc3\xa9", b" \xc3", b"\xff\xfe"]
    pattern = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    return {"config": {"pattern": pattern, "num_vocab_tokens": len(tokens) + 3, "default_vocab_size": size, "default_num_special_tokens": 10, "version": "v7"},
            "vocab": [{"rank": i, "token_bytes": base64.b64encode(t).decode(), "token_str": None} for i, t in enumerate(tokens)],
            "special_tokens": [{"rank": i, "token_str": t, "is_control": True} for i, t in enumerate(special)]}
def ranks(seed, more):
    """Bytes in an order of their own, what merges make, and tokens that no merge of two makes."""
    tokens = [bytes([b]) for b in sorted(range(256), key=lambda b: b * seed % 257)]
    tokens += [b"th", b"in", b"the", b" t", b"he", b"ing", b" the", b" th", b"\xc3\xa9", b"\xe4\xb8", b"\xe4\xb8\xad", b"  ", b"    ", b"hin", b"thing", b"xyz", b"aaa"] + more
    return "".join(f"{base64.b64encode(t).decode()} {i}\n" for i, t in enumerate(tokens)), len(tokens)
model = sp()
count = lambda m: len(sentencepiece.SentencePieceProcessor(model_proto=m))
with_bytes = sp(byte_fallback=True, vocab_size=300, add_dummy_prefix=False)
fast, size = xlmr(model)
pieces_model = Path(__file__).with_name("tokenizer.model").read_bytes()
kimi, n_kimi = ranks(3, [])
hunyuan, n_hunyuan = ranks(5, [b"\xff\xfe", b"un"])
token = lambda text, special=True: {"content": text, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": special}
kimi_config = {"added_tokens_decoder": {str(n_kimi): token("[BOS]"), str(n_kimi + 1): token("[EOS]"), str(n_kimi + 11): token("<|tool_calls_section_begin|>", False), str(n_kimi + 255): token("[PAD]")},
               "bos_token": "[BOS]", "eos_token": "[EOS]", "pad_token": "[PAD]", "tokenizer_class": "TikTokenTokenizer", "auto_map": {"AutoTokenizer": ["tokenization_kimi.TikTokenTokenizer", None]},
               "chat_template": "{{ messages }}"}
config = lambda **more: {"model_type": "bert", "type_vocab_size": 2} | more
cases = {
    "bert": (BertModel, 13, {"tokenizer.json": bert(), "tokenizer_config.json": dict(tokenizer_class="BertTokenizer", **bert_roles), "config.json": config()}),
    "bert-cased": (BertModel, 16, {"tokenizer.json": bert(False, False), "tokenizer_config.json": dict(tokenizer_class="BertTokenizer", do_lower_case=False, **bert_roles), "config.json": config(pad_token_id=0)}),
    "bert-added": (BertModel, 16, {"tokenizer.json": bert(more=added((13, "<tool>"), (14, "##x"), special=False)), "tokenizer_config.json": bert_roles, "config.json": config()}),
    "bert-no-config": (BertModel, 13, {"tokenizer.json": bert(template=False), "config.json": config()}),
    "bert-text": (BertModel, 14, {"vocab.txt": "\n".join(words) + "\n", "tokenizer_config.json": {"tokenizer_class": "BertTokenizer"}, "config.json": config(pad_token_id=0)}),
    "gemma4": (Gemma4Model, 272, {"tokenizer.json": gemma(), "tokenizer_config.json": dict(tokenizer_class="GemmaTokenizer", **gemma_roles), "config.json": {"model_type": "gemma4"}}),
    "gemma4-roles": (Gemma4Model, 272, {"tokenizer.json": gemma(), "tokenizer_config.json": dict(tokenizer_class="GemmaTokenizer", eot_token="<turn|>", extra_special_tokens=["<|channel>"], **gemma_roles),
                     "config.json": {"model_type": "gemma4"}}),
    "gemma4-added": (Gemma4Model, 274, {"tokenizer.json": gemma(added((272, "<image>")) + added((273, "x y"), special=False)), "tokenizer_config.json": dict(tokenizer_class="PreTrainedTokenizerFast", image_token="<image>", **gemma_roles),
                     "config.json": {"model_type": "gemma4"}}),
    "sarvam-moe": (LlamaModel, 272, {"tokenizer.json": gemma(), "tokenizer_config.json": dict(tokenizer_class="PreTrainedTokenizerFast", **gemma_roles), "config.json": {}}),
    "mmbert": (ModernBertModel, 274, {"tokenizer.json": gemma(added((272, "▁▁▁"), (273, "▁▁▁▁"), special=False)), "tokenizer_config.json": dict(tokenizer_class="PreTrainedTokenizerFast", **gemma_roles), "config.json": {}}),
    "t5": (T5Model, count(model) + 2, {"spiece.model": model, "tokenizer_config.json": dict(eos_token="</s>", unk_token="<unk>", pad_token="<pad>"), "added_tokens.json": {"<extra_id_0>": count(model)}, "config.json": {"eos_token_id": 1, "pad_token_id": 0}}),
    "t5-bytes": (T5Model, count(with_bytes), {"tokenizer.model": with_bytes, "config.json": {}}),
    "xlmr": (XLMRobertaModel, size, {"tokenizer.json": fast, "tokenizer_config.json": dict(tokenizer_class="XLMRobertaTokenizer", **xlmr_roles), "config.json": {"type_vocab_size": 1, "model_type": "xlm-roberta"}}),
    "xlmr-larger": (XLMRobertaModel, size + 3, {"tokenizer.json": fast, "tokenizer_config.json": dict(tokenizer_class="XLMRobertaTokenizer", **xlmr_roles), "config.json": {"type_vocab_size": 1, "model_type": "xlm-roberta"}}),
    "fairseq": (XLMRobertaModel, count(model) + 2, {"sentencepiece.bpe.model": model, "config.json": {"type_vocab_size": 1, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}}),
    "internlm3": (InternLM3Model, count(pieces_model) + 2, {"tokenizer.model": pieces_model, "config.json": {"bos_token_id": 1, "eos_token_id": 2}, "tokenizer_config.json": {"add_prefix_space": False, "bos_token": "<s>", "eos_token": "</s>", "tokenizer_class": "InternLM3Tokenizer",
                  "added_tokens_decoder": {"1": token("<s>"), "2": token("</s>"), str(count(pieces_model)): token("<|im_end|>"), str(count(pieces_model) + 1): token("<|plugin|>", False)}}}),
    "kimi-k2": (DeepseekV2Model, n_kimi + 258, {"tiktoken.model": kimi.encode(), "tokenizer_config.json": kimi_config, "config.json": {"bos_token_id": n_kimi, "eos_token_id": n_kimi + 1}}),
    "hunyuan": (HunYuanMoEModel, n_hunyuan + 210, {"hy.tiktoken": hunyuan, "tokenizer_config.json": {"tokenizer_class": "HYTokenizer", "eos_token": "<|eos|>"},
                "config.json": {"bos_token_id": 1, "eos_token_id": n_hunyuan + 3, "pad_token_id": n_hunyuan + 4}}),
    "tekken": (LlamaModel, 272, {"tekken.json": tekken(["<unk>", "<s>", "</s>", "[INST]", "<pad>"], 272), "config.json": {}}),
}
out = {}
for name, (cls, size, files) in cases.items():
    with tempfile.TemporaryDirectory() as d:
        for file, content in files.items():
            data = content if isinstance(content, bytes) else content.encode() if isinstance(content, str) else json.dumps(content).encode()
            Path(d, file).write_bytes(data)
        m = cls.__new__(cls)
        m.dir_model, m.gguf_writer = Path(d), gguf.GGUFWriter(None, "x")
        m.hparams = files["config.json"] | {"vocab_size": size}
        base.TextModel.get_vocab_base_pre = lambda self, t: {"bert": "bert-bge"}.get(name[:4], name)
        base.TextModel._set_vocab_mistral.__globals__["Path"] = Path
        if name == "sarvam-moe":
            m._set_vocab_gpt2()
        elif cls in (DeepseekV2Model, HunYuanMoEModel):
            Path(d, "config.json").write_text(json.dumps(m.hparams))
            real, transformers.AutoTokenizer.from_pretrained = transformers.AutoTokenizer.from_pretrained, lambda path, **_: Ranks(path)
            m.set_vocab()
            transformers.AutoTokenizer.from_pretrained = real
        elif name == "tekken":
            from conversion.mistral import MistralModel
            MistralModel.get_community_chat_template = staticmethod(lambda *a: None)
            m._set_vocab_mistral()
        else:
            m.set_vocab()
        want = []
        for key, v in m.gguf_writer.kv_data[0].items():
            if not key.startswith("tokenizer."): continue
            value = v.value
            name_of = "UINT8" if isinstance(value, bytes) else gguf.GGUFValueType.get_type(value[0]).name if isinstance(value, list) else v.type.name
            if isinstance(value, bytes): value = base64.b64encode(value).decode()
            if isinstance(value, list): value = [x.decode() if isinstance(x, bytes) else x for x in value]
            want.append([key, name_of, value])
        out[name] = {"size": size, "files": {f: base64.b64encode(c).decode() if isinstance(c, bytes) else c for f, c in files.items()}, "want": want}
data = json.dumps(out, ensure_ascii=False, separators=(",", ":")).encode()
open(sys.argv[1], "wb").write(gzip.compress(data, 9, mtime=0))
