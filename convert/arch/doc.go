// Package arch knows how checkpoints of each architecture become the tensors
// and metadata that llama.cpp expects.
//
// An [Architecture] is two tables, in the file named after it: the tensors, by
// their names in the checkpoint and in GGUF, and the metadata keys. [Find]
// looks one up by the class in config.json, [Architecture.Config] reads
// config.json, and [Architecture.Plan] says for every GGUF tensor which rows of
// which checkpoint tensors it is made of. No tensor data is read.
//
// Adding an architecture is one file with its tables and a line in
// [Architectures].
//
// Names, keys and their order are those of convert_hf_to_gguf.py (llama.cpp's
// conversion/ and gguf-py's tensor_mapping.py); defaults for keys that
// config.json lacks are those of transformers' configuration classes, which
// that script goes through.
package arch
