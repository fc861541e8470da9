package hf

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/ggufkit/ggufkit/convert/internal/sidecar"
	"github.com/ggufkit/ggufkit/gguf"
)

// noConfig returns an error that says what a directory without config.json is, or err
// if nothing tells.
func noConfig(dir string, err error) error {
	unsupported := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s: "+format, append([]any{gguf.ErrUnsupported, dir}, args...)...)
	}
	has := func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return err == nil
	}
	switch {
	case has("adapter_config.json"):
		var adapter struct {
			Base string `json:"base_model_name_or_path"`
		}
		if sidecar.ReadJSON(filepath.Join(dir, "adapter_config.json"), &adapter) != nil || adapter.Base == "" {
			adapter.Base = "its base model"
		}
		return unsupported("a PEFT adapter (adapter_config.json), not a model: merge it into %.80s first", adapter.Base)
	case has("params.json"):
		return unsupported("a model in the format of Meta or Mistral (params.json), not in that of Hugging Face (config.json)")
	case has("model_index.json"):
		return unsupported("a pipeline of diffusers (model_index.json), not a language model")
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "*.gguf")); len(names) > 0 {
		return unsupported("it has GGUF files: name one of them, such as %s", names[0])
	}
	return err
}
