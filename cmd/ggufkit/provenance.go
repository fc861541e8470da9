package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/cpuid/v2"
	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/imatrix"
	"github.com/ggufkit/ggufkit/quant/isa"
)

// provenance is what somebody else needs to make a report again.
type provenance struct {
	Version string             `json:"ggufkit"`
	Date    time.Time          `json:"date"`
	Command string             `json:"command"`
	CPU     string             `json:"cpu"`
	ISA     string             `json:"isa"`
	Model   provenanceModel    `json:"model"`
	Imatrix *provenanceImatrix `json:"imatrix"` // null without one
}

type provenanceModel struct {
	Name         string `json:"name"`
	File         string `json:"file"`
	Architecture string `json:"architecture"`
	Parameters   int64  `json:"parameters"`
	// FileSHA256 is that of the file, if the model is a single one. Otherwise DataSHA256 is that
	// of the data of all tensors, as hash has it.
	FileSHA256 string `json:"file_sha256,omitempty"`
	DataSHA256 string `json:"data_sha256,omitempty"`
}

type provenanceImatrix struct {
	File   string `json:"file"`
	SHA256 string `json:"sha256"`
}

// provenanceInMaking hashes files while something else is computed.
type provenanceInMaking struct {
	provenance provenance
	group      *errgroup.Group
	cancel     context.CancelFunc
}

// newProvenance begins to hash a model and an importance matrix, or nil. The caller must wait for it
// or stop it before it closes them.
func newProvenance(c *cli.Context, model *model, importance *imatrix.Matrix) *provenanceInMaking {
	ctx, cancel := context.WithCancel(c.Context)
	group, ctx := errgroup.WithContext(ctx)
	p := &provenanceInMaking{group: group, cancel: cancel, provenance: provenance{
		Version: programVersion(), Date: reportTime(), Command: commandLine(c),
		CPU: cpuid.CPU.BrandName, ISA: isa.Current().String(),
		Model: provenanceModel{Name: modelName(model), File: filepath.Base(model.path), Parameters: parameters(model)},
	}}
	of := &p.provenance.Model
	of.Architecture, _ = gguf.Value[string](model.Metadata(), "general.architecture") // every model that runs has one
	group.Go(func() (err error) {
		if f := fileOf(model); f != nil && len(f.Paths()) == 1 {
			of.FileSHA256, err = hashFile(ctx, f.Inputs()[0])
			return err
		}
		hashes, err := gguf.Hash(ctx, model, func(int64, int64) {})
		of.DataSHA256 = hex.EncodeToString(hashes.Data[:])
		return err
	})
	if importance != nil {
		p.provenance.Imatrix = &provenanceImatrix{File: filepath.Base(importance.Name())}
		group.Go(func() (err error) {
			p.provenance.Imatrix.SHA256, err = hashFile(ctx, importance.Inputs()[0])
			return err
		})
	}
	return p
}

// wait returns the provenance when all is hashed.
func (p *provenanceInMaking) wait() (*provenance, error) {
	defer p.cancel()
	return &p.provenance, p.group.Wait()
}

// stop ends what wait has not waited for.
func (p *provenanceInMaking) stop() {
	p.cancel()
	_ = p.group.Wait() // nobody waits for the result
}

// Lines says it all, a name and a value each.
func (p *provenance) Lines() [][2]string {
	lines := [][2]string{
		{"model", fmt.Sprintf("%s (%s), architecture %s, %s parameters", p.Model.Name, p.Model.File, p.Model.Architecture, countText(p.Model.Parameters))},
	}
	if p.Model.FileSHA256 != "" {
		lines = append(lines, [2]string{"SHA-256 of the file", p.Model.FileSHA256})
	} else {
		lines = append(lines, [2]string{"SHA-256 of all tensors", p.Model.DataSHA256})
	}
	if p.Imatrix != nil {
		lines = append(lines, [2]string{"SHA-256 of " + p.Imatrix.File, p.Imatrix.SHA256})
	}
	return append(lines,
		[2]string{"made with", fmt.Sprintf("ggufkit %s on %s", p.Version, p.Date.Format("2 January 2006, 15:04 MST"))},
		[2]string{"computed on", fmt.Sprintf("%s, %s instructions", cmp.Or(p.CPU, "an unknown CPU"), p.ISA)},
		[2]string{"command", p.Command},
	)
}

// modelName is what a model calls itself, or its file.
func modelName(model *model) string {
	if name, err := gguf.Value[string](model.Metadata(), "general.name"); err == nil && name != "" {
		return name
	}
	return textName(model.path)
}

// parameters returns how many elements all tensors of a model have.
func parameters(model gguf.Source) int64 {
	var n int64
	for _, t := range model.Tensors() {
		n += t.Elements()
	}
	return n
}

// countText writes a count with three digits, such as 24.2 B.
func countText(n int64) string {
	v, unit := float64(n), ""
	for _, next := range []string{" K", " M", " B", " T"} {
		if v < 1000 {
			break
		}
		v, unit = v/1000, next
	}
	return strconv.FormatFloat(v, 'g', 3, 64) + unit
}

// reportTime is now, or what SOURCE_DATE_EPOCH says (https://reproducible-builds.org/specs/source-date-epoch),
// so that a report can be made again to the byte.
func reportTime() time.Time {
	now := time.Now()
	if seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		now = time.Unix(seconds, 0)
	}
	return now.UTC().Truncate(time.Second)
}

// commandKey is where the app has the command line.
const commandKey = "command line"

// commandLine returns the command line, as a shell takes it.
func commandLine(c *cli.Context) string {
	args, _ := c.App.Metadata[commandKey].([]string)
	var words []string
	for i, arg := range args {
		if i == 0 {
			arg = filepath.Base(arg)
		}
		words = append(words, shellWord(arg))
	}
	return strings.Join(words, " ")
}

var plainWord = regexp.MustCompile(`^[\w@%+=:,./-]+$`)

// shellWord quotes what a shell would take apart.
func shellWord(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
