package hf

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/convert/internal/sidecar"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// noConfig returns an error that says what a directory without config.json is, or err
// if nothing tells.
func noConfig(folder files.Folder, err error) error {
	unsupported := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s: "+format, append([]any{gguf.ErrUnsupported, folder.Path(".")}, args...)...)
	}
	names, _ := folder.List(".")
	has := func(name string) bool { return slices.Contains(names, name) }
	switch {
	case has("adapter_config.json"):
		var adapter struct {
			Base string `json:"base_model_name_or_path"`
		}
		if sidecar.ReadJSON(folder, "adapter_config.json", &adapter) != nil || adapter.Base == "" {
			adapter.Base = "its base model"
		}
		return unsupported("a PEFT adapter (adapter_config.json), not a model: merge it into %.80s first", adapter.Base)
	case has("params.json"):
		return unsupported("a model in the format of Meta or Mistral (params.json), not in that of Hugging Face (config.json)")
	case has("model_index.json"):
		return unsupported("a pipeline of diffusers (model_index.json), not a language model")
	}
	if i := slices.IndexFunc(names, func(name string) bool { return strings.HasSuffix(name, ".gguf") }); i >= 0 {
		return unsupported("it has GGUF files: name one of them, such as %s", folder.Path(names[i]))
	}
	return err
}
