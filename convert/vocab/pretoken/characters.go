package pretoken

// MMBERT is the name of the vocabulary of mmBERT.
const MMBERT = "mmbert"

// OnCharacters has the values of tokenizer.ggml.pre that stand for no way to cut text into words:
// vocabularies of BPE on characters, with ▁ for spaces and tokens for the bytes of what is unknown.
// Of those that are true llama.cpp begins every text with BOS, whatever the metadata says.
var OnCharacters = map[string]bool{"gemma4": true, "granite-embed-multi-311m": true, MMBERT: false, "sarvam-moe": false}
