// Package vocab turns a checkpoint's tokenizer files into the tokenizer.*
// metadata of a GGUF file.
//
// [Load] reads what is in a directory: tokenizer.model (SentencePiece),
// added_tokens.json, tokenizer_config.json, tokenizer.json, config.json and the
// chat template's files. Keys, their order and their types are those of
// convert_hf_to_gguf.py (TextModel._set_vocab_sentencepiece and _set_vocab_gpt2 in
// llama.cpp's conversion/base.py and SpecialVocab in gguf-py's vocab.py).
//
// There are two kinds of vocabularies. With a tokenizer.model it is SentencePiece's.
// Otherwise tokenizer.json must describe byte-level BPE, and its pre_tokenizer must
// cut words as GPT-2, Llama 3, Qwen or DeepSeek LLM do: tokenizer.ggml.pre is found by
// comparing its regular expressions. (convert_hf_to_gguf.py compares a hash of the
// ids of a text, and so knows no vocabulary that it was not told of.) Everything else
// is an error that wraps [gguf.ErrUnsupported].
package vocab
