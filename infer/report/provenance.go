package report

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/klauspost/cpuid/v2"
	"golang.org/x/sync/errgroup"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/quant/imatrix"
	"github.com/ggufkit/ggufkit/quant/isa"
)

// Provenance is what somebody else needs to make a report again.
type Provenance struct {
	Version string             `json:"ggufkit"`
	Date    time.Time          `json:"date"`
	Command string             `json:"command"`
	CPU     string             `json:"cpu"`
	ISA     string             `json:"isa"`
	Model   ProvenanceModel    `json:"model"`
	Imatrix *ProvenanceImatrix `json:"imatrix"` // null without one
}

// ProvenanceModel is the original.
type ProvenanceModel struct {
	Name         string `json:"name"`
	File         string `json:"file"`
	Architecture string `json:"architecture"`
	Parameters   int64  `json:"parameters"`
	// FileSHA256 is that of the file, if the model is a single one. Otherwise PinSHA256 is that of what the server says that its
	// files are, if they lie elsewhere (gguf.Pin), or DataSHA256 that of the data of all tensors, as hash has it.
	FileSHA256 string `json:"file_sha256,omitempty"`
	DataSHA256 string `json:"data_sha256,omitempty"`
	PinSHA256  string `json:"pin_sha256,omitempty"`
}

// ProvenanceImatrix is the importance matrix that types were quantized with.
type ProvenanceImatrix struct {
	File   string `json:"file"`
	SHA256 string `json:"sha256"`
}

// Hashing makes a Provenance while something else is computed.
type Hashing struct {
	provenance *Provenance
	group      *errgroup.Group
	cancel     context.CancelFunc
}

// NewProvenance begins to hash a model that was opened by a path, and an importance matrix, or nil. The
// version and the command line are those of the program. The caller must wait for it or stop it before it
// closes them.
func NewProvenance(ctx context.Context, version, command string, model gguf.Source, path string, importance *imatrix.Matrix) *Hashing {
	ctx, cancel := context.WithCancel(ctx)
	group, ctx := errgroup.WithContext(ctx)
	p := &Provenance{
		Version: version, Date: now(), Command: command,
		CPU: cpuid.CPU.BrandName, ISA: isa.Current().String(),
		Model: ProvenanceModel{Name: display.Stem(path), File: filepath.Base(path), Parameters: gguf.Elements(model)},
	}
	if name, err := gguf.Value[string](model.Metadata(), "general.name"); err == nil && name != "" {
		p.Model.Name = name
	}
	p.Model.Architecture, _ = gguf.Value[string](model.Metadata(), "general.architecture") // every model that runs has one
	group.Go(func() (err error) {
		pin := gguf.Pin(model)
		if f, ok := model.(*gguf.File); ok && len(f.Paths()) == 1 && (pin == "" || files.KnownSum(f.Inputs()[0]) != "") {
			p.Model.FileSHA256, err = files.Sum(ctx, f.Inputs()[0])
			return err
		}
		if pin != "" {
			p.Model.PinSHA256 = pin
			return nil
		}
		hashes, err := gguf.Hash(ctx, model, func(int64, int64) {})
		p.Model.DataSHA256 = hex.EncodeToString(hashes.Data[:])
		return err
	})
	if importance != nil {
		p.Imatrix = &ProvenanceImatrix{File: filepath.Base(importance.Name())}
		group.Go(func() (err error) {
			p.Imatrix.SHA256, err = files.SHA256(ctx, importance.Inputs()[0])
			return err
		})
	}
	return &Hashing{p, group, cancel}
}

// Wait returns the provenance when all is hashed.
func (h *Hashing) Wait() (*Provenance, error) {
	defer h.cancel()
	return h.provenance, h.group.Wait()
}

// Stop ends what Wait has not waited for.
func (h *Hashing) Stop() {
	h.cancel()
	_ = h.group.Wait() // nobody waits for the result
}

// Lines says it all, a name and a value each.
func (p *Provenance) Lines() [][2]string {
	lines := [][2]string{
		{"model", fmt.Sprintf("%s (%s), architecture %s, %s parameters", p.Model.Name, p.Model.File, p.Model.Architecture, display.Count(p.Model.Parameters))},
	}
	switch m := p.Model; {
	case m.FileSHA256 != "":
		lines = append(lines, [2]string{"SHA-256 of the file", m.FileSHA256})
	case m.PinSHA256 != "":
		lines = append(lines, [2]string{"SHA-256 of the hashes or versions of its files", m.PinSHA256})
	default:
		lines = append(lines, [2]string{"SHA-256 of all tensors", m.DataSHA256})
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

// now is the time, or what SOURCE_DATE_EPOCH says (https://reproducible-builds.org/specs/source-date-epoch),
// so that a report can be made again to the byte.
func now() time.Time {
	date := time.Now()
	if seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		date = time.Unix(seconds, 0)
	}
	return date.UTC().Truncate(time.Second)
}
