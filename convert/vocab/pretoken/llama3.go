package pretoken

// cl100k is the expression of Llama 3.
const cl100k = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`

// llama3 is Llama 3's pre-tokenizer: cl100k_base's, as OpenAI has it for GPT-4, with words of up to three digits.
var llama3 = PreTokenizer{
	Names:        []string{"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"},
	Expressions:  []string{cl100k},
	split:        words(func(text string) int { return cl100kWord(text, 3) }),
	IgnoreMerges: true,
	AddBOS:       true,
}

// dbrx and glm4 cut as Llama 3 does, but no text begins with BOS.
var (
	dbrx = PreTokenizer{Names: []string{"smaug-bpe", "dbrx", "chatglm-bpe"}, Expressions: llama3.Expressions, split: llama3.split}
	glm4 = PreTokenizer{Names: []string{"glm4", "glm5"}, Expressions: llama3.Expressions, split: llama3.split, IgnoreMerges: true}
)
