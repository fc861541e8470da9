package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/report"
)

type inspectFlags struct {
	keys      []string
	noTensors bool
}

func inspectCommand() *cli.Command {
	var f inspectFlags
	return &cli.Command{
		Name:      "inspect",
		Usage:     "list metadata and tensors",
		ArgsUsage: "MODEL...",
		Description: "Of a Hugging Face directory or a merge recipe it shows what convert would write. Of a set of split files it\n" +
			"shows the whole if the first is named, and else what is in the one that is. With --kv only the values\n" +
			"of these keys are printed, but whole: a chat template can be read so. Of a checkpoint that lies elsewhere the\n" +
			"vocabulary is only read if one of its keys is asked for. Offsets are in bytes from the start of the file.",
		Flags: []cli.Flag{
			repeatedFlag("kv", "print the whole value of the metadata key `KEY`; may be repeated", &f.keys, one(itself)),
			&cli.BoolFlag{Name: "no-tensors", Usage: "do not list the tensors", Destination: &f.noTensors},
		},
		Action: action(func(c *call) error { return inspect(c, f) }),
	}
}

func inspect(c *call, f inspectFlags) error {
	return eachFile(c, func(path string) (*model, error) { return f.open(c, path) }, func(model *model) (*report.Inspection, error) {
		seen, err := report.NewInspection(model.path, model.Model)
		if err == nil && len(f.keys) > 0 {
			err = only(seen, f.keys)
		}
		if err == nil && (len(f.keys) > 0 || f.noTensors) {
			seen.Tensors = []report.Tensor{}
		}
		return seen, err
	}, func(seen *report.Inspection) {
		if len(f.keys) > 0 {
			seen.PrintValues(c.stdout)
		} else {
			seen.Print(c.stdout)
		}
	})
}

// open opens a model. Of one that lies elsewhere it leaves the tokenizer's files unread, which are larger than all else, unless they are
// asked for.
func (f *inspectFlags) open(c *call, path string) (*model, error) {
	asked := slices.ContainsFunc(f.keys, func(key string) bool { return strings.HasPrefix(key, "tokenizer.") })
	options := hf.Options{NoVocabulary: convert.IsElsewhere(path) && !asked}
	m, err := openParts(c, path, options)
	if err == nil && options.NoVocabulary {
		if _, ok := m.Model.(*hf.Checkpoint); ok && len(f.keys) == 0 {
			printNotes(c, []string{m.path + ": the vocabulary is left out, since it would have to be fetched; --kv tokenizer.ggml.tokens does it"})
		}
	}
	return m, err
}

// only leaves the pairs with the given keys.
func only(seen *report.Inspection, keys []string) error {
	var found []report.KV
	for _, key := range keys {
		i := slices.IndexFunc(seen.KV, func(kv report.KV) bool { return kv.Key == key })
		if i < 0 {
			var all []string
			for _, kv := range seen.KV {
				all = append(all, kv.Key)
			}
			err := fmt.Errorf("%w: %s", gguf.ErrNoKey, key)
			if similar := nearest(key, all); similar != "" {
				err = fmt.Errorf("%w; there is %s", err, similar)
			}
			return err
		}
		found = append(found, seen.KV[i])
	}
	seen.KV = found
	return nil
}
