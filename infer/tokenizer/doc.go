// Package tokenizer turns text into token ids and back, with the vocabulary
// that a model's metadata carries.
//
// It knows two kinds of vocabularies, by tokenizer.ggml.model. Others are refused
// with [gguf.ErrUnsupported].
//
// # SentencePiece's BPE ("llama")
//
// As Llama 2 and Mistral use it: the characters of a text are merged pairwise,
// the pair whose piece has the best score first and the leftmost among equals,
// until no neighbours form a piece; characters that are in no piece become byte
// tokens, or the unknown token where the vocabulary has no bytes.
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
// # Byte-level BPE ("gpt2")
//
// As GPT-2, Llama 3, Qwen and DeepSeek use it: a text is cut into words, each word
// into bytes, and neighbours within a word are merged in the order of the
// vocabulary's list of merges. tokenizer.ggml.pre says how words are cut: package pretoken has the
// ways that are known. Where it says so, words that are tokens are not looked into.
//
// Ids are those of Hugging Face's tokenizers: digits are cut off one by one for
// deepseek-llm, where llama.cpp keeps them together, and a contraction may end in a
// long s. Letters and digits are those of Unicode 16. Text is brought into normal form C where the vocabulary asks for it;
// otherwise Decode gives it back, bytes that are not UTF-8 included.
//
// # Cost
//
// Encoding takes time proportional to the text, but for words (in SentencePiece a
// run of spaces and what follows up to the next space) and special tokens that overlap,
// which take n log n. Memory beside the result is a copy of the text and less than 200
// bytes per character of the longest word. A [Tokenizer] does not change and may be used
// concurrently.
//
//	tok, err := tokenizer.New(model.Metadata())
//	if err != nil {
//		return err
//	}
//	ids := tok.Encode("Hello, world!", tokenizer.Options{AddSpecial: true})
//	fmt.Println(ids, tok.Decode(ids))
package tokenizer
