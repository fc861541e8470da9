// Package reference puts together the mixture that mergekit-moe made of the models
// in testdata/beyonder-mini, tensor for tensor and shard for shard, for tests that
// compare with what llama.cpp and transformers made of it.
package reference

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/moe"
	"github.com/ggufkit/ggufkit/convert/safetensors"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/testdata"
)

// merged has what cannot be put together: the configuration, which tensor is in
// which shard, and the routers, which mergekit-moe computes in bfloat16.
//
//go:embed merged
var merged embed.FS

// MoE writes the mixture into a temporary directory called moe and returns its path.
func MoE(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, testdata.WriteBeyonder(dir))
	out := filepath.Join(dir, "moe")
	require.NoError(t, os.Mkdir(out, 0o755))
	require.NoError(t, write(filepath.Join(dir, "moe.yaml"), out))
	return out
}

func write(recipePath, out string) (err error) {
	if err := copyFiles(filepath.Join(filepath.Dir(recipePath), "base"), out); err != nil {
		return err
	}
	recipe, err := moe.Read(recipePath)
	if err != nil {
		return err
	}
	recipe.GateMode = moe.Random // which are replaced
	m, err := moe.New(context.Background(), recipe, moe.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	routers, err := safetensors.Open(filepath.Join(out, "routers.safetensors"))
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, routers.Close(), os.Remove(filepath.Join(out, "routers.safetensors")))
	}()
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	data, err := fs.ReadFile(merged, "merged/model.safetensors.index.json")
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &index); err != nil {
		return err
	}
	shards := make(map[string]*weights.List)
	for _, set := range []weights.Set{m, routers} {
		for _, name := range set.Names() {
			if strings.HasSuffix(name, ".gate.weight") && set != routers {
				continue
			}
			shard := index.WeightMap[name]
			if shards[shard] == nil {
				shards[shard] = new(weights.List)
			}
			if err := shards[shard].Add(name, set.Get(name)); err != nil {
				return err
			}
		}
	}
	for name, tensors := range shards {
		if err := safetensors.WriteFile(context.Background(), filepath.Join(out, name), tensors, func(int64) {}); err != nil {
			return err
		}
	}
	return nil
}

// copyFiles copies the tokenizer's files and what is embedded.
func copyFiles(base, out string) error {
	entries, err := os.ReadDir(base)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if name := e.Name(); !strings.HasPrefix(name, "model") && name != "config.json" {
			data, err := os.ReadFile(filepath.Join(base, name))
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(out, name), data, 0o666); err != nil {
				return err
			}
		}
	}
	files, err := fs.Sub(merged, "merged")
	if err != nil {
		return err
	}
	return os.CopyFS(out, files)
}
