package gguf

// TokenType says what a token of a vocabulary is for: an element of
// tokenizer.ggml.token_type, numbered as there and in SentencePiece models.
type TokenType int32

// The token types.
const (
	TokenNormal      TokenType = 1
	TokenUnknown     TokenType = 2
	TokenControl     TokenType = 3
	TokenUserDefined TokenType = 4
	TokenUnused      TokenType = 5
	TokenByte        TokenType = 6
)
