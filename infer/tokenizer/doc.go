// Package tokenizer turns text into token ids and back, with the vocabulary
// that a model's metadata carries.
//
// It knows five kinds of vocabularies, by tokenizer.ggml.model. Others are refused
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
// long s. Letters and digits are those of Unicode 16. Text is brought into normal form C, of
// Unicode 9, where the vocabulary asks for it;
// otherwise Decode gives it back, bytes that are not UTF-8 included.
//
// # SentencePiece's Unigram ("t5")
//
// As T5 and XLM-RoBERTa use it: of all ways to cut a text into pieces the one whose
// scores have the greatest sum is taken. Before that characters are replaced by the
// vocabulary's table (precompiled_charsmap), the longest sequences first, and runs of spaces
// become one where it says so. Unknown characters become byte tokens, or, a run of them, the unknown
// token. Ids are those of SentencePiece; Hugging Face's tokenizers normalize some combining
// characters in another way.
//
// # WordPiece ("bert")
//
// As BERT uses it: capitals and accents are taken away where the vocabulary asks for it, words
// are cut at spaces and around punctuation and Chinese characters, and a word is the longest token
// that it begins with and then those that go on with it, or the unknown token. Ids are those of
// Hugging Face's tokenizers, whose classes of characters are those of Unicode 8. Decode puts a
// space in front of each word.
//
// # BPE on characters ("gemma4")
//
// As Gemma 4 uses it, also under "gpt2" with a tokenizer.ggml.pre such as sarvam-moe: spaces
// become ▁, and the characters of the whole text are merged in the order of the list of merges;
// those that are no token are byte tokens. Ids are those of Hugging Face's tokenizers.
//
// # Cost
//
// Encoding takes time proportional to the text, but for words (in SentencePiece a
// run of spaces and what follows up to the next space) and special tokens that overlap,
// which take n log n; in Unigram, to the text times the depth to which pieces agree with it, of
// at most 1024 bytes. Memory beside the result is a copy of the text and less than 200
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
