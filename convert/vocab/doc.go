// Package vocab turns a checkpoint's tokenizer files into the tokenizer.*
// metadata of a GGUF file.
//
// [Load] reads what is in a directory: tokenizer.model (SentencePiece), tokenizer.json,
// tokenizer_config.json, added_tokens.json, special_tokens_map.json, config.json and the
// chat template's files. Keys, their order and their types are those of
// convert_hf_to_gguf.py (set_vocab in llama.cpp's conversion/base.py and llama.py, and SpecialVocab
// in gguf-py's vocab.py), added tokens those of transformers' TokenizersBackend.
//
// With a tokenizer.model the vocabulary is SentencePiece's. Otherwise tokenizer.json must describe WordPiece, Unigram,
// SentencePiece's BPE with byte_fallback, as transformers writes it, or byte-level BPE whose pre_tokenizer cuts words as one of package pretoken does, or nearly:
// tokenizer.ggml.pre is found by what its regular expressions mean. (convert_hf_to_gguf.py compares
// a hash of the ids of a text, and so knows no vocabulary that it was not told of.) Without it there may be
// Mistral's tekken.json, a file of ranks of tiktoken, or BERT's vocab.txt. Everything else is an error that wraps [gguf.ErrUnsupported].
//
//	v, err := vocab.Load(dir, vocab.Options{Size: 32000, Rules: vocab.Rules{Llama: true}})
//	if err != nil {
//		return err
//	}
//	meta := gguf.NewMetadata(v.Metadata...)
package vocab
