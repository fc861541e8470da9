package gguf

import "strings"

// Kind is what a GGUF file holds, in words.
type Kind string

// The kinds of files that llama.cpp's tools write.
const (
	KindModel         Kind = "a model"
	KindVocabulary    Kind = "a vocabulary without weights"
	KindProjector     Kind = "a vision or audio projector (mmproj)"
	KindAdapter       Kind = "a LoRA adapter"
	KindImatrix       Kind = "an importance matrix"
	KindControlVector Kind = "a control vector"
)

// KindOf tells what a Source is by its metadata; what says nothing else is a model.
func KindOf(src Source) Kind {
	meta := src.Metadata()
	kind, _ := Value[string](meta, "general.type")
	architecture, _ := Value[string](meta, "general.architecture")
	has := func(prefix string) bool {
		for _, kv := range meta.All() {
			if strings.HasPrefix(kv.Key, prefix) {
				return true
			}
		}
		return false
	}
	switch {
	case kind == "imatrix", architecture == "" && has("imatrix."):
		return KindImatrix
	case kind == "adapter", has("adapter."):
		return KindAdapter
	case kind == "mmproj", architecture == "clip":
		return KindProjector
	case architecture == "controlvector":
		return KindControlVector
	case len(src.Tensors()) == 0 && has("tokenizer."):
		return KindVocabulary
	}
	return KindModel
}
