// Package tokenizer turns text into token ids and back, with the vocabulary
// that a model's metadata carries.
//
// It knows one kind of vocabulary, that of SentencePiece's BPE as Llama and
// Mistral use it (tokenizer.ggml.model "llama"): the characters of a text are
// merged pairwise, the pair whose piece has the best score first and the
// leftmost among equals, until no neighbours form a piece; characters that are
// in no piece become byte tokens, or the unknown token where the vocabulary has
// no bytes. Other vocabularies are refused with [gguf.ErrUnsupported].
//
// Ids are those of llama.cpp (llama-vocab.cpp, the SPM session), which on
// ordinary text are those of SentencePiece and of transformers' legacy Llama
// tokenizer. Two things are SentencePiece's: control, unknown and byte tokens
// are never formed by merging, so text cannot smuggle them in unless it is
// asked for with ParseSpecial, and a run of unknown characters is one unknown
// token. Text is not normalized: vocabularies that ask for it are refused,
// where llama.cpp ignores the request. Bytes that are not UTF-8 are encoded as
// llama.cpp does, which may not decode to the same bytes.
//
// Encoding takes time proportional to the text, but for words (a word is a run
// of spaces and what follows up to the next space), which take n log n. Memory
// beside the result is a copy of the text and less than 200 bytes per character
// of the longest word. A [Tokenizer] does not change and may be used
// concurrently.
//
//	tok, err := tokenizer.New(model.Metadata())
//	if err != nil {
//		return err
//	}
//	ids := tok.Encode("Hello, world!", tokenizer.Options{AddSpecial: true})
//	fmt.Println(ids, tok.Decode(ids))
package tokenizer
