package safetensors

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ggufkit/ggufkit/convert/internal/sidecar"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// IndexName is the file that says which tensors are in which files of a checkpoint.
const IndexName = "model.safetensors.index.json"

// Checkpoint is the tensors of a directory's safetensors files.
type Checkpoint struct {
	readers []reader // what the tensors are read from
	tensors []*Tensor
	byName  map[string]*Tensor
}

// reader is a file or another checkpoint.
type reader interface {
	io.Closer
	Inputs() []*files.File
}

// OpenDir opens the safetensors files of a directory: those that
// model.safetensors.index.json names, or all that are called
// model*.safetensors if there is no index, or all *.safetensors if every shard
// the index names is absent (tools that requantize checkpoints leave such
// indexes behind). The caller must close the Checkpoint.
//
// The index and the files must agree: a missing shard, a tensor that is absent
// or in another shard, a tensor or a model*.safetensors file the index does not
// know, and a tensor in two shards are errors that wrap gguf.ErrCorrupt. A
// directory with pickle files only is an error that wraps gguf.ErrUnsupported.
func OpenDir(dir string) (*Checkpoint, error) {
	present, err := safetensorsIn(dir)
	if err != nil {
		return nil, err
	}
	shards, shardOf, err := shardsOf(dir, present)
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{byName: make(map[string]*Tensor)}
	if err := c.open(dir, shards, shardOf); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// safetensorsIn returns the sorted names of the directory's safetensors files.
func safetensorsIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	pickle := ""
	for _, e := range entries {
		switch name := e.Name(); {
		case strings.HasSuffix(name, ".safetensors"):
			names = append(names, name)
		case strings.HasSuffix(name, ".bin") && strings.HasPrefix(name, "pytorch_model"), strings.HasSuffix(name, ".pth"), strings.HasSuffix(name, ".pt"):
			pickle = name
		}
	}
	if len(names) == 0 && pickle != "" {
		return nil, fmt.Errorf("%w: %s has its tensors in pickle files (%s), which can run code when they are loaded; save it as safetensors first", gguf.ErrUnsupported, dir, pickle)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s: no safetensors files: %w", dir, fs.ErrNotExist)
	}
	return names, nil
}

// shardsOf returns the sorted names of the files that make up the checkpoint
// and, if there is an index that can be used, which file holds which tensor.
func shardsOf(dir string, present []string) (shards []string, shardOf map[string]string, err error) {
	var model []string
	for _, name := range present {
		if strings.HasPrefix(name, "model") {
			model = append(model, name)
		}
	}
	path := filepath.Join(dir, IndexName)
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := sidecar.ReadJSON(path, &index); errors.Is(err, fs.ErrNotExist) {
		if len(model) == 0 {
			return nil, nil, fmt.Errorf("%s: neither %s nor model*.safetensors is there, only %s: %w", dir, IndexName, strings.Join(present, ", "), fs.ErrNotExist)
		}
		return model, nil, checkNumbers(dir, model)
	} else if err != nil {
		return nil, nil, err
	}
	if len(index.WeightMap) == 0 {
		return nil, nil, fmt.Errorf("%w: %s: weight_map is missing or empty", gguf.ErrCorrupt, path)
	}
	listed := slices.Sorted(maps.Values(index.WeightMap))
	listed = slices.Compact(listed)
	var absent []string
	for _, name := range listed {
		if name != filepath.Base(name) || !filepath.IsLocal(name) || strings.ContainsAny(name, `/\`) || name == "." {
			return nil, nil, fmt.Errorf("%w: %s: shard %q is not a file name in this directory", gguf.ErrCorrupt, path, name)
		}
		if !slices.Contains(present, name) {
			absent = append(absent, name)
		}
	}
	if len(absent) == len(listed) {
		return present, nil, checkNumbers(dir, present)
	}
	if len(absent) > 0 {
		return nil, nil, fmt.Errorf("%w: %s: shard %s is missing (%d of %d are)", gguf.ErrCorrupt, path, absent[0], len(absent), len(listed))
	}
	for _, name := range model {
		if !slices.Contains(listed, name) {
			return nil, nil, fmt.Errorf("%w: %s does not list %s, which lies beside it; remove what does not belong to the model", gguf.ErrCorrupt, path, name)
		}
	}
	return listed, index.WeightMap, nil
}

var numbered = regexp.MustCompile(`^(.*)-(\d{5})-of-(\d{5})\.safetensors$`)

// checkNumbers checks that files called NAME-00001-of-00003.safetensors are all
// there, where no index says what should be.
func checkNumbers(dir string, names []string) error {
	for _, name := range names {
		m := numbered.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		count, _ := strconv.Atoi(m[3]) // five digits
		for i := 1; i <= count; i++ {
			want := fmt.Sprintf("%s-%05d-of-%s.safetensors", m[1], i, m[3])
			if !slices.Contains(names, want) {
				return fmt.Errorf("%w: %s: shard %s is missing", gguf.ErrCorrupt, dir, want)
			}
		}
		return nil // names of other sets give duplicate tensors
	}
	return nil
}

func (c *Checkpoint) open(dir string, shards []string, shardOf map[string]string) error {
	indexPath := filepath.Join(dir, IndexName)
	for _, shard := range shards {
		f, err := Open(filepath.Join(dir, shard))
		if err != nil {
			return err
		}
		c.readers = append(c.readers, f)
		for _, t := range f.tensors {
			if other, ok := c.byName[t.Name]; ok {
				return fmt.Errorf("%w: tensor %q is in %s and in %s", gguf.ErrCorrupt, t.Name, other.file.name, f.name)
			}
			if listed, ok := shardOf[t.Name]; shardOf != nil && !ok {
				return fmt.Errorf("%w: %s does not list tensor %q of %s", gguf.ErrCorrupt, indexPath, t.Name, shard)
			} else if ok && listed != shard {
				return fmt.Errorf("%w: %s says that tensor %q is in %s, it is in %s", gguf.ErrCorrupt, indexPath, t.Name, listed, shard)
			}
			c.byName[t.Name] = t
			c.tensors = append(c.tensors, t)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(shardOf)) {
		if c.byName[name] == nil {
			return fmt.Errorf("%w: %s says that tensor %q is in %s, it is not there", gguf.ErrCorrupt, indexPath, name, shardOf[name])
		}
	}
	return nil
}

// Tensors returns all tensors, shard after shard, each in the order of names.
// The caller must not change the slice.
func (c *Checkpoint) Tensors() []*Tensor { return c.tensors }

// Tensor returns the tensor of the given name, nil if there is none.
func (c *Checkpoint) Tensor(name string) *Tensor { return c.byName[name] }
