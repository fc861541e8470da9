package pretoken

// llama3 is Llama 3's pre-tokenizer: cl100k_base's, as OpenAI has it for GPT-4, with words of up to three digits.
var llama3 = PreTokenizer{
	Names:        []string{"llama-bpe", "llama3", "llama-v3"},
	Expressions:  []string{`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`},
	Split:        words(func(text string) int { return cl100kWord(text, 3) }),
	IgnoreMerges: true,
	AddBOS:       true,
}
