package main

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
	"github.com/ggufkit/ggufkit/infer/display"
)

func hashCommand() *cli.Command {
	return &cli.Command{
		Name:      "hash",
		Usage:     "SHA-256 of every tensor, of all tensor data, and of the file",
		ArgsUsage: "MODEL...",
		Description: "Names that are not printable are quoted as Go quotes them. Of a set of split files the tensors of all\n" +
			"are hashed if the first is named, and else those of the one that is. Of a checkpoint whose weights are packed\n" +
			"the numbers are hashed that they stand for, as convert would write them.",
		Action: action(hash),
	}
}

type hashReport struct {
	File string `json:"file"`
	// FileSHA256 is absent if the model is not a single file.
	FileSHA256 string       `json:"file_sha256,omitempty"`
	DataSHA256 string       `json:"data_sha256"`
	Tensors    []tensorHash `json:"tensors"`
}

type tensorHash struct {
	Name   string  `json:"name"`
	Type   string  `json:"type"`
	Shape  []int64 `json:"shape"`
	SHA256 string  `json:"sha256"`
	// Packed says how the weights that are hashed are packed in the files, if they are.
	Packed string `json:"packed,omitempty"`
}

func hash(c *call) error {
	return eachFile(c, func(path string) (*model, error) { return openParts(c, path, hf.Options{}) }, func(model *model) (hashReport, error) { return hashModel(c, model) }, func(report hashReport) {
		for _, t := range report.Tensors {
			name := display.Quoted(t.Name)
			if t.Packed != "" {
				name += "  (unpacked from " + t.Packed + ")"
			}
			fmt.Fprintf(c.stdout, "%s  %s\n", t.SHA256, name)
		}
		fmt.Fprintf(c.stdout, "%s  (all tensors)\n", report.DataSHA256)
		if report.FileSHA256 != "" {
			fmt.Fprintf(c.stdout, "%s  %s\n", report.FileSHA256, display.Quoted(report.File))
		}
	})
}

// hashModel hashes a model. The file as a whole and its tensors are read side by
// side, each once from start to end.
func hashModel(c *call, model *model) (hashReport, error) {
	report := hashReport{File: model.path}
	var hashes gguf.Hashes
	group, ctx := errgroup.WithContext(c.ctx)
	if f := fileOf(model); f != nil && len(f.Paths()) == 1 {
		group.Go(func() (err error) {
			report.FileSHA256, err = files.SHA256(ctx, f.Inputs()[0])
			return err
		})
	}
	progress := newProgress(c, "hashing", display.ByteRate)
	group.Go(func() (err error) {
		hashes, err = gguf.Hash(ctx, model, progress.update)
		return err
	})
	err := group.Wait()
	progress.stop()
	if err == nil {
		err = gguf.Unchanged(model)
	}
	if err != nil {
		return report, err
	}
	report.DataSHA256 = hex.EncodeToString(hashes.Data[:])
	for i, t := range model.Tensors() {
		var packed []string
		for _, p := range gguf.Packings(model, i) {
			packed = append(packed, p.String())
		}
		report.Tensors = append(report.Tensors, tensorHash{
			t.Name, t.Type.String(), t.Shape, hex.EncodeToString(hashes.Tensors[i][:]), strings.Join(packed, ", "),
		})
	}
	return report, nil
}
