package packed

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/ggufkit/ggufkit/convert/internal/pyjson"
	"github.com/ggufkit/ggufkit/convert/internal/sidecar"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// Config is what a checkpoint says of how it is packed.
type Config struct {
	// File is the name of the file that says it.
	File string
	// Method is quant_method, "" if that is not said.
	Method string

	value jsontext.Value // an object
}

// sideFiles are the files that tools write beside config.json or instead of what is
// called quantization_config there: of GPTQ, AWQ, ModelOpt, AutoRound and EXL3.
var sideFiles = []string{"quantize_config.json", "quant_config.json", "hf_quant_config.json", "quantization_config.json"}

// JSON returns what the file says, nil if there is none.
func (c *Config) JSON() []byte {
	if c == nil {
		return nil
	}
	return c.value
}

// ReadConfig returns what the config.json of a checkpoint says, or else another file in
// its directory; nil if nothing does. The error wraps gguf.ErrCorrupt if that cannot be
// understood.
func ReadConfig(folder files.Folder, configJSON []byte) (*Config, error) {
	const main = "config.json"
	var file, text map[string]jsontext.Value
	if err := pyjson.Unmarshal(configJSON, &file); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", gguf.ErrCorrupt, folder.Path(main), err)
	}
	if part := file["text_config"]; part.Kind() == '{' { // of a model for images or sound
		if err := pyjson.Unmarshal(part, &text); err != nil {
			return nil, fmt.Errorf("%w: %s: text_config: %w", gguf.ErrCorrupt, folder.Path(main), err)
		}
	}
	value := file["quantization_config"]
	if inner, ok := text["quantization_config"]; ok {
		value = inner
	}
	if value != nil && value.Kind() != 'n' {
		return newConfig(folder, main, value)
	}
	for _, name := range sideFiles {
		data, err := sidecar.Read(folder, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return newConfig(folder, name, data)
	}
	return nil, nil
}

func newConfig(folder files.Folder, file string, value jsontext.Value) (*Config, error) {
	c := &Config{File: file, value: value}
	var method struct {
		Name string `json:"quant_method"`
	}
	if err := c.decode(&method); err != nil {
		return nil, fmt.Errorf("%s: %w", folder.Path("."), err)
	}
	c.Method = method.Name
	return c, nil
}

// decode reads the configuration, if there is one, into what v points to.
func (c *Config) decode(v any) error {
	if c.value == nil {
		return nil
	}
	if err := pyjson.Unmarshal(c.value, v); err != nil {
		return fmt.Errorf("%w: %s: %w", gguf.ErrCorrupt, c.what(), err)
	}
	return nil
}

func (c *Config) what() string {
	if c.File == "config.json" {
		return "quantization_config of " + c.File
	}
	return cmp.Or(c.File, "no configuration")
}

// unsupported returns an error that says what is not known.
func (c *Config) unsupported(what string) error {
	return fmt.Errorf("%w: the checkpoint is quantized (%s, %s); use the original one", gguf.ErrUnsupported, c.what(), what)
}
