// Package vocab turns a checkpoint's tokenizer files into the tokenizer.*
// metadata of a GGUF file.
//
// [Load] reads what is in a directory: tokenizer.model (SentencePiece),
// added_tokens.json, tokenizer_config.json, tokenizer.json, config.json and the
// chat template's files. Keys, their order and their types are those of
// convert_hf_to_gguf.py for models of the Llama family
// (TextModel._set_vocab_sentencepiece in llama.cpp's conversion/base.py and
// SpecialVocab in gguf-py's vocab.py).
//
// Only SentencePiece vocabularies can be converted. A checkpoint that has
// nothing but tokenizer.json (Llama 3) is an error that wraps
// [gguf.ErrUnsupported].
package vocab
