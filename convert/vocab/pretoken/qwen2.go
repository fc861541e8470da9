package pretoken

// qwen2 is the pre-tokenizer of Qwen from 1.5 to 3: Llama 3's, but each digit is a word.
var qwen2 = PreTokenizer{
	Names:       []string{"qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan", "solar-open", "grok-2"},
	Expressions: []string{`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`},
	split:       words(func(text string) int { return cl100kWord(text, 1) }),
}
