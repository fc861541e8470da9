// Writes tiktoken.json: what tiktoken itself makes of the random strings of families.py, with its vocabulary as a file of ranks. README.md says what is in it.
// Run where `npm i tiktoken@1.0.22` was: node tiktoken.mjs FAMILIES.json.gz OUT [STRINGS]
import { createHash } from "node:crypto"
import { readFileSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { gunzipSync } from "node:zlib"

const { Tiktoken } = createRequire(process.cwd() + "/")("tiktoken")
const [families, out, count = 500] = process.argv.slice(2)
const { pieces, ranges, merges } = JSON.parse(gunzipSync(readFileSync(families)))

const NOT_HAN = "&&[^\\p{Han}]]", U = "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}" + NOT_HAN, W = "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}" + NOT_HAN
const C = "(?i:'s|'t|'re|'ve|'m|'ll|'d)", START = "[^\\r\\n\\p{L}\\p{N}]?"
const TAIL = " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
const PATTERNS = { // of tokenization_kimi.py and tokenization_hy.py
  "kimi-k2": `[\\p{Han}]+|${START}${U}*${W}+${C}?|${START}${U}+${W}*${C}?|\\p{N}{1,3}|${TAIL}`,
  hunyuan: `${C}|${START}\\p{L}+|\\p{N}|${TAIL}`,
}

// The bytes that characters of byte-level vocabularies stand for.
const byteOf = new Map()
for (let b = 0, next = 256; b < 256; b++) {
  const printed = (b > 32 && b < 127) || (b > 160 && b !== 173)
  byteOf.set(String.fromCodePoint(printed ? b : next++), b)
}
const tokens = [...new Set([...byteOf.keys()].sort().concat(merges.map((m) => m.replace(" ", ""))))]
const file = tokens.map((t, rank) => Buffer.from([...t].map((c) => byteOf.get(c))).toString("base64") + " " + rank + "\n").join("")

let state = 1
const below = (n) => {
  state = Number((BigInt(state) * 1664525n + 1013904223n) % 4294967296n)
  return Number((BigInt(state) * BigInt(n)) >> 32n)
}
const text = () => {
  let s = ""
  for (let n = 1 + below(25); n > 0; n--) {
    if (below(5) < 3) {
      s += pieces[below(pieces.length)]
      continue
    }
    const [low, high] = ranges[below(ranges.length)]
    for (let k = 1 + below(3); k > 0; k--) s += String.fromCodePoint(low + below(high - low + 1))
  }
  return s
}
const texts = Array.from({ length: +count }, text)

// What is stored: for each pre-tokenizer the beginnings of hashes of the ids of a hundred texts.
const ids = {}
for (const [name, pattern] of Object.entries(PATTERNS)) {
  const special = { "<|first|>": tokens.length, "<|second|>": tokens.length + 1 }
  const encoder = new Tiktoken("! 0 " + file.trimEnd().split("\n").map((l) => l.split(" ")[0]).join(" "), special, pattern)
  ids[name] = []
  for (let i = 0; i < texts.length; i += 100) {
    const hash = createHash("sha256")
    for (const t of texts.slice(i, i + 100)) hash.update([...encoder.encode_ordinary(t)].join(" ") + "\n")
    ids[name].push(hash.digest("hex").slice(0, 8))
  }
}
writeFileSync(out, JSON.stringify({ ids }) + "\n")
