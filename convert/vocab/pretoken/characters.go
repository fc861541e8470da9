package pretoken

// MMBERT is the name of the vocabulary of mmBERT.
const MMBERT = "mmbert"

// Characters says how a vocabulary of BPE on characters begins texts.
type Characters struct {
	AlwaysBOS bool // with BOS, whatever the metadata says
	Lines     bool // each line with a space, unless there is one
}

// OnCharacters has the values of tokenizer.ggml.pre that stand for no way to cut text into words:
// vocabularies of BPE on characters, with ▁ for spaces and tokens for the bytes of what is unknown.
// What they mean is what llama.cpp does.
var OnCharacters = map[string]Characters{"gemma4": {AlwaysBOS: true}, "granite-embed-multi-311m": {AlwaysBOS: true}, MMBERT: {Lines: true}, "sarvam-moe": {}}
