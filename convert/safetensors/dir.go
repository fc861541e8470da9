package safetensors

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ggufkit/ggufkit/convert/internal/sidecar"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// IndexName is the file that says which tensors are in which files of a checkpoint.
const IndexName = "model.safetensors.index.json"

// Checkpoint is the tensors of a directory's safetensors files: shard after shard, each
// in the order of names.
type Checkpoint struct {
	weights.Set
	shards []*File
	views  views // of all shards
}

// OpenDir opens the safetensors files of a directory: those that
// model.safetensors.index.json names. If there is no index, or every shard that it names
// is absent (tools that requantize checkpoints leave such indexes behind), it is
// model.safetensors alone, or the parts model-00001-of-00003.safetensors and so on, or
// all model*.safetensors, or all *.safetensors. Files beside these are other forms of the
// model, such as model.fp16.safetensors or consolidated.safetensors, and left alone. The
// caller must close the Checkpoint.
//
// The index and the files must agree: a missing shard, a tensor that is absent or in
// another shard, a tensor or a part of the same set that the index does not know, and a
// tensor in two shards are errors that wrap gguf.ErrCorrupt. A directory with pickle
// files only, or with an adapter only, is an error that wraps gguf.ErrUnsupported.
func OpenDir(dir string) (*Checkpoint, error) { return OpenIn(files.Directory(dir)) }

// OpenIn opens the safetensors files of a folder, as OpenDir does.
func OpenIn(folder files.Folder) (*Checkpoint, error) {
	present, err := safetensorsIn(folder)
	if err != nil {
		return nil, err
	}
	shards, shardOf, err := shardsOf(folder, present)
	if err != nil {
		return nil, err
	}
	c := new(Checkpoint)
	if err := c.open(folder, shards, shardOf); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// safetensorsIn returns the sorted names of the folder's safetensors files.
func safetensorsIn(folder files.Folder) ([]string, error) {
	all, err := folder.List(".")
	if err != nil {
		return nil, err
	}
	var names []string
	pickle := ""
	for _, name := range all {
		switch {
		case strings.HasSuffix(name, ".safetensors"):
			names = append(names, name)
		case strings.HasSuffix(name, ".bin") && strings.HasPrefix(name, "pytorch_model"), strings.HasSuffix(name, ".pth"), strings.HasSuffix(name, ".pt"):
			pickle = name
		}
	}
	if len(names) == 0 && pickle != "" {
		return nil, fmt.Errorf("%w: %s has its tensors in pickle files (%s), which can run code when they are loaded; save it as safetensors first",
			gguf.ErrUnsupported, folder.Path("."), pickle)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s: no safetensors files: %w", folder.Path("."), fs.ErrNotExist)
	}
	return names, nil
}

// shardsOf returns the sorted names of the files that make up the checkpoint
// and, if there is an index that can be used, which file holds which tensor.
func shardsOf(folder files.Folder, present []string) (shards []string, shardOf map[string]string, err error) {
	path, dir := folder.Path(IndexName), folder.Path(".")
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := sidecar.ReadJSON(folder, IndexName, &index); errors.Is(err, fs.ErrNotExist) {
		shards := mainForm(present)
		if shards == nil {
			return nil, nil, notThere(dir, present)
		}
		return shards, nil, checkNumbers(dir, shards)
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
		if !files.IsName(name) {
			return nil, nil, fmt.Errorf("%w: %s: shard %q is not a file name in this directory", gguf.ErrCorrupt, path, name)
		}
		if !slices.Contains(present, name) {
			absent = append(absent, name)
		}
	}
	if len(absent) == len(listed) {
		shards := mainForm(present)
		if shards == nil {
			shards = present
		}
		return shards, nil, checkNumbers(dir, shards)
	}
	if len(absent) > 0 {
		f, err := folder.Open(absent[0])
		switch {
		case err == nil: // such as by a name in other letters, where these do not count
			f.Close()
		case !errors.Is(err, fs.ErrNotExist): // such as a directory
			return nil, nil, err
		}
		return nil, nil, fmt.Errorf("%w: %s: shard %s is missing (%d of %d are)", gguf.ErrCorrupt, path, absent[0], len(absent), len(listed))
	}
	for _, name := range present {
		if set := setOf(name); set != "" && !slices.Contains(listed, name) && slices.ContainsFunc(listed, func(l string) bool { return setOf(l) == set }) {
			return nil, nil, fmt.Errorf("%w: %s does not list %s, which lies beside it and is of the same set", gguf.ErrCorrupt, path, name)
		}
	}
	return listed, index.WeightMap, nil
}

// mainNames is what the names of a model's files begin with: usually, in checkpoints of
// AutoGPTQ (gptq_model-4bit-128g.safetensors), and of ExLlama (output.safetensors).
var mainNames = []string{"model", "gptq_model", "output"}

// mainForm returns which of a directory's files are the model where no index says so,
// nil if none has one of its names.
func mainForm(present []string) []string {
	if slices.Contains(present, "model.safetensors") {
		return []string{"model.safetensors"}
	}
	for _, start := range mainNames {
		var parts, all []string
		for _, name := range present {
			if strings.HasPrefix(setOf(name), start+" ") {
				parts = append(parts, name)
			}
			if strings.HasPrefix(name, start) {
				all = append(all, name)
			}
		}
		switch {
		case parts != nil:
			return parts
		case all != nil:
			return all
		}
	}
	return nil
}

// notThere says what a directory has that is no model.
func notThere(dir string, present []string) error {
	if slices.Contains(present, "adapter_model.safetensors") {
		return fmt.Errorf("%w: %s is a PEFT adapter (adapter_model.safetensors), not a model: merge it into its base model first", gguf.ErrUnsupported, dir)
	}
	return fmt.Errorf("%s: neither %s nor model*.safetensors is there, only %s: %w", dir, IndexName, list(present), fs.ErrNotExist)
}

// list writes a few names.
func list(names []string) string {
	if len(names) > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:3], ", "), len(names)-3)
	}
	return strings.Join(names, ", ")
}

var numbered = regexp.MustCompile(`^(.*)-(\d{5})-of-(\d{5})\.safetensors$`)

// setOf returns what the names of the parts of a set share, empty if a file is no such
// part: the name before the number, and how many there are.
func setOf(name string) string {
	m := numbered.FindStringSubmatch(name)
	if m == nil {
		return ""
	}
	return m[1] + " of " + m[3]
}

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

func (c *Checkpoint) open(folder files.Folder, shards []string, shardOf map[string]string) error {
	indexPath := folder.Path(IndexName)
	var list weights.List
	c.Set = &list
	for _, shard := range shards {
		f, err := openIn(folder, shard)
		if err != nil {
			return err
		}
		f.views = &c.views
		c.shards = append(c.shards, f)
		for _, name := range f.Names() {
			if other := c.Get(name); other != nil {
				return fmt.Errorf("%w: tensor %q is in %s and in %s", gguf.ErrCorrupt, name, other.(*tensor).file.name, f.name)
			}
			if listed, ok := shardOf[name]; shardOf != nil && !ok {
				return fmt.Errorf("%w: %s does not list tensor %q of %s", gguf.ErrCorrupt, indexPath, name, shard)
			} else if ok && listed != shard {
				return fmt.Errorf("%w: %s says that tensor %q is in %s, it is in %s", gguf.ErrCorrupt, indexPath, name, listed, shard)
			}
			if err := list.Add(name, f.Get(name)); err != nil {
				return err
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(shardOf)) {
		if c.Get(name) == nil {
			return fmt.Errorf("%w: %s says that tensor %q is in %s, it is not there", gguf.ErrCorrupt, indexPath, name, shardOf[name])
		}
	}
	return nil
}

// Close closes the files.
func (c *Checkpoint) Close() error {
	var errs []error
	for _, f := range c.shards {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// Metadata returns the text that the __metadata__ of the files have under a name, that of the
// last one that has any, "" if none does.
func (c *Checkpoint) Metadata(name string) string {
	for _, f := range slices.Backward(c.shards) {
		if text, ok := f.notes[name]; ok {
			return text
		}
	}
	return ""
}

// Inputs returns the open files.
func (c *Checkpoint) Inputs() []*files.File {
	var inputs []*files.File
	for _, f := range c.shards {
		inputs = append(inputs, f.Inputs()...)
	}
	return inputs
}

// Pin returns a hash of what others say of the files: see files.Pin.
func (c *Checkpoint) Pin() string { return files.Pin(c.Inputs()) }
