package hf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/ggufkit/ggufkit/convert/arch"
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// Restored is a GGUF model as a checkpoint: what Place.Write writes.
type Restored struct {
	Parts
	// Side are the files beside config.json and the card.
	Side map[string][]byte
	// Starts are the tensors that must be the first of a file if converting is to give the
	// tensors in the order of the model.
	Starts []string
}

// Restore makes a checkpoint of a GGUF model, which the caller keeps open: its tensors in the
// types that the model has them in, F32 for those that are quantized, the vocabulary and the
// model card. Notes say which of the metadata converting it would not give again. The error
// wraps gguf.ErrUnsupported if such a model cannot be converted either, and gguf.ErrCorrupt
// if it contradicts itself.
func Restore(src gguf.FileSource) (*Restored, error) {
	model, err := arch.Restore(src)
	if err != nil {
		return nil, err
	}
	tokenizer, err := vocab.Restore(src.Metadata(), model.Vocabulary)
	if err != nil {
		return nil, err
	}
	config := model.Config
	maps.Copy(config, tokenizer.Config)
	r := &Restored{
		Parts: Parts{Set: &model.List, Files: keptOpen{src}, Path: files.Directory("checkpoint").Path, Card: restoreCard(src)}, Side: tokenizer.Files, Starts: model.Starts,
	}
	if r.Config, err = marshal(config); err != nil {
		return nil, err
	}
	for name, object := range map[string]map[string]any{
		"generation_config.json": restoreSampling(src.Metadata()), "embedding_config.json": restorePooling(model.Architecture, src.Metadata()),
	} {
		if object == nil {
			continue
		}
		if r.Side[name], err = marshal(object); err != nil {
			return nil, err
		}
	}
	return r, r.compare(src)
}

// keptOpen are files that somebody else closes.
type keptOpen struct{ gguf.FileSource }

func (keptOpen) Close() error { return nil }

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(v)
	return b.Bytes(), err
}

// compare converts the checkpoint and notes what is not as in the model.
func (r *Restored) compare(src gguf.Source) (err error) {
	dir, err := os.MkdirTemp("", "ggufkit-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	write := func(name string, data []byte) error { return os.WriteFile(filepath.Join(dir, name), data, 0o600) }
	for name, data := range r.Side {
		if err := write(name, data); err != nil {
			return err
		}
	}
	if err := write(configName, r.Config); err != nil {
		return err
	}
	parts := r.Parts
	parts.Tokenizer = files.Directory(dir)
	again, err := New(parts, Options{})
	if err != nil {
		return fmt.Errorf("the checkpoint that was made of it: %w", err)
	}
	defer func() { err = errors.Join(err, again.Close()) }()
	var lost, others []string
	for _, kv := range src.Metadata().All() {
		if v, ok := again.Metadata().Get(kv.Key); isOfFile(kv.Key) || reflect.DeepEqual(v, kv.Value) {
			continue
		} else if ok {
			others = append(others, kv.Key)
		} else {
			lost = append(lost, kv.Key)
		}
	}
	for _, kv := range again.Metadata().All() {
		if _, ok := src.Metadata().Get(kv.Key); !ok && !isOfFile(kv.Key) {
			others = append(others, kv.Key)
		}
	}
	isQuantized := func(t gguf.TensorInfo) bool { return t.Type.BlockSize() > 1 }
	sameName := func(a, b gguf.TensorInfo) bool { return a.Name == b.Name }
	if !slices.ContainsFunc(src.Tensors(), isQuantized) && !slices.EqualFunc(src.Tensors(), again.Tensors(), sameName) {
		r.Notes = append(r.Notes, "converting the checkpoint gives the tensors in another order")
	}
	if len(lost) > 0 {
		r.Notes = append(r.Notes, "the checkpoint has no place for "+strings.Join(lost, ", "))
	}
	if len(others) > 0 {
		r.Notes = append(r.Notes, "converting the checkpoint gives other values of "+strings.Join(others, ", "))
	}
	return nil
}

// isOfFile reports whether a key is of a file and the types in it, and not of the model.
func isOfFile(key string) bool {
	return slices.Contains([]string{"general.file_type", "general.quantization_version", "general.alignment"}, key) ||
		strings.HasPrefix(key, "split.") || strings.HasPrefix(key, "quantize.imatrix.")
}

// restoreSampling is the reverse of samplingMetadata; nil if nothing is recommended.
func restoreSampling(meta *gguf.Metadata) map[string]any {
	const prefix = "general.sampling."
	config := map[string]any{}
	if text, err := gguf.Value[string](meta, prefix+"sequence"); err == nil {
		config["sequence"] = text
	}
	for _, k := range samplingKeys {
		switch v, _ := meta.Get(prefix + k.key); v := v.(type) {
		case int32:
			config[k.name] = v
		case float32:
			config[k.name] = json.Number(strconv.FormatFloat(float64(v), 'g', -1, 32))
		}
	}
	if v, ok := config["penalty_repeat"]; ok { // transformers' name
		delete(config, "penalty_repeat")
		config["repetition_penalty"] = v
	}
	if len(config) == 0 {
		return nil
	}
	for _, id := range []string{"bos", "eos", "pad"} {
		name := map[string]string{"bos": "bos", "eos": "eos", "pad": "padding"}[id]
		if v, err := meta.Uint("tokenizer.ggml." + name + "_token_id"); err == nil {
			config[id+"_token_id"] = v
		}
	}
	config["do_sample"] = true
	return config
}

// restorePooling is the reverse of poolingMetadata for the one way to pool that a file of its
// own says; nil for others.
func restorePooling(a *arch.Architecture, meta *gguf.Metadata) map[string]any {
	if pooling, err := meta.Uint(a.Name + ".pooling_type"); err != nil || pooling != poolLast || !a.Embeddings {
		return nil
	}
	return map[string]any{"pooling": "last_token"}
}

// restoreCard is the reverse of generalMetadata: a model card, of which the front matter is
// all that the metadata say.
func restoreCard(src gguf.Source) []byte {
	meta := src.Metadata()
	total, active, experts := countParameters(src.Tensors())
	var b bytes.Buffer
	line := func(name string, value any) {
		if text, err := json.Marshal(value); err == nil { // JSON is YAML
			fmt.Fprintf(&b, "%s: %s\n", name, text)
		}
	}
	fmt.Fprintln(&b, "---")
	for _, k := range cardKeys {
		text, err := gguf.Value[string](meta, "general."+k.key)
		switch {
		case err == nil && k.key == "size_label" && text == sizeLabel(active, experts):
		case err == nil:
			line(k.names[0], text)
		case slices.Contains([]string{"name", "organization", "finetune", "basename", "version"}, k.key):
			line(k.names[0], "") // which otherwise may come from the name of the directory
		}
	}
	for _, k := range [][2]string{{"base_model", "base_model"}, {"datasets", "dataset"}} {
		if list := restoreOrigins(meta, k[1], total); list != nil {
			line(k[0], list)
		}
	}
	for _, k := range [][2]string{{"tags", "tags"}, {"language", "languages"}} {
		if list, err := gguf.Value[[]string](meta, "general."+k[1]); err == nil {
			line(k[0], list)
		}
	}
	fmt.Fprintln(&b, "---")
	if name, err := gguf.Value[string](meta, "general.name"); err == nil {
		fmt.Fprintf(&b, "# %s\n", strings.Join(strings.Fields(name), " "))
	}
	return b.Bytes()
}

// restoreOrigins is the reverse of card.origins; nil if there are none. What the name of a
// repository says is that name, anything else an object.
func restoreOrigins(meta *gguf.Metadata, kind string, params int64) []any {
	count, err := meta.Uint("general." + kind + ".count")
	if err != nil {
		return nil
	}
	list := []any{}
	for i := range min(count, uint64(meta.Len())) { // more than there can be
		fields := card{}
		for _, key := range originKeys {
			if text, err := gguf.Value[string](meta, fmt.Sprintf("general.%s.%d.%s", kind, i, key)); err == nil {
				fields[key] = text
			}
		}
		id, _ := fields.text("repo_url")
		id = strings.TrimPrefix(id, "https://huggingface.co/")
		described := describeOrigin(id, params)
		maps.DeleteFunc(described, func(_ string, v any) bool { return v == "" })
		if id != "" && reflect.DeepEqual(described, fields) {
			list = append(list, id)
		} else {
			list = append(list, fields)
		}
	}
	return list
}
