package pretoken

import "sync"

// Parts that expressions have in common.
const (
	contraction = `(?i:'s|'t|'re|'ve|'m|'ll|'d)`
	blanks      = `\s*[\r\n]+|\s+(?!\S)|\s+`
	upper       = `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`
	lower       = `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`
	cased       = `[^\r\n\p{L}\p{N}]?` + upper + `*` + lower + `+` + contraction + `?|[^\r\n\p{L}\p{N}]?` + upper + `+` + lower + `*` + contraction + `?`
	gpt4o       = cased + `|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|` + blanks
	deepSeekV3  = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+" +
		`|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|` + blanks
	japanese = `[一-龥぀-ゟ゠-ヿ]+`
	bloom    = ` ?[^(\s|.,!?…。，、।۔،)]+`
	// Han is left out of the letters of Kimi K2.
	upperNotHan = `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]`
	lowerNotHan = `[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]`
)

// Punctuation is what the pre-tokenizer Punctuation cuts at: that of an older Unicode.
const Punctuation = "[\\p{P}$+<=>^~|`" + `\x{166d}\x{111c9}&&[^` +
	`\x{61d}\x{9fd}\x{a76}\x{c77}\x{c84}\x{1b4e}-\x{1b4f}\x{1b7d}-\x{1b7f}\x{2e43}-\x{2e4f}\x{2e52}-\x{2e5d}\x{10d6e}` +
	`\x{10ead}\x{10f55}-\x{10f59}\x{10f86}-\x{10f89}\x{113d4}-\x{113d5}\x{113d7}-\x{113d8}\x{1144b}-\x{1144f}` +
	`\x{1145a}-\x{1145b}\x{1145d}\x{11660}-\x{1166c}\x{116b9}\x{1183b}\x{11944}-\x{11946}\x{119e2}\x{11a3f}-\x{11a46}` +
	`\x{11a9a}-\x{11a9c}\x{11a9e}-\x{11aa2}\x{11b00}-\x{11b09}\x{11be1}\x{11c41}-\x{11c45}\x{11c70}-\x{11c71}` +
	`\x{11ef7}-\x{11ef8}\x{11f43}-\x{11f4f}\x{11fff}\x{12ff1}-\x{12ff2}\x{16d6d}-\x{16d6f}\x{16e97}-\x{16e9a}\x{16fe2}` +
	`\x{1e5ff}\x{1e95e}-\x{1e95f}` + `]]`

// IsPunctuation reports whether Punctuation has a character: BERT's normalizer makes a word of it.
func IsPunctuation(r rune) bool { return punctuation().has(r) }

var punctuation = sync.OnceValue(func() *charset { return newCharset(class(Punctuation)) })

// families are the pre-tokenizers that nothing but their expressions cut with, a row each.
var families = []*PreTokenizer{
	{Names: []string{"qwen35"}, Expressions: []string{
		contraction + `|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|` + blanks}},
	{Names: []string{"ufakzeka"}, Expressions: []string{`[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|` + blanks}},
	{Names: []string{"k2-horizon"}, Expressions: []string{
		contraction + `|[^\r\n\p{L}\p{N}]?(?:\p{L}|\p{M}|\u200C|\u200D)+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|` + blanks}},
	{Names: []string{"gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"}, Expressions: []string{gpt4o}},
	{Names: []string{"granite-embed-multi-97m"}, Expressions: []string{gpt4o}, IgnoreMerges: true},
	{Names: []string{"tekken"}, IgnoreMerges: true, AddBOS: true, Expressions: []string{
		`[^\r\n\p{L}\p{N}]?` + upper + `*` + lower + `+|[^\r\n\p{L}\p{N}]?` + upper + `+` + lower + `*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|` + blanks}},
	{Names: []string{"tiny_aya", "cohere2moe"}, Expressions: []string{digitsToBoundary, gpt4o}},
	{Names: []string{"deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"}, Expressions: []string{`\p{N}{1,3}`, japanese, deepSeekV3}},
	{Names: []string{"deepseek-coder"}, Expressions: []string{`[\r\n]`, `\s?\p{L}+`, `\s?\p{P}+`, deepSeekIdeographs + `+`, `\p{N}`}},
	{Names: []string{"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"}, Expressions: []string{`\p{N}`, GPT2}},
	{Names: []string{"falcon"}, Expressions: []string{Punctuation + `+`, GPT2}, Spelled: []string{`\p{N}+`, `[0-9][0-9][0-9]`}},
	{Names: []string{"bloom", "poro-chat", "gpt3-finnish"}, Expressions: []string{bloom}},
	{Names: []string{"viking"}, Expressions: []string{bloom, `\p{N}`}},
	{Names: []string{"kimi-k2"}, Expressions: []string{
		`\p{Han}+|[^\r\n\p{L}\p{N}]?` + upperNotHan + `*` + lowerNotHan + `+` + contraction + `?|[^\r\n\p{L}\p{N}]?` + upperNotHan + `+` + lowerNotHan + `*` +
			contraction + `?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|` + blanks}},
	{Names: []string{"bailingmoe", "bailingmoe2", "llada-moe"}, Expressions: []string{
		`'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`}},
	{Names: []string{"seed-coder"}, Expressions: []string{contraction + `|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|` + blanks}},
	{Names: []string{"minicpm5"}, IgnoreMerges: true, Expressions: []string{
		`\p{N}{1,3}`, contraction + `|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|` + blanks}},
	{Names: []string{"exaone-moe"}, Expressions: []string{
		contraction + `|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+`}},
	{Names: []string{"superbpe"}, Expressions: []string{`\p{N}+`, beforeThree}},
	{Names: []string{"youtu"}, IgnoreMerges: true, Expressions: []string{
		`[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|` + japanese, cased + `|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|` + blanks}},
	{Names: []string{"afmoe"}, Expressions: []string{
		numbersToOther,
		`[\x{4e00}-\x{9fff}\x{3400}-\x{4dbf}\x{f900}-\x{faff}\x{3040}-\x{30ff}\x{ff65}-\x{ff9f}\x{2f00}-\x{2fdf}\x{e40}-\x{eff}\x{1780}-\x{17ff}` +
			`\x{1000}-\x{109f}\x{aa60}-\x{aa7f}\x{a9e0}-\x{a9ff}\x{ac00}-\x{d7af}\x{1100}-\x{11ff}]+`, deepSeekV3}},
	{Names: []string{"laguna"}, Expressions: []string{`[^\n]+|[\n]+`, qwen2.Expressions[0]}},
	{Names: []string{"spark2_5"}, Expressions: []string{
		`\p{N}{1,3}`, japanese, "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+" +
			`|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+`, `\p{N}`}},
	{Names: []string{"chameleon"}, AddBOS: true, Expressions: []string{
		`<sentinel:[0-9]+>`, `(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z`, `([\t\n]|    |  )`, `\p{N}`, Punctuation, GPT2}},
	{Names: []string{"default"}, Expressions: []string{`[\p{P}\$\+<=>\^~\|]+`, GPT2, `\p{N}+`, `[0-9][0-9][0-9]`}},
}
